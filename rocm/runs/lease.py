"""A run is trained by one process at a time, on whatever machine: claims with a sign of life.

A claim is a file `lease/000003.json` in the run's directory, made by exclusive creation, which is
atomic on NFS as well. The highest number holds the run. Its holder writes the time into it every
`BEAT_S` seconds, in place, because a replaced file is seen late on NFS. Whoever wants the run after
another machine watches the claim for `SILENT_S` seconds by its own clock, so that clocks which
disagree do no harm, and then makes the next number, which only one can. A holder that was suspended
and comes back sees the higher number before it writes anything, and ends.
"""

import json
import math
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from filelock import FileLock, Timeout

from rocm.errors import RunError
from rocm.runs.liveness import JOB, State, host, identity, is_alive
from rocm.storage.files import make_folder, read_record
from rocm.storage.numbers import duration

BEAT_S = float(os.environ.get("ROCM_HEARTBEAT_S") or 10.0)
SILENT_S = 9 * BEAT_S  # longer than NFS keeps what it has read, 60 s
SIZE = 512  # bytes of a claim: always overwritten whole


class LeaseLost(RunError):
    """Another process has taken the run over: this one must not write any more."""


@dataclass(frozen=True)
class Claim:
    """Who holds or held a run: `record` has `host`, `pid`, `time` of the last sign of life."""

    number: int = 0  # before the first claim
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def is_held(self) -> bool:
        """Whether the holder has not given the run back."""
        return self.number > 0 and not self.record.get("is_released")

    @property
    def host(self) -> str:
        """The machine of the holder."""
        return str(self.record.get("host", ""))

    @property
    def age_s(self) -> float:
        """Seconds between the last sign of life and now; endless without a claim.

        A time to come is as far from now as one that has passed, or a dead holder would look alive.
        """
        return abs(time.time() - self.record["time"]) if self.number else float("inf")

    @property
    def is_fresh(self) -> bool:
        """Whether the holder has lately shown that it lives."""
        return self.is_held and self.age_s < SILENT_S


def newest_claim(run: Path) -> Claim:
    """The claim with the highest number; number 0 if nobody has claimed the run."""
    numbers = _numbers(run / "lease")
    if not numbers:
        return Claim()
    path = _path(run, max(numbers))
    try:
        text, written = path.read_bytes(), path.stat().st_mtime
    except FileNotFoundError:  # the run was deleted meanwhile
        return Claim()
    try:
        record = json.loads(text)
    except ValueError:
        record = None
    moment = record.get("time") if isinstance(record, dict) else None
    if not isinstance(moment, int | float) or not math.isfinite(moment):
        record = {}  # just created, being written, or damaged
    return Claim(max(numbers), {"host": "", "time": written, **record})


class Lease:
    """A run that this process holds, until `release`; a context manager."""

    def __init__(self, run: Path):
        """Claim the run; RunError if it is held.

        Waits up to `SILENT_S` seconds to see whether a holder on another machine still lives.
        """
        self._run, self._lock = run, FileLock(run / "lock", thread_local=False)
        try:
            self._lock.acquire(timeout=1)  # a reader may look at the lock for a moment
        except Timeout as error:
            raise RunError(_taken(run, newest_claim(run))) from error
        try:
            self._claim()
        except BaseException:
            self._lock.release()
            raise
        HELD[run] = self
        self._ended = Event()
        self._thread = Thread(target=self._keep_beating, name="heartbeat", daemon=True)
        self._thread.start()

    def _claim(self) -> None:
        run = self._run
        make_folder(run / "lease")
        before = newest_claim(run)
        if before.is_held:
            _wait_for_silence(run, before)
            before = newest_claim(run)
        self.number = before.number + 1
        self._own = {**identity(os.getpid()), "is_released": False}
        try:
            self._file = _path(run, self.number).open("xb", buffering=0)
        except FileExistsError as error:
            raise RunError(_taken(run, newest_claim(run))) from error
        self._write()

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def check(self) -> None:
        """LeaseLost if another process has claimed the run since."""
        if max(_numbers(self._run / "lease"), default=0) > self.number:
            raise LeaseLost(
                f"{self._run} was taken over by {newest_claim(self._run).host or 'another process'}"
                " because this process showed no sign of life for too long. It ends here."
            )

    def release(self) -> None:
        """Give the run back, so that the next process need not wait."""
        if HELD.get(self._run) is not self:
            return
        self._ended.set()
        self._thread.join()
        del HELD[self._run]
        self._own["is_released"] = True
        self._beat()
        self._file.close()
        self._lock.release()

    def _keep_beating(self) -> None:
        while not self._ended.wait(BEAT_S):
            self._beat()

    def _beat(self) -> None:
        try:
            self._write()
        except OSError as error:  # the storage is away: whoever takes the run over is seen later
            sys.stderr.write(f"No sign of life could be written: {error}.\n")

    def _write(self) -> None:
        text = json.dumps({**self._own, "time": time.time()})
        self._file.seek(0)
        self._file.write(text.encode().ljust(SIZE))
        os.fsync(self._file.fileno())


HELD: dict[Path, Lease] = {}


def check_lease(run: Path) -> None:
    """LeaseLost if this process held the run and another has taken it over."""
    if run in HELD:
        HELD[run].check()


def judge_afar(run: Path, record: dict[str, Any]) -> tuple[State, str]:
    """State of an active run whose process this machine cannot see, and what is wrong with it.

    Its sign of life outranks the word of its engine; it is lost if there is neither.
    """
    state, claim = record["state"], newest_claim(run)
    if claim.is_fresh:
        return state, record.get("error", "")
    silence = f"No sign of life from {record.get('host') or 'its machine'}"
    if claim.number:
        silence += f" for {duration(claim.age_s)}"
    job = read_record(run / "engine.json", JOB) if record.get("engine") else None
    if job is None:
        return "lost", f"{silence}. If that machine is gone, resume the run here."
    if job["word"] != "silent":
        said = f"says: {job['word']}" if job["word"] else "has said nothing yet"
        return state, f"{silence}; {job['engine'].capitalize()} {said}."
    return "lost", f"{silence}, and {job['engine'].capitalize()} does not answer."


def _wait_for_silence(run: Path, seen: Claim) -> None:
    """Return once the holder is known to be dead; RunError at its first sign of life."""
    if seen.host == host() and not is_alive(seen.record):
        return
    until = time.monotonic() + SILENT_S
    while time.monotonic() < until:
        now = newest_claim(run)
        if now != seen and now.is_held:
            raise RunError(_taken(run, now))
        if not now.is_held:
            return
        time.sleep(BEAT_S / 4)


def _taken(run: Path, claim: Claim) -> str:
    return (
        f"{run} is in use by process {claim.record.get('pid', '(unknown)')} on "
        f"{claim.host or 'another machine'}. Wait for it, or stop it first."
    )


def _numbers(folder: Path) -> list[int]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [int(name[:-5]) for name in names if name[:-5].isdecimal()]


def _path(run: Path, number: int) -> Path:
    return run / "lease" / f"{number:06d}.json"
