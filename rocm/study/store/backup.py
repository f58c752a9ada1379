"""Votes that outlive a disk which does not: a journal of commits and snapshots, in another folder.

Snapshot N holds everything before journal N; a boot takes the newest and replays its journal. A
failed write is counted as unsaved and tried again with the next commit.
"""

import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any

from sqlalchemy import Table

from rocm.errors import StudyError
from rocm.study.store.columns import metadata
from rocm.study.store.database import Change, Database, Writing
from rocm.study.store.store import Store

NAME = re.compile(r"(snapshot|journal)-(\d{6})\.(sqlite3|jsonl)")
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
    _lock: Any = field(default_factory=RLock)

    def start(self) -> None:
        """Take a snapshot, and follow every commit from now on."""
        if not self.database.is_sqlite:
            raise StudyError("PostgreSQL keeps its own journal; give no backup folder with it.")
        self.snapshot()
        self.database.on_commit = self._committed

    def status(self) -> BackupStatus:
        """The state of the backup now."""
        with self._lock:
            return BackupStatus(self._saved_at, self._unsaved, self._error)

    def snapshot(self) -> Path:
        """Copy the whole database, begin a new journal, delete old copies; returns the snapshot."""
        with self.database.alone() as connection, self._lock:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                number = max((known for _, known in _files(self.folder)), default=0) + 1
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
            self._waiting, self._unsaved, self._error = [], 0, ""
            self._saved_at = datetime.now(UTC)
            self._prune(number)
        return target

    def forget_the_past(self) -> None:
        """Keep only a new snapshot, as after an erasure."""
        self.snapshot()
        self._prune(self._number, kept=1)

    def _prune(self, number: int, kept: int = KEPT) -> None:
        for path, generation in _files(self.folder):
            if generation <= number - kept:
                path.unlink(missing_ok=True)

    def _committed(self, changes: list[Change]) -> None:
        with self._lock:
            self._waiting.append(json.dumps(changes) + "\n")
            self._unsaved += sum(name == "vote" for name, _ in changes)
            self._num_rows += len(changes)
            if not all(row for _, row in changes):
                self._seen = NEVER
            try:
                # What was deleted, or written by another process, is told by a snapshot only.
                if self._num_rows > ROWS_BEFORE_SNAPSHOT or self._version() != self._seen:
                    self.snapshot()
                else:
                    self._append()
            except (OSError, StudyError) as error:  # told by `status`; the vote is stored
                self._error = str(error)

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
    """Open a store with a backup: restored first where the disk is new, followed from now on."""
    restore(file, folder)
    store = Store.open(file)
    backup = Backup(store.database, folder)
    backup.start()
    return store, backup


def restore(file: Path, folder: Path) -> int:
    """Make an absent database from a backup; the number of commits replayed after the snapshot."""
    snapshots = [number for path, number in _files(folder) if path.suffix == ".sqlite3"]
    if file.exists() or not snapshots:
        return 0
    newest = max(snapshots)
    local = file.with_name(f".{file.name}.restored")
    shutil.copyfile(folder / f"snapshot-{newest:06d}.sqlite3", local)
    with closing(sqlite3.connect(local)) as copy:
        if not _is_whole(copy):
            raise StudyError(
                f"Snapshot {newest} in {folder} is damaged. Delete it to use an older one, whose "
                "journals hold what came after it."
            )
    os.replace(local, file)
    store = Store.open(file)
    replayed = 0
    for path, number in sorted(_files(folder), key=lambda entry: entry[1]):
        if path.suffix == ".jsonl" and number >= newest:
            replayed += _replay(store, path)
    store.close()
    return replayed


def _is_whole(copy: sqlite3.Connection) -> bool:
    try:
        return bool(copy.execute("PRAGMA integrity_check").fetchone()[0] == "ok")
    except sqlite3.DatabaseError:  # too damaged even to be checked
        return False


def _replay(store: Store, path: Path) -> int:
    complete = path.read_bytes().rpartition(b"\n")[0]  # a last line without its end was cut off
    lines = complete.splitlines()
    for line in lines:
        try:
            changes = json.loads(line)
        except ValueError as error:
            raise StudyError(f"{path} is damaged: a line of it is not JSON.") from error
        with store.database.write() as w:
            for name, row in changes:
                _put(w, metadata.tables[name], row)
    return len(lines)


def _put(w: Writing, table: Table, row: dict[str, Any]) -> None:
    """Insert a row, or bring the one that is there to its values."""
    this = [column == row[column.name] for column in table.primary_key]
    present = w.execute(table.select().where(*this)).one_or_none()
    if present is None:
        w.insert(table, **row)
        return
    changed = {name: value for name, value in row.items() if getattr(present, name) != value}
    if changed:
        w.update(table, *this, **changed)


def _files(folder: Path) -> list[tuple[Path, int]]:
    if not folder.is_dir():
        return []
    files = [(path, NAME.fullmatch(path.name)) for path in folder.iterdir()]
    return [(path, int(match[2])) for path, match in files if match]


def _move(source: Path, target: Path) -> None:
    """Move a file to another file system so that it is there whole or not at all."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(source, temporary)
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, target)
    source.unlink()
