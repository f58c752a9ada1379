"""A database made again from its backup where it is lost, damaged, or lacks what the backup holds.

A file that is replaced is kept beside the new one, as NAME.aside-1 and so on.
"""

import json
import logging
import os
import re
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import FileLock, Timeout
from sqlalchemy import Table

from rocm.errors import StoreUnavailable, StudyError
from rocm.study.store import chain
from rocm.study.store.database import DAMAGED, Change, Writing
from rocm.study.store.store import Store
from rocm.study.store.tables import metadata

NAME = re.compile(r"(snapshot|journal)-(\d{6})\.(sqlite3|jsonl)")
PARTS = ("", "-wal", "-shm")
WAIT_S = 20.0
log = logging.getLogger(__name__)


@dataclass
class Contents:
    """What must not be lost, of databases and commits: frozen studies and answered trials in them.

    Attributes:
        studies: whether each study is frozen, by id.
        raters: study and number of each rater, by id.
        trials: id of the rater of each answered trial, by public id.
        erased: studies and numbers of raters who were erased.
    """

    studies: dict[str, bool] = field(default_factory=dict)
    raters: dict[int, tuple[str, int]] = field(default_factory=dict)
    trials: dict[str, int] = field(default_factory=dict)
    erased: set[tuple[str, int]] = field(default_factory=set)

    def add_database(self, connection: sqlite3.Connection) -> "Contents":
        """Add what a database holds."""
        ask = connection.execute
        self.studies |= dict(ask("SELECT id, config_sha256 IS NOT NULL FROM study"))
        self.raters |= {row[0]: row[1:] for row in ask("SELECT id, study_id, number FROM rater")}
        self.trials |= dict(ask("SELECT public_id, rater_id FROM trial WHERE state = 'done'"))
        for study_id, data in ask("SELECT study_id, data_json FROM event WHERE kind = 'erased'"):
            self.erased.add((study_id, json.loads(data)["rater"]))
        return self

    def add_changes(self, changes: Iterable[Change]) -> None:
        """Add what a commit has changed."""
        for name, row in changes:
            if name == "study":
                self.studies[row["id"]] = row["config_sha256"] is not None
            elif name == "rater":
                self.raters[row["id"]] = row["study_id"], row["number"]
            elif name == "trial" and row["state"] == "done":
                self.trials[row["public_id"]] = row["rater_id"]

    def lacks(self, other: "Contents") -> bool:
        """Whether `other` holds a study or an answered trial that is not here, nor erased here."""
        new = other._answered() - self._answered()
        missing = {vote for vote in new if vote[:2] not in self.erased}
        is_new = bool(other.studies) and not self.studies
        return is_new or bool(other._frozen() - self._frozen() or missing)

    def _frozen(self) -> set[str]:
        return {study_id for study_id, is_frozen in self.studies.items() if is_frozen}

    def _answered(self) -> set[tuple[str, int, str]]:
        """Study, rater's number and public id of each answered trial of a frozen study."""
        trials = self.trials.items()  # some of raters whose snapshot is lost
        by_rater = ((*self.raters[rater], name) for name, rater in trials if rater in self.raters)
        return {vote for vote in by_rater if self.studies.get(vote[0])}


def kept(folder: Path) -> Contents:
    """Contents of a backup: of its newest snapshot that can be read, and what came after it."""
    found = Contents()
    known = sorted(backup_files(folder), key=lambda one: -one[1])
    newest = 0
    for path, number in (snapshot for snapshot in known if snapshot[0].suffix == ".sqlite3"):
        try:
            # The folder may have no working locks.
            with closing(_connected(path, "immutable=1")) as copy:
                found.add_database(copy)
        except sqlite3.DatabaseError:
            log.warning("%s is damaged and is left out.", path)
            continue
        newest = number
        break
    for path, number in reversed(known):
        if path.suffix == ".jsonl" and number >= newest:
            for changes in commits(path):
                found.add_changes(changes)
    return found


@contextmanager
def exclusive(file: Path) -> Iterator[None]:
    """Keep other processes of a database from its backup; StudyError if that takes long."""
    try:
        lock = FileLock(file.with_name(f".{file.name}.backup-lock")).acquire(WAIT_S)
    except Timeout as error:
        raise StudyError(
            f"Another process has used the backup of {file} for {WAIT_S:g} s. End that process."
        ) from error
    with lock:
        yield


def restore(file: Path, folder: Path) -> int:
    """Make a database from its backup unless it holds all of it; the number of commits replayed.

    StudyError if either holds what the other lacks, or the newest snapshot is damaged or all are
    lost: a person must choose then.
    """
    if not backup_files(folder):
        return 0
    with exclusive(file):
        return _restore(file, folder)


def _restore(file: Path, folder: Path) -> int:
    saved = kept(folder)  # before the database: a commit is there first
    present = _present(file)
    if present and not present.lacks(saved):
        return 0
    journals = sorted(backup_files(folder), key=lambda one: one[1])
    newest = newest_snapshot(folder)
    if not newest:
        raise StudyError(
            f"The backup in {folder} has journals but no snapshot, so {file} cannot be made from "
            "it. Put the snapshots back, or name another folder in ROCM_BACKUP to begin anew."
        )
    if present and saved.lacks(present):
        raise StudyError(
            f"{file} and the backup in {folder} each hold votes or studies that the other lacks. "
            "Both are kept. Move the file away to restore the backup, or name another folder in "
            "ROCM_BACKUP to go on with the file."
        )
    local = file.with_name(f".{file.name}.restored")
    _remove(local)
    shutil.copyfile(folder / f"snapshot-{newest:06d}.sqlite3", local)
    with closing(sqlite3.connect(local)) as copy:
        if not _is_whole(copy):
            raise StudyError(
                f"Snapshot {newest} in {folder} is damaged. Delete it to use an older one, whose "
                "journals hold what came after it."
            )
    store = Store.open(local)
    replayed = [
        replay(store, commits(path))
        for path, number in journals
        if path.suffix == ".jsonl" and number >= newest
    ]
    with store.database.write() as w:
        chain.adopt_all(w)  # what a journal from before there were chains has brought
    store.close()
    _put_in_place(local, file)
    log.warning("%s was restored from the backup in %s.", file, folder)
    return sum(replayed)


def replay(store: Store, journal: Iterable[list[Change]]) -> int:
    """Bring a store to what commits say; returns their number. What they deleted stays."""
    done = 0
    for changes in journal:
        with store.database.write() as w:
            for name, row in changes:
                if row:
                    _put(w, metadata.tables[name], row)
        done += 1
    return done


def commits(path: Path) -> list[list[Change]]:
    """Commits of a journal; a last line without its end was cut off."""
    complete = path.read_bytes().rpartition(b"\n")[0]
    found = []
    for number, line in enumerate(complete.split(b"\n") if complete else [], start=1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            raise StudyError(
                f"{path} is damaged: line {number} is not JSON. Put an intact copy back, or delete "
                "the line: what it saved is then missing from this backup."
            ) from error
    return found


def newest_snapshot(folder: Path) -> int:
    """The number of a backup's newest snapshot, which may be damaged; 0 without any."""
    files = backup_files(folder)
    return max((number for path, number in files if path.suffix == ".sqlite3"), default=0)


def backup_files(folder: Path) -> list[tuple[Path, int]]:
    """Snapshots and journals of a backup, with their numbers."""
    if not folder.is_dir():
        return []
    matches = [(path, NAME.fullmatch(path.name)) for path in folder.iterdir()]
    return [(path, int(match[2])) for path, match in matches if match]


def _present(file: Path) -> Contents | None:
    """Contents of the database that is there; None if there is none, or it is damaged."""
    if not file.is_file() or not file.stat().st_size:
        return None
    try:
        with closing(_connected(file, "mode=rw")) as connection:
            return Contents().add_database(connection) if _is_whole(connection) else None
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in DAMAGED:
            return None
        raise StoreUnavailable(f"{file} cannot be read: {error}. Mend its folder.") from error


def _connected(file: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(file))}?{how}", uri=True)


def _is_whole(copy: sqlite3.Connection) -> bool:
    """Whether a database is intact and has tables; to SQLite an empty file is intact."""
    try:
        is_intact = copy.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        tables = copy.execute("SELECT 1 FROM sqlite_master WHERE name = 'event'")
        return is_intact and tables.fetchone() is not None
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in DAMAGED:  # too much even to be checked
            return False
        raise


def _put_in_place(local: Path, file: Path) -> None:
    """Move a new database to its place; what is there is kept under another name.

    What another database left in -wal would be read as this one's.
    """
    aside = next(
        name
        for name in (file.with_name(f"{file.name}.aside-{n}") for n in range(1, 10_000))
        if not any(Path(f"{name}{part}").exists() for part in PARTS)
    )
    for part in PARTS:
        if (old := Path(f"{file}{part}")).exists():
            os.replace(old, f"{aside}{part}")
    os.replace(local, file)


def _remove(file: Path) -> None:
    for part in PARTS:
        Path(f"{file}{part}").unlink(missing_ok=True)


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
