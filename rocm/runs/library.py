"""The runs of a home: list, start, resume, stop, rename, delete; and the bin of deleted ones."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingFile, RunError
from rocm.runs.queue import STOP_GRACE_S, TRAINER, Queue
from rocm.runs.reports import Reports, RunReport
from rocm.runs.run_dir import Control, RunDir
from rocm.storage.files import check_text, make_folder, write_atomic

MAX_TITLE = 120
MAX_NOTE = 10_000


class Runs(Reports):
    """The runs below `home`/runs, with their queue and their bin; no torch."""

    def __init__(self, home: Path, command: Sequence[str] = TRAINER):
        """Open the runs of `home`; `command` starts a trainer, `train ...` is appended."""
        self.queue = Queue(home, command)
        super().__init__(self.queue.runs)
        self.bin = self.queue.home / "bin"

    def all(self) -> list[RunReport]:
        """All runs, newest first; a damaged run is listed with its error."""
        places = {run.path: place for place, run in enumerate(self.queue.waiting())}
        reports = [self._report(run, places.get(run.path)) for run in self.queue.all_runs()]
        return sorted(reports, key=lambda report: report.created, reverse=True)

    def waiting(self) -> list[RunReport]:
        """Runs in the queue, the next first."""
        return [self._report(run, k) for k, run in enumerate(self.queue.waiting())]

    def report(self, run_id: str) -> RunReport:
        """The state of a run now."""
        run, waiting = self.run(run_id), self.queue.waiting()
        return self._report(run, waiting.index(run) if run in waiting else None)

    def start(self, config: RunConfig, name: str = "run", engine: str = "local") -> str:
        """Append a new run to the queue; it starts at once if no run is training.

        An `engine` other than `local` gets it instead; EngineError if that refuses.

        Returns the run's id: `name` (the preset's), date, time, and four random characters.
        """
        self.queue.check(engine)
        run_id = self.create(config, name, place=time.time() if engine == "local" else engine)
        if engine != "local":
            self.queue.submit([self.run(run_id)], engine)
        self.queue.ensure_worker()
        return run_id

    def create(self, config: RunConfig, name: str = "run", place: float | str = 0.0) -> str:
        """A new run: waits at a `place` of the queue or an engine; 0: stopped before its begin."""
        stem = "".join(c if c.isalnum() and c.isascii() else "-" for c in name).strip("-")
        run_id = f"{stem[:60] or 'run'}-{datetime.now():%Y%m%d-%H%M%S}-{token_hex(2)}"
        run = RunDir.create(self.folder / run_id, config, preset=name, place=place)
        if not place:
            run.mark_ended("stopped")
        return run_id

    def resume(self, run_id: str) -> None:
        """Queue a stopped, cancelled, interrupted or failed run; RunError in any other state.

        It continues from its last checkpoint, or starts over without one.
        """
        run = self.run(run_id)
        status = run.status()
        if not status.is_resumable:
            reason = "it has done all updates; continue it for more"
            reason = "it waits already" if status.is_queued else reason
            reason = "it is training" if status.is_active else reason
            raise RunError(f"{run_id} is {status.state} and cannot be resumed: {reason}.")
        self.queue.add(run)

    def extend(self, run_id: str, num_more: int) -> None:
        """Queue a finished or stopped run for `num_more` updates.

        The learning rate is constant, so the result equals a run of that length from the start.
        RunError if it waits, trains or has no checkpoint; ConfigError if `num_more` is out of
        range.
        """
        run = self.run(run_id)
        status = run.status()
        if status.is_active or status.is_queued or not run.checkpoints():
            reason = "has no checkpoint yet" if status.state == "failed" else f"is {status.state}"
            raise RunError(f"{run_id} {reason}: only a run that has ended can be continued.")
        if num_more < 1:
            raise ConfigError(f"num_more={num_more} is not allowed: give at least 1 update.")
        run.extend(status.step + num_more)
        self.queue.add(run)

    def stop(self, run_id: str, grace_s: float = STOP_GRACE_S) -> None:
        """Stop a run after this update, or cancel it if it waits; returns at once.

        After `grace_s` seconds a signal is sent, after twice that the process is killed.
        """
        run = self.run(run_id)
        status = run.status()
        if status.is_queued:
            self.queue.cancel(run)
        elif status.is_active:
            self.queue.stop(run, grace_s)
        else:
            self.queue.settle()
            raise RunError(f"{run_id} is {status.state}: there is nothing to stop.")

    def ask(self, run_id: str, request: Control) -> None:
        """Send `sample_now` or `save_now` to a running trainer, which acts after its update."""
        run = self.run(run_id)
        status = run.status()
        if not status.is_active:
            raise RunError(f"{run_id} is {status.state}: this works only while it is training.")
        run.request(request)

    def rename(self, run_id: str, title: str) -> None:
        """Set the title, at most 120 characters on one line; an empty title removes it."""
        text = " ".join(check_text("title", title).split())
        if len(text) > MAX_TITLE:
            raise ConfigError(
                f"The title has {len(text)} characters; at most {MAX_TITLE} are allowed."
            )
        self.run(run_id).describe(title=text)

    def annotate(self, run_id: str, note: str) -> None:
        """Set the note, at most 10,000 characters; an empty note removes it."""
        if len(note) > MAX_NOTE:
            raise ConfigError(
                f"The note has {len(note):,} characters; at most {MAX_NOTE:,} are allowed."
            )
        self.run(run_id).describe(note=check_text("note", note).strip())

    def delete(self, run_id: str) -> None:
        """Move a run to the bin, a damaged one too; RunError while it trains or waits."""
        run = self.run(run_id)
        with self.queue.locked():
            state = "at work" if run.is_locked() else run.written_or_damaged()
            if state in ("queued", "submitted"):
                raise RunError(f"{run_id} waits and cannot be deleted. Cancel it first.")
            if state == "at work" or (state != "damaged" and run.status().is_active):
                raise RunError(f"{run_id} is training and cannot be deleted. Stop it first.")
            write_atomic(run.path / "deleted", f"{time.time()}")
            _move(run.path, self.bin / run_id)

    def deleted(self) -> list[RunReport]:
        """Runs in the bin, last deleted first."""
        return [self._report(run) for run in self._deleted()]

    def _deleted(self) -> list[RunDir]:
        # Emptying removes the settings first, so that what a kill leaves of a run is not listed.
        marks = [
            mark for mark in self.bin.glob("*/deleted") if mark.with_name("config.yaml").is_file()
        ]
        newest = sorted(marks, key=lambda mark: mark.stat().st_mtime, reverse=True)
        return [RunDir(mark.parent) for mark in newest]

    def restore(self, run_id: str) -> None:
        """Move a run out of the bin."""
        if run_id not in [run.path.name for run in self._deleted()]:
            raise MissingFile(f"There is no run '{run_id[:100]}' in the bin, {self.bin}.")
        _move(self.bin / run_id, self.folder / run_id)
        (self.folder / run_id / "deleted").unlink(missing_ok=True)

    def empty_bin(self) -> int:
        """Permanently delete the runs in the bin; returns their number."""
        num_runs = len(self._deleted())
        for mark in list(self.bin.glob("*/deleted")):
            try:
                mark.with_name("config.yaml").unlink(missing_ok=True)
                shutil.rmtree(mark.parent)
            except OSError as error:
                raise RunError(f"Cannot delete {mark.parent}: {error.strerror}.") from error
        return num_runs


def _move(source: Path, target: Path) -> None:
    make_folder(target.parent)
    if target.exists():
        raise RunError(f"{target} exists already. Rename or remove that folder first.")
    try:
        os.replace(source, target)
    except OSError as error:
        raise RunError(f"Cannot move {source} to {target}: {error.strerror}.") from error


def open_in_file_manager(path: Path) -> None:
    """Show a folder on this machine's screen; RunError without a file manager."""
    if sys.platform == "win32":
        os.startfile(path)
        return
    program = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if program is None:
        raise RunError(f"There is no file manager here. The folder is {path}.")
    silent: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    subprocess.Popen([program, str(path)], start_new_session=True, **silent)
