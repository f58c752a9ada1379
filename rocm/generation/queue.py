"""One queue of drawing requests and the resident process that works them off; no torch.

The process starts with the first request, ends after `idle_s` seconds without a request, and is
restarted if it died: pictures it had not drawn are requested once more.
"""

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Condition, Thread, Timer
from typing import Any, Literal

from rocm.errors import DrawingError, RocmError
from rocm.generation.picture import Picture, check_pictures, picture_file
from rocm.storage.files import make_folder
from rocm.storage.paths import ROOT

State = Literal["waiting", "warming up", "drawing", "finished", "cancelled", "failed"]

ENDS: tuple[State, ...] = ("finished", "cancelled", "failed")
IDLE_S = 600.0
MAX_WAITING = 16
CANCEL_GRACE_S = 60.0
REMEMBERED = 200
COMMAND = (sys.executable, "-m", "rocm.generation.worker")


@dataclass
class Job:
    """A request; read it through `DrawingQueue.status`."""

    number: int
    pictures: list[Picture]
    rewards: tuple[str, ...]  # measured on every picture
    folder: Path  # of the files
    on_end: Callable[[State, str, float], None]  # called once with end, error and seconds
    state: State = "waiting"
    scores: dict[int, dict[str, float]] = field(default_factory=dict)  # by index, reward
    error: str = ""  # a sentence, if it failed
    asked: float = field(default_factory=time.monotonic)  # monotonic, in seconds
    is_cancelled: bool = False  # whether its cancellation was requested


@dataclass(frozen=True)
class JobStatus:
    """A job at one moment."""

    state: State
    ahead: int  # number of requests before it


class _ProcessGone(Exception):
    """The drawing process ended before it answered."""


class DrawingQueue:
    """Requests of one app, first come, first served."""

    def __init__(self, log: Path, idle_s: float = IDLE_S, command: Sequence[str] = COMMAND) -> None:
        """Start nothing yet; `command` gets `idle_s`, its output is written to `log`."""
        self._log = log
        self._command = [*command, str(idle_s)]
        self._changed = Condition()
        self._waiting: deque[Job] = deque()
        self._jobs: dict[int, Job] = {}
        self._current: Job | None = None
        self._process: subprocess.Popen[str] | None = None
        self._thread: Thread | None = None
        self._is_closed = False
        self._count = 0

    def submit(
        self,
        pictures: Sequence[Picture],
        folder: Path,
        rewards: Sequence[str] = (),
        on_end: Callable[[State, str, float], None] = lambda state, error, seconds: None,
    ) -> int:
        """Request pictures; returns the request's number at once.

        Pictures are written to `folder` as 000.png, 001.png, ... and measured with `rewards`;
        `on_end` is called in another thread with the end, an error and the seconds that it took.
        ConfigError for a bad picture, none or too many;
        DrawingError if the queue is full.
        """
        checked = check_pictures(pictures)
        make_folder(folder)
        make_folder(self._log.parent)
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                raise DrawingError(
                    f"{MAX_WAITING} requests are waiting to be drawn already. "
                    "Try again when some are done."
                )
            self._count += 1
            job = Job(self._count, checked, tuple(rewards), folder.resolve(), on_end)
            self._jobs[job.number] = job
            self._jobs.pop(job.number - REMEMBERED, None)
            self._waiting.append(job)
            self._start_working()
            self._changed.notify_all()
        return job.number

    def status(self, number: int) -> JobStatus | None:
        """The request now; None if this queue does not remember it."""
        with self._changed:
            job = self._jobs.get(number)
            if job is None:
                return None
            ahead = 0
            if job in self._waiting:
                ahead = self._waiting.index(job) + (self._current is not None)
            return JobStatus(job.state, ahead)

    def results(self, number: int) -> Iterator[tuple[int, Path, dict[str, float]]]:
        """Index, file and scores of each picture as it is drawn.

        Raises DrawingError if the request failed or was canceled before all were drawn.
        """
        with self._changed:
            job = self._jobs[number]
        told: set[int] = set()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: len(job.scores) > len(told) or job.state in ENDS)
                fresh = {index: job.scores[index] for index in job.scores if index not in told}
                ended = job.state in ENDS
            for index, scores in fresh.items():
                told.add(index)
                yield index, picture_file(job.folder, index), scores
            if ended and len(told) == len(job.scores):
                break
        if job.state != "finished":
            raise DrawingError(job.error or "The request was cancelled.")

    def cancel(self, number: int) -> None:
        """Stop a request; drawn pictures stay. No effect on one that has ended."""
        with self._changed:
            job = self._jobs.get(number)
            if job is None or job.state in ENDS or job.is_cancelled:
                return
            job.is_cancelled = True
            is_waiting = job in self._waiting
            if is_waiting:
                self._waiting.remove(job)
            else:
                self._tell({"cancel": number})
        if is_waiting:
            self._end(job, "cancelled")
            return
        # A batch may take long, or the process may hang: then it is ended and its models are lost.
        timer = Timer(CANCEL_GRACE_S, self._kill_if_still_at, [job])
        timer.daemon = True
        timer.start()

    def process_id(self) -> int | None:
        """Id of the drawing process, None while there is none."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def close(self) -> None:
        """End the process and cancel waiting requests."""
        with self._changed:
            self._is_closed = True
            waiting = [*self._waiting]
            self._waiting.clear()
            self._changed.notify_all()
            process = self._process
        for job in waiting:
            self._end(job, "cancelled")
        if process:
            process.kill()
            process.wait()

    def _start_working(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._work, daemon=True, name="drawing queue")
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if self._is_closed:
                    return
                job = self._current = self._waiting.popleft()
            state, error = self._outcome(job)
            with self._changed:
                self._current = None
            self._end(job, state, error)

    def _outcome(self, job: Job) -> tuple[State, str]:
        """End and error of the job, drawn by a second process if the first died."""
        for is_last in (False, True):
            try:
                return self._drawn_by_process(job)
            except OSError as error:
                return "failed", (
                    f"The drawing process could not be started ({error}). Free some space or "
                    "memory, and try again."
                )
            except _ProcessGone as gone:
                if job.is_cancelled or self._is_closed:
                    return "cancelled", ""
                if is_last:
                    return "failed", (
                        f"The drawing process crashed twice ({gone}). Drawn pictures are kept; its "
                        f"output is in {self._log}. Try again, with fewer pictures or a smaller "
                        "model."
                    )
        raise AssertionError("the loop always returns")

    def _drawn_by_process(self, job: Job) -> tuple[State, str]:
        process = self._living_process(job)
        order = self._order(job)
        if not order["pictures"]:
            return "finished", ""
        with self._changed:
            if job.is_cancelled:
                return "cancelled", ""
            if not self._tell({"id": job.number, **order}):
                raise _ProcessGone(self._last_words(process))
        for answer in self._answers(process):
            if "end" in answer:
                return answer["end"], answer.get("error", "")
            self._note(job, answer)
        raise _ProcessGone(self._last_words(process))

    @staticmethod
    def _order(job: Job) -> dict[str, Any]:
        """What is left of a request, as the drawing process takes it."""
        rest = {
            str(index): asdict(picture)
            for index, picture in enumerate(job.pictures)
            if index not in job.scores
        }
        return {"rewards": job.rewards, "folder": str(job.folder), "pictures": rest}

    def _note(self, job: Job, answer: dict[str, Any]) -> None:
        """Note that a picture is drawn."""
        with self._changed:
            job.state = "drawing"
            job.scores[answer["index"]] = answer["scores"]
            self._changed.notify_all()

    def _living_process(self, job: Job) -> "subprocess.Popen[str]":
        if self._process is not None and self._process.poll() is None:
            self._set_state(job, "drawing")
            return self._process
        self._set_state(job, "warming up")
        with open(self._log, "wb") as log:
            process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is the app's; the process ends with its input
            )
        with self._changed:
            self._process = process
            if self._is_closed:
                process.kill()
        if next(self._answers(process), None) is None:
            raise _ProcessGone(self._last_words(process))
        return process

    def _tell(self, message: dict[str, Any]) -> bool:
        """Whether the process could be told; call with the lock held."""
        if self._process is None or self._process.stdin is None:
            return False
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    @staticmethod
    def _answers(process: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
        while line := process.stdout.readline() if process.stdout else "":
            if not line.endswith("\n"):
                return  # killed while it wrote
            yield json.loads(line)

    @staticmethod
    def _last_words(process: "subprocess.Popen[str]") -> str:
        code = process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _kill_if_still_at(self, job: Job) -> None:
        with self._changed:
            if self._current is job and self._process:
                self._process.kill()

    def _set_state(self, job: Job, state: State, error: str = "") -> None:
        with self._changed:
            job.state, job.error = state, error
            self._changed.notify_all()

    def _end(self, job: Job, state: State, error: str = "") -> None:
        try:
            # Written down first: whoever sees the end finds it on the disk too.
            job.on_end(state, error, time.monotonic() - job.asked)
        except RocmError as unwritten:  # a full disk must not end the queue
            state, error = "failed", str(unwritten)
        self._set_state(job, state, error)
