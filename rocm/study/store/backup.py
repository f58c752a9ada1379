"""Votes that outlive a disk which does not: a journal of commits and snapshots, in another folder.

Snapshot N holds everything before journal N; a boot takes the newest and replays its journal. A
failed write is counted as unsaved and tried again with the next commit. The folder outlives the
disk, or a thread copies it to a dataset repository, and votes are saved once that is done.
"""

import json
import os
import re
import shutil
import sqlite3
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from threading import Event, RLock, Thread
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from rocm.errors import MissingDependency, RocmError, StoreUnavailable, StudyError
from rocm.study.store.database import Change, Database
from rocm.study.store.restore import (
    Contents,
    backup_files,
    exclusive,
    kept,
    newest_snapshot,
    replay,
    restore,
)
from rocm.study.store.store import Store
from rocm.study.store.tables import vote

if TYPE_CHECKING:
    from rocm.storage.hub_copy import HubCopy

KEPT = 3
ROWS_BEFORE_SNAPSHOT = 20_000
COPY_EVERY_S = 30.0  # the hub takes some 120 commits an hour
PATTERNS = ("snapshot-*.sqlite3", "journal-*.jsonl")
NEVER = -1  # no version of a database
NO_BACKUP = "a restart of this server erases its disk, and ROCM_BACKUP is not set"


@dataclass(frozen=True)
class BackupStatus:
    """State of the backup: last write, votes copied and on the local disk only, last error."""

    saved_at: datetime | None
    num_saved: int
    num_unsaved: int
    error: str

    def words(self, now: datetime) -> str:
        """The status as a sentence."""
        ago = "never"
        if self.saved_at is not None:
            minutes = int((now - self.saved_at).total_seconds()) // 60
            ago = f"{minutes} min ago" if minutes > 0 else "under a minute ago"
        failed = f" The last try failed: {self.error}" if self.error else ""
        numbers = f"votes saved: {self.num_saved}, not yet saved: {self.num_unsaved}"
        return f"{numbers}; last backup {ago}.{failed}"


class NoBackup:
    """In the place of a backup where the disk does not last and nothing is copied."""

    def __init__(self, database: Database) -> None:
        """Count the votes of a database."""
        self._database = database

    def status(self) -> BackupStatus:
        """Every vote is unsaved."""
        return BackupStatus(None, 0, _num_votes(self._database), f"{NO_BACKUP}.")


@dataclass
class Backup:
    """Keeps a folder, and its copy on the hub if there is one, up to date with a live database.

    `num_given` counts the votes since the start; those up to `num_saved` are saved.
    """

    database: Database
    folder: Path
    hub: "HubCopy | None" = None
    num_given: int = 0
    num_saved: int = 0
    _in_folder: int = 0
    _number: int = 0
    _num_rows: int = 0
    _seen: int = 0
    _waiting: list[str] = field(default_factory=list)
    _squashes: bool = False
    _changed: Event = field(default_factory=Event)
    _saved_at: datetime | None = None
    _error: str = ""
    _has_deleted: bool = False  # since the last snapshot, on purpose
    _lock: Any = field(default_factory=RLock)

    def start(self) -> None:
        """Take a snapshot, and follow every commit from now on."""
        if not self.database.is_sqlite:
            raise StudyError("PostgreSQL keeps its own journal; give no backup folder with it.")
        self.snapshot()
        self.copy()
        self._changed.clear()
        self.database.on_commit = self._committed
        self.database.on_lost = self._restore
        if self.hub:
            Thread(target=self._keep_copying, name="votes' copy", daemon=True).start()

    def status(self) -> BackupStatus:
        """The state of the backup now."""
        total = _num_votes(self.database)
        with self._lock:
            unsaved = self.num_given - self.num_saved
            return BackupStatus(self._saved_at, max(total - unsaved, 0), unsaved, self._error)

    def snapshot(self) -> Path:
        """Copy the whole database, begin a new journal, delete old copies; returns the snapshot.

        StudyError if the database lacks what the backup holds and was not deleted on purpose.
        """
        with self.database.alone() as connection, self._lock, exclusive(self.database.file):
            return self._snapshot(connection)

    def _snapshot(self, connection: sqlite3.Connection) -> Path:
        try:
            saved = kept(self.folder)  # first: another process may go on storing
            if not self._has_deleted and Contents().add_database(connection).lacks(saved):
                raise StudyError(
                    f"The backup in {self.folder} holds votes or studies that the database "
                    "lacks, so no new copy replaces it. Restart the app: it restores them."
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            number = max((known for _, known in backup_files(self.folder)), default=0) + 1
            target = self.folder / f"snapshot-{number:06d}.sqlite3"
            local = self.database.file.with_name(f".{target.name}")
            local.unlink(missing_ok=True)
            seen = self._version()  # before the copy, which may lack what comes meanwhile
            # The folder may have no working locks: SQLite writes beside its own file only.
            connection.execute("VACUUM INTO ?", (str(local),))
            _move(local, target)
        except (OSError, sqlite3.Error) as error:
            raise StudyError(
                f"The backup cannot be written to {self.folder}: {error}. Mend the folder."
            ) from error
        self._number, self._num_rows, self._seen = number, 0, seen
        self._has_deleted, self._squashes = False, True
        self._prune(number)
        self._written()
        return target

    def forget_the_past(self) -> None:
        """Keep only a new snapshot, as after an erasure; here and on the hub."""
        self._has_deleted = True
        self.snapshot()
        self._prune(self._number, most=1)
        self.copy()

    def copy(self) -> None:
        """Copy the folder to the hub, if there is a copy; MissingFile if the hub does not take it.

        With every snapshot the repository's history is dropped: snapshots hold what came before.
        """
        if self.hub is None:
            return
        with self._lock:
            changes, reached, squashes = self.hub.changes(), self._in_folder, self._squashes
        self.hub.push(changes, squashes)
        with self._lock:
            self._squashes = self._squashes and not squashes
            self.num_saved, self._saved_at, self._error = reached, datetime.now(UTC), ""

    def _keep_copying(self) -> None:
        while self._changed.wait():
            self._changed.clear()
            try:
                self.copy()
            except (RocmError, OSError) as error:  # told by `status`, and tried again
                self._error = str(error)
                self._changed.set()
            time.sleep(COPY_EVERY_S)

    def _written(self) -> None:
        """Note that all votes so far are in the folder."""
        self._waiting, self._in_folder = [], self.num_given
        if self.hub:
            self._changed.set()
        else:
            self.num_saved, self._saved_at, self._error = self._in_folder, datetime.now(UTC), ""

    def _prune(self, number: int, most: int = KEPT) -> None:
        for path, generation in backup_files(self.folder):
            if generation <= number - most:
                path.unlink(missing_ok=True)

    def _committed(self, changes: list[Change]) -> None:
        with self.database.alone() as connection, self._lock:
            self._waiting.append(json.dumps(changes) + "\n")
            self.num_given += sum(name == "vote" for name, _ in changes)
            self._num_rows += len(changes)
            if not all(row for _, row in changes):
                self._seen, self._has_deleted = NEVER, True
            try:
                # What was deleted, or written by another process, is told by a snapshot only. A
                # journal is worth nothing without its snapshot, nor before another process's.
                with exclusive(self.database.file):
                    if (
                        self._num_rows > ROWS_BEFORE_SNAPSHOT
                        or self._version() != self._seen
                        or newest_snapshot(self.folder) != self._number
                    ):
                        self._snapshot(connection)
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
        self._written()

    def _version(self) -> int:
        with self.database.alone() as connection:
            return int(connection.execute("PRAGMA data_version").fetchone()[0])


def open_store(file: Path, place: str | Path) -> tuple[Store, Backup]:
    """Open a store with a backup at `place`: restored first where it lacks votes, then followed.

    `place` is a folder that outlives the disk, or the dataset repository `hf://datasets/owner/name`
    beside whose copy in `file`'s folder the votes are kept. RocmError if it cannot be used.
    """
    folder, hub = _place(place, file)
    if hub:
        hub.fetch()
    restore(file, folder)
    store = Store.open(file)
    backup = Backup(store.database, folder, hub)
    backup.start()
    return store, backup


def open_restored(file: Path, place: str | Path, creates: bool = True) -> Store:
    """Open a store for a command, which follows no commits; restored first where it lacks votes."""
    folder, hub = _place(place, file)
    if hub and not file.exists():
        hub.fetch()
    restore(file, folder)
    return Store.open(file, creates=creates)


def forget_the_past(database: Database, place: str) -> None:
    """Make a backup that nobody follows begin anew, as after an erasure."""
    folder, hub = _place(place, database.file)
    if hub:
        hub.fetch()
    Backup(database, folder, hub).forget_the_past()


def _place(place: str | Path, file: Path) -> tuple[Path, "HubCopy | None"]:
    """The folder of a backup, and its copy on the hub; StudyError for another kind of address."""
    if re.match(r"(?!hf://)\w\w+:/", str(place)):  # it would be a folder on the disk that is lost
        raise StudyError(
            f"ROCM_BACKUP={place} is neither a folder nor a dataset repository. Give a folder that "
            "outlives the disk, or hf://datasets/OWNER/NAME."
        )
    if not str(place).startswith("hf://"):
        return Path(place), None
    try:
        hub_copy = import_module("rocm.storage.hub_copy")
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"ROCM_BACKUP={place} needs huggingface_hub, which is not installed. "
            "Run: pip install huggingface_hub"
        ) from error
    folder = file.with_name("study-backup")
    return folder, hub_copy.HubCopy.of(str(place), folder, PATTERNS)


def _num_votes(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(vote)).scalar_one())


def _move(source: Path, target: Path) -> None:
    """Move a file to another file system so that it is there whole or not at all."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(source, temporary)
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, target)
    source.unlink()
