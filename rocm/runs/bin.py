"""Deleted runs, which can come back until the bin is emptied."""

import os
import shutil
import time
from pathlib import Path

from rocm.errors import MissingFile, RunError
from rocm.runs.run_dir import RunDir
from rocm.storage.files import make_folder, write_atomic


class Bin:
    """Deleted runs, kept in `home`/bin until the bin is emptied."""

    def __init__(self, home: Path):
        """Keep deleted runs below `home`."""
        self.path = home / "bin"

    def runs(self) -> list[RunDir]:
        """Runs in the bin, last deleted first."""
        deleted = [RunDir(path.parent) for path in self.path.glob("*/config.yaml")]
        return sorted(deleted, key=lambda run: (run.path / "deleted").stat().st_mtime, reverse=True)

    def put(self, run: RunDir) -> None:
        """Move a run into the bin, a damaged one too; RunError while it trains or waits."""
        state = "at work" if run.is_locked() else run.written_or_damaged()
        if state in ("queued", "submitted"):
            raise RunError(f"{run.path.name} waits and cannot be deleted. Cancel it first.")
        if state == "at work" or (state != "damaged" and run.status().is_active):
            raise RunError(f"{run.path.name} is training and cannot be deleted. Stop it first.")
        make_folder(self.path)
        write_atomic(run.path / "deleted", f"{time.time()}")
        _move(run.path, self.path / run.path.name)

    def take_out(self, run_id: str, runs: Path) -> None:
        """Move a deleted run back into the folder `runs`."""
        if run_id not in [run.path.name for run in self.runs()]:
            raise MissingFile(f"There is no run '{run_id[:100]}' in the bin, {self.path}.")
        make_folder(runs)
        _move(self.path / run_id, runs / run_id)
        (runs / run_id / "deleted").unlink(missing_ok=True)

    def empty(self) -> int:
        """Permanently delete the runs in the bin; returns their number."""
        runs = self.runs()
        for run in runs:
            try:
                shutil.rmtree(run.path)
            except OSError as error:
                raise RunError(f"Cannot delete {run.path}: {error.strerror}.") from error
        return len(runs)


def _move(source: Path, target: Path) -> None:
    if target.exists():
        raise RunError(f"{target} exists already. Rename or remove that folder first.")
    try:
        os.replace(source, target)
    except OSError as error:
        raise RunError(f"Cannot move {source} to {target}: {error.strerror}.") from error
