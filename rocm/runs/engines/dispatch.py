"""Hands runs to engines and settles what became of their jobs; asks an engine once in 10 s."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from rocm.errors import ConfigError, RocmError, RunError
from rocm.runs.engines.base import (
    ENDED,
    ENGINES,
    EngineError,
    Job,
    Settings,
    Word,
    job_of,
    read_settings,
)
from rocm.runs.engines.ray import Ray
from rocm.runs.engines.slurm import Slurm
from rocm.runs.lease import SILENT_S, newest_claim
from rocm.runs.liveness import ACTIVE
from rocm.runs.run_dir import RunDir

Engine = Slurm | Ray
Lock = Callable[[], AbstractContextManager[None]]
LOOK_S = 10.0
UNKNOWN = "It is unknown whether the run still waits."
FORCED = "The trainer did not stop; its job was ended."


def make_engine(name: str, home: Path, settings: Settings, command: Sequence[str]) -> Engine:
    """The engine of a name; ConfigError for `local` or an unknown name."""
    if name == "slurm":
        return Slurm(home, settings.slurm, command)
    if name == "ray":
        return Ray(settings.ray, command)
    raise ConfigError(f"Engine '{name}' takes no jobs. Choose slurm or ray.")


@lru_cache(maxsize=4)
def _reachable(home: Path, minute: int) -> list[str]:
    settings = read_settings(home)
    engines = [make_engine(name, home, settings, ()) for name in ENGINES[1:]]
    return ["local", *(engine.name for engine in engines if not engine.reach())]


def reachable(home: Path) -> list[str]:
    """`local` and the engines that answer, each asked at most once a minute; ConfigError as Ray."""
    return _reachable(home, int(time.monotonic() // 60))


class Dispatcher:
    """The engines of a home, whose scripts and settings are in it.

    Whoever uses one sees to it that no other process uses one for the same runs at the same time.
    """

    def __init__(
        self, home: Path, command: Sequence[str], clock: Callable[[], float] = time.monotonic
    ):
        """`command DIR` trains the run in DIR; `clock` gives seconds."""
        self._home, self._command, self._clock = home, command, clock
        self._engines: dict[str, Engine] = {}
        self._asked: dict[str, float] = {}
        self._answered: dict[str, float] = {}
        self._said: dict[str, str] = {}
        self._settings = Settings()

    def check(self, name: str) -> None:
        """EngineError if an engine cannot be used now, ConfigError if its settings are wrong.

        The settings are read anew.
        """
        self._engines.pop(name, None)
        if reason := self._engine(name).reach():
            raise EngineError(reason)

    def submit(self, runs: Sequence[RunDir], name: str, num_active: int = 0) -> None:
        """Hand over runs; those that the engine does not take yet follow at a later `look`.

        Runs that an engine refuses are `failed` with its reason, which is raised.
        """
        runs = [run for run in runs if not (run.written_state() == "submitted" and job_of(run))]
        if not runs:
            return
        for run in runs:
            run.mark_waiting(name, num_steps=run.config().num_steps)
            Job(name).write(run)
        try:
            self._hand_over(name, runs, num_active)
        except RocmError as error:
            for run in runs:
                run.mark_ended("failed", str(error))
            raise

    def look(self, by_engine: Mapping[str, Sequence[RunDir]], locked: Lock = nullcontext) -> None:
        """Ask each engine that is due about its runs, and act `locked` on what it says.

        Nobody waits for the lock while an engine is slow to answer. What is wrong with one engine,
        its settings or the files of a run is printed once, and holds up nothing else.
        """
        for name, own in by_engine.items():
            if self._clock() - self._asked.get(name, -LOOK_S) < LOOK_S:
                continue
            self._asked[name] = self._clock()
            try:
                words = self._words(name, _jobs(own), locked)
                with locked():
                    self._act(name, _jobs(run for run in own if _is_open(run)), words)
                reason = ""
            except RocmError as error:
                reason = str(error)
            if reason and reason != self._said.get(name):
                say(reason)
            self._said[name] = reason

    def cancel(self, run: RunDir) -> None:
        """End the job of a run, if it has one."""
        job = job_of(run)
        if job and job.job:
            self._engine(job.engine).cancel(job.job)

    def log(self, run: RunDir) -> str:
        """What the job of a run printed outside the run's log; empty without a job."""
        job = job_of(run)
        return self._engine(job.engine).log(job.job) if job and job.job else ""

    def _engine(self, name: str) -> Engine:
        if name not in self._engines:
            self._settings = read_settings(self._home)
            self._engines[name] = make_engine(name, self._home, self._settings, self._command)
        return self._engines[name]

    def _act(self, name: str, jobs: list[tuple[RunDir, Job]], words: Mapping[str, Word]) -> None:
        for run, job in jobs:
            if job.job in words:
                if job.word == "silent":
                    _tell_waiting(run, name, "")
                self._settle(run, _note(run, job, words[job.job]))
        left = [(run, _job(run)) for run, _ in jobs if _is_open(run)]
        ready = [run for run, job in left if not job.job]
        if ready:
            self._hand_over_again(name, ready, len(left) - len(ready))

    def _hand_over_again(self, name: str, ready: list[RunDir], num_active: int) -> None:
        """Hand over runs that wait for it; an engine's reason against it stands in their state."""
        try:
            self._hand_over(name, ready, num_active)
            reason = ""
        except EngineError as error:  # tried again at the next look
            reason = str(error)
        for run in ready:
            _tell_waiting(run, name, reason)

    def _words(self, name: str, jobs: list[tuple[RunDir, Job]], locked: Lock) -> dict[str, Word]:
        """The engine's word; after `SILENT_S` without an answer it is `silent` about all runs."""
        try:
            words = self._engine(name).words({job.job for _, job in jobs if job.job})
        except EngineError as error:
            now = self._clock()
            if now - self._answered.setdefault(name, now) > SILENT_S:
                with locked():
                    for run, job in jobs:
                        _note(run, job, "silent")
                        _tell_waiting(run, name, f"{UNKNOWN} {error}")
            raise
        self._answered[name] = self._clock()
        return words

    def _hand_over(self, name: str, runs: Sequence[RunDir], num_active: int) -> None:
        taken = self._engine(name).submit(runs, num_active)
        for run, made in zip(runs, taken, strict=False):
            before = job_of(run)
            replace(made, attempt=before.attempt if before else 0).write(run)

    def _settle(self, run: RunDir, job: Job) -> None:
        """Act on an engine's word about a run that has not ended by itself."""
        state, asked = run.written_state(), run.stop_asked()
        if state not in ("submitted", *ACTIVE):
            return
        if state in ACTIVE and asked and time.time() - asked["time"] > 2 * asked["grace_s"]:
            self.cancel(run)
        if newest_claim(run.path).age_s < SILENT_S:
            return  # its sign of life outranks the engine; its last words may still be on their way
        if job.word == "waiting" and state in ACTIVE:
            run.mark_waiting(job.engine)
        elif job.word in ENDED:
            self._settle_ended(run, job, is_stopped=asked is not None)

    def _settle_ended(self, run: RunDir, job: Job, is_stopped: bool) -> None:
        words = f"{job.label} {ENDED[job.word]}"
        if is_stopped:
            run.mark_ended("stopped", FORCED)
        elif job.word == "cancelled":
            run.mark_ended("interrupted", f"{words}. Resume continues the run.")
        elif job.attempt < self._settings.retries:
            run.append_event("retry", message=f"{words}; the run is submitted again.")
            run.mark_waiting(job.engine)
            Job(job.engine, attempt=job.attempt + 1).write(run)
        else:
            tail = run.log_tail(1) or self.log(run).strip()[-300:]
            times = f"{words}, as did all {job.attempt + 1} attempts" if job.attempt else words
            run.mark_ended("interrupted", f"{times}. Its log ends with: {tail or 'nothing'}")


def _note(run: RunDir, job: Job, word: Word) -> Job:
    """Keep a word that is news."""
    return job if job.word == word else replace(job, word=word).write(run)


def _tell_waiting(run: RunDir, name: str, reason: str) -> None:
    """Keep in a waiting run's state what is wrong, if that is news."""
    if run.written_state() == "submitted" and run.status().error != reason:
        run.mark_waiting(name, error=reason)


def _job(run: RunDir) -> Job:
    return job_of(run) or Job(run.engine)


def _jobs(runs: Iterable[RunDir]) -> list[tuple[RunDir, Job]]:
    """Runs with their jobs; those whose files are damaged are left out."""
    jobs = []
    for run in runs:
        try:
            jobs.append((run, _job(run)))
        except RunError as error:
            say(str(error))
    return jobs


def _is_open(run: RunDir) -> bool:
    return run.written_state() in ("submitted", *ACTIVE)


def say(text: str) -> None:
    """Print a line with the time, for the log of the process."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    sys.stderr.flush()
