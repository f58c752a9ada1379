"""The queue of a home: its runs one after another, independent of any page.

A waiting run has the state `queued`, and its `place` gives the order. What the worker does, who
starts it again, and what the locks are for: docs/architecture.md, "The queue". Runs of an engine
(`rocm.runs.engines`) wait in that engine's queue, not in this one.

    python -m rocm.runs.queue HOME COMMAND...     the worker; a trainer is COMMAND DIR
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
from filelock import FileLock, Timeout

from rocm.errors import RocmError, RunError
from rocm.runs.engines.base import EngineError
from rocm.runs.engines.dispatch import Dispatcher, say
from rocm.runs.run_dir import RunDir
from rocm.storage.files import is_locked, make_folder
from rocm.storage.paths import ROOT

TRAINER = (sys.executable, "-m", "rocm.cli.trainer")
STOP_GRACE_S = 60.0
LOOK_EVERY_S = 0.3
LOOK_AFAR_S = 2.0  # while engines train and this machine does not
RETRY_AFTER_S = 10.0
WATCH_EVERY_S = 3.0
UNSETTLED = ("queued", "starting", "running", "stopping")
AFAR = ("submitted", *UNSETTLED[1:])
FORCED = "The trainer did not stop and was killed."


class Queue:
    """The waiting runs below `home`/runs, and the worker that starts them."""

    def __init__(self, home: Path, command: Sequence[str] = TRAINER):
        """Serve `home`, made when the first run comes; `command DIR` trains the run in DIR."""
        self.home = Path(home).resolve()
        self.runs = self.home / "runs"
        self._worker_lock = self.home / "worker.lock"
        self._command = tuple(command)
        self._children: list[subprocess.Popen[bytes]] = []
        self._written: dict[Path, tuple[tuple[int, int], tuple[str, str]]] = {}
        self._dispatcher = Dispatcher(self.home, self._command)

    def all_runs(self) -> list[RunDir]:
        """Every run of the home, in no order."""
        if not self.runs.is_dir():
            return []
        return [RunDir(path.parent) for path in self.runs.glob("*/config.yaml")]

    def waiting(self) -> list[RunDir]:
        """Waiting runs, the next first."""
        waiting = [run for run in self.all_runs() if self._state(run) == "queued"]
        return sorted(waiting, key=lambda run: (run.place(), run.path.name))

    def add(self, run: RunDir, engine: str = "") -> None:
        """Append a run, or hand it to an engine; it starts at once if none is training.

        Without `engine` it goes where it was before. RunError if it waits or trains; EngineError,
        and the run stays as it is, if the engine cannot be used.
        """
        self._check_idle(run)
        engine = engine or run.engine or "local"
        if engine != "local":
            try:
                self.check(engine)
            except EngineError as error:
                raise EngineError(
                    f"{error} To train the run here: python -m rocm train --resume {run.path}"
                ) from error
            return self.submit([run], engine)
        with self.locked():
            self._check_idle(run)
            run.mark_waiting(time.time(), num_steps=run.config().num_steps)
        self.ensure_worker()

    def check(self, engine: str) -> None:
        """Before runs are made for an engine: RocmError if it cannot be used now."""
        if engine != "local":
            self._dispatcher.check(engine)

    def submit(self, runs: Sequence[RunDir], engine: str) -> None:
        """Hand runs to an engine, as one job array where it has these.

        RocmError if the engine is missing, silent or refuses; new runs then are `failed`.
        """
        with self.locked():
            num_active = len(set(self.afar().get(engine, ())) - set(runs))
            self._dispatcher.submit(runs, engine, num_active)
        self.ensure_worker()

    def afar(self) -> dict[str, list[RunDir]]:
        """Runs that wait or train at engines, by engine."""
        found: dict[str, list[RunDir]] = {}
        for run in sorted(self.all_runs(), key=lambda run: run.path):
            state, engine = self._written_state(run)
            if engine and state in AFAR:
                found.setdefault(engine, []).append(run)
        return found

    def _check_idle(self, run: RunDir) -> None:
        status = run.status()
        if status.is_active or status.is_queued:
            raise RunError(f"{run.path.name} is {status.state} already.")

    def move(self, run: RunDir, position: int) -> None:
        """Move a waiting run to `position`, 0 for the next; RunError if it does not wait."""
        with self.locked():
            order = self.waiting()
            if run not in order:
                raise RunError(f"{run.path.name} does not wait: it is {self._state(run)}.")
            order.remove(run)
            order.insert(max(position, 0), run)
            # Small numbers stay before those of runs that come later, which are Unix times.
            for place, waiting in enumerate(order, start=1):
                if waiting.place() != place:
                    waiting.mark_waiting(place)

    def cancel(self, run: RunDir) -> None:
        """Take a waiting run out of the queue; it is kept. RunError if it does not wait.

        EngineError if the run is canceled, but not its job.
        """
        with self.locked():
            if self._state(run) not in ("queued", "submitted"):
                raise RunError(
                    f"{run.path.name} is {self._state(run)} already. Stop it instead."
                    if run.status().is_active
                    else f"{run.path.name} is {self._state(run)}: there is nothing to cancel."
                )
            run.mark_ended("cancelled")
            try:
                self._dispatcher.cancel(run)
            except RocmError as error:
                raise EngineError(
                    f"{run.path.name} is canceled, but its job could not be ended: {error} If the "
                    "job begins, it ends without training."
                ) from error

    def stop(self, run: RunDir, grace_s: float = STOP_GRACE_S) -> None:
        """Stop a run after this update; after `grace_s` with a signal, after twice that a kill."""
        run.request_stop(grace_s)
        self.ensure_worker()

    def ensure_worker(self) -> None:
        """Start the worker if there is work and no worker."""
        self._reap()
        here = any(self._state(run) == "queued" or run.stop_asked() for run in self._unsettled())
        if not here and not self.afar():
            return
        with self.locked():
            if is_locked(self._worker_lock):
                return
            with open(self.home / "queue.log", "ab") as log:
                command = [sys.executable, "-m", "rocm.runs.queue", str(self.home), *self._command]
                self._children.append(detached(command, log))

    def settle(self) -> None:
        """Record what became of runs whose trainer is gone."""
        with self.locked():
            self._settle()

    def reconcile(self) -> None:
        """Record what became of runs, and let the queue go on."""
        self.settle()
        self.ensure_worker()

    def watch(self) -> None:
        """Reconcile now, then keep the queue going from a thread as long as this process lives."""
        self.reconcile()
        Thread(target=self._keep_going, name="queue watch", daemon=True).start()

    def _keep_going(self) -> None:
        while True:
            time.sleep(WATCH_EVERY_S)
            self.look_after()

    def look_after(self) -> None:
        """As `ensure_worker`, but an error is only printed."""
        try:
            self.ensure_worker()
        except (RocmError, OSError) as error:  # such as a full disk: tried again soon
            say(f"The queue cannot go on: {error}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock on which runs wait and whether a worker exists."""
        make_folder(self.home)
        with FileLock(self.home / "queue.lock", thread_local=False):
            yield

    def work(self) -> None:
        """Be the worker until nothing waits or trains; returns at once if there is a worker."""
        with self.locked():
            try:
                lock = FileLock(self._worker_lock, thread_local=False).acquire(timeout=0).lock
            except Timeout:
                return
        told: set[tuple[str, str]] = set()
        while True:
            try:
                with self.locked():
                    is_here, afar = self._start_next(), self.afar()
                    if not is_here and not afar:
                        lock.release()
                        return
                self._dispatcher.look(afar, self.locked)
                self._enforce_stops(told)
                time.sleep(LOOK_EVERY_S if is_here else LOOK_AFAR_S)
            except RocmError as error:
                say(str(error))
                time.sleep(RETRY_AFTER_S)
            self._reap()

    def _start_next(self) -> bool:
        """Start the first waiting run if none is training; False if nothing is left to do here."""
        self._settle()
        if any(run.status().is_active for run in self._unsettled()):
            return True
        waiting = self.waiting()
        if waiting:
            self._launch(waiting[0])
        return bool(waiting)

    def _settle(self) -> None:
        for run in self._unsettled():
            status, asked = run.status(), run.stop_asked()
            if status.state == "interrupted" and asked and _lateness_s(asked) > 0:
                run.mark_ended("stopped", FORCED)
            elif status.state in ("interrupted", "failed"):
                run.mark_ended(status.state, status.error)

    def _launch(self, run: RunDir) -> None:
        run.mark_waiting()
        try:
            with open(run.path / "log.txt", "ab") as log:
                child = detached([*self._command, str(run.path)], log)
        except OSError as error:
            run.mark_ended("failed", f"The trainer could not be started: {error}.")
            return
        self._children.append(child)
        run.write_launch(child.pid)

    def _enforce_stops(self, told: set[tuple[str, str]]) -> None:
        """End trainers that do not stop; `told` remembers which signals were sent."""
        for run in self._unsettled():
            asked = run.stop_asked()
            if asked is None or run.status().state != "stopping":
                continue
            late_s = _lateness_s(asked)
            if late_s > asked["grace_s"]:
                _end(run, psutil.Process.kill)
                run.mark_ended("stopped", FORCED)
            elif late_s > 0 and (run.path.name, "terminate") not in told:
                told.add((run.path.name, "terminate"))
                _end(run, psutil.Process.terminate)

    def _unsettled(self) -> list[RunDir]:
        """Runs of this machine that wait or train."""
        written = {run: self._written_state(run) for run in self.all_runs()}
        runs = [
            run for run, (state, engine) in written.items() if state in UNSETTLED and not engine
        ]
        return [run for run in runs if _is_readable(run)]

    def _state(self, run: RunDir) -> str:
        return self._written_state(run)[0]

    def _written_state(self, run: RunDir) -> tuple[str, str]:
        """The written state and engine, read only if they changed.

        A damaged run must not stop the queue.
        """
        try:
            stat = run.state_file.stat()
            key = (stat.st_mtime_ns, stat.st_ino)
        except FileNotFoundError:
            return "damaged", ""
        if self._written.get(run.path, ((0, 0), ("", "")))[0] != key:
            state = run.written_or_damaged()
            self._written[run.path] = (key, (state, "" if state == "damaged" else run.engine))
        return self._written[run.path][1]

    def _reap(self) -> None:
        self._children = [child for child in self._children if child.poll() is None]


def _is_readable(run: RunDir) -> bool:
    """Whether the queue can judge a run; a damaged run does not stop the queue."""
    try:
        run.status()
        run.stop_asked()
    except RunError:
        return False
    return True


def _lateness_s(asked: dict[str, float]) -> float:
    """Seconds since a stop should have been obeyed; negative before that."""
    return time.time() - asked["time"] - asked["grace_s"]


def _end(run: RunDir, how: Any) -> None:
    processes = run.processes()
    for process in processes:
        try:
            how(process)
        except psutil.NoSuchProcess:
            continue
    if how is psutil.Process.kill:
        psutil.wait_procs(processes, timeout=5)


def detached(command: Sequence[str], log: Any, **variables: str) -> subprocess.Popen[bytes]:
    """A process that outlives this one and gets none of its signals.

    `variables` are added to the environment.
    """
    group = 0
    if sys.platform == "win32":
        group = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=os.name == "posix",
        creationflags=group,
    )


if __name__ == "__main__":
    Queue(Path(sys.argv[1]), sys.argv[2:]).work()
