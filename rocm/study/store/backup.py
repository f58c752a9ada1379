"""Votes that outlive a disk which does not: a journal of commits and snapshots, in another folder.

Snapshot N holds everything before journal N; a boot takes the newest and replays its journal. A
failed write is counted as unsaved and tried again with the next commit.
"""

import json
import os
import shutil
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any

from rocm.errors import StoreUnavailable, StudyError
from rocm.study.store.database import Change, Database
from rocm.study.store.restore import backup_files, contents, kept, replay, restore
from rocm.study.store.store import Store

KEPT = 3
ROWS_BEFORE_SNAPSHOT = 20_000
NEVER = -1  # no version of a database


@dataclass(frozen=True)
class BackupStatus:
    """State of the backup: last write, votes on the local disk only, last error or empty."""

    saved_at: datetime | None
    num_unsaved: int
    error: str

    def words(self, now: datetime) -> str:
        """The status as a sentence."""
        ago = "never"
        if self.saved_at is not None:
            minutes = int((now - self.saved_at).total_seconds()) // 60
            ago = f"{minutes} min ago" if minutes > 0 else "under a minute ago"
        failed = f" The last try failed: {self.error}" if self.error else ""
        return f"last backup {ago}, {self.num_unsaved} votes unsaved.{failed}"


@dataclass
class Backup:
    """Keeps a folder up to date with one live SQLite database."""

    database: Database
    folder: Path
    _number: int = 0
    _num_rows: int = 0
    _seen: int = 0
    _waiting: list[str] = field(default_factory=list)
    _unsaved: int = 0
    _saved_at: datetime | None = None
    _error: str = ""
    _has_deleted: bool = False  # since the last snapshot, on purpose
    _lock: Any = field(default_factory=RLock)

    def start(self) -> None:
        """Take a snapshot, and follow every commit from now on."""
        if not self.database.is_sqlite:
            raise StudyError("PostgreSQL keeps its own journal; give no backup folder with it.")
        self.snapshot()
        self.database.on_commit = self._committed
        self.database.on_lost = self._restore

    def status(self) -> BackupStatus:
        """The state of the backup now."""
        with self._lock:
            return BackupStatus(self._saved_at, self._unsaved, self._error)

    def snapshot(self) -> Path:
        """Copy the whole database, begin a new journal, delete old copies; returns the snapshot.

        StudyError if the database lacks what the backup holds and was not deleted on purpose.
        """
        with self.database.alone() as connection, self._lock:
            try:
                saved = kept(self.folder)  # first: another process may go on storing
                if not self._has_deleted and contents(connection).lacks(saved):
                    raise StudyError(
                        f"The backup in {self.folder} holds votes or studies that the database "
                        "lacks, so no new copy replaces it. Restart the app: it restores them."
                    )
                self.folder.mkdir(parents=True, exist_ok=True)
                number = max((known for _, known in backup_files(self.folder)), default=0) + 1
                target = self.folder / f"snapshot-{number:06d}.sqlite3"
                local = self.database.file.with_name(f".{target.name}")
                local.unlink(missing_ok=True)
                # The folder may have no working locks: SQLite writes beside its own file only.
                connection.execute("VACUUM INTO ?", (str(local),))
                _move(local, target)
            except (OSError, sqlite3.Error) as error:
                raise StudyError(
                    f"The backup cannot be written to {self.folder}: {error}. Mend the folder."
                ) from error
            self._number, self._num_rows, self._seen = number, 0, self._version()
            self._waiting, self._unsaved, self._error, self._has_deleted = [], 0, "", False
            self._saved_at = datetime.now(UTC)
            self._prune(number)
        return target

    def forget_the_past(self) -> None:
        """Keep only a new snapshot, as after an erasure."""
        self._has_deleted = True
        self.snapshot()
        self._prune(self._number, most=1)

    def _prune(self, number: int, most: int = KEPT) -> None:
        for path, generation in backup_files(self.folder):
            if generation <= number - most:
                path.unlink(missing_ok=True)

    def _committed(self, changes: list[Change]) -> None:
        with self._lock:
            self._waiting.append(json.dumps(changes) + "\n")
            self._unsaved += sum(name == "vote" for name, _ in changes)
            self._num_rows += len(changes)
            if not all(row for _, row in changes):
                self._seen, self._has_deleted = NEVER, True
            try:
                # What was deleted, or written by another process, is told by a snapshot only.
                if self._num_rows > ROWS_BEFORE_SNAPSHOT or self._version() != self._seen:
                    self.snapshot()
                else:
                    self._append()
            except (OSError, StudyError) as error:  # told by `status`; the vote is stored
                self._error = str(error)

    def _restore(self) -> None:
        """Bring back a file that was lost while the app runs, with what was not saved yet."""
        with self._lock:
            try:
                restore(self.database.file, self.folder)
                self.database.reopen()
            except (OSError, StudyError) as error:
                raise StoreUnavailable(f"The votes cannot be restored: {error}") from error
            waiting, self._waiting, self._seen = self._waiting, [], NEVER
            replay(Store(self.database), map(json.loads, waiting))

    def _append(self) -> None:
        path = self.folder / f"journal-{self._number:06d}.jsonl"
        with open(path, "ab") as file:
            size = file.tell()
            try:
                file.write("".join(self._waiting).encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
        self._waiting, self._unsaved, self._error = [], 0, ""
        self._saved_at = datetime.now(UTC)

    def _version(self) -> int:
        with self.database.alone() as connection:
            return int(connection.execute("PRAGMA data_version").fetchone()[0])


def open_store(file: Path, folder: Path) -> tuple[Store, Backup]:
    """Open a store with a backup: restored first where it lacks votes, followed from now on."""
    store = open_restored(file, folder)
    backup = Backup(store.database, folder)
    backup.start()
    return store, backup


def open_restored(file: Path, folder: Path, creates: bool = True) -> Store:
    """Open a store for a command, which follows no commits; restored first where it lacks votes."""
    restore(file, folder)
    return Store.open(file, creates=creates)


def _move(source: Path, target: Path) -> None:
    """Move a file to another file system so that it is there whole or not at all."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(source, temporary)
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, target)
    source.unlink()
