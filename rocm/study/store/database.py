"""One database, SQLite or PostgreSQL: connections, transactions, and the changes of each write.

SQLite has one writer: its own connection behind a lock, BEGIN IMMEDIATE, because SQLite lets many
writers wait unfairly. A write returns when it is synced; what was committed meanwhile is synced
with it. PostgreSQL has a pool and locks rows. Readers never wait.
"""

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from threading import RLock, Thread, current_thread
from typing import Any, TypeVar, cast
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import Connection, Row, Table, event
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

from rocm.errors import StoreUnavailable, StudyError

APPLICATION_ID = 0x524F434D  # "ROCM", so that no other program's file is taken for ours
BUSY_TIMEOUT_MS = 10_000
POOL_SIZE = 10
AT_ONCE = 50  # transactions before a sync
SYNC: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)

# Primary result codes that come from outside: disk, locks, rights; any other is a defect of ours.
OUTSIDE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
}

DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
BUILD = "Build a study: python -m rocm study build study.yaml"
LOST = (
    "The votes' file was deleted, replaced or damaged while it was in use. Nothing was stored by "
    "this request. Put the file back, or restart the app; with ROCM_BACKUP the votes are restored."
)

Result = TypeVar("Result")
Change = tuple[str, dict[str, Any]]
"""A table and a row of it as it is now; an empty row where some were deleted."""


class Writing:
    """One transaction that writes, and remembers the rows as they are now."""

    def __init__(self, connection: Connection):
        """Write through a connection that is in a transaction."""
        self.connection = connection
        self.changes: list[Change] = []

    def execute(self, statement: sa.Executable) -> sa.Result[Any]:
        """Run a statement that changes nothing, or nothing that a journal must know."""
        return self.connection.execute(statement)

    def insert(self, table: Table, **values: Any) -> Row[Any]:
        """Store one row; returns it whole."""
        return self.insert_many(table, [values])[0]

    def insert_many(self, table: Table, rows: list[dict[str, Any]]) -> list[Row[Any]]:
        """Store rows of the same columns; returns them whole, in their order."""
        if not rows:
            return []
        statement = table.insert().returning(table, sort_by_parameter_order=len(rows) > 1)
        return self._kept(table, self.connection.execute(statement, rows).all())

    def update(self, table: Table, *where: sa.ColumnElement[bool], **values: Any) -> list[Row[Any]]:
        """Change the rows that fulfill every condition; returns them as they are afterwards."""
        statement = table.update().where(*where).values(**values).returning(table)
        return self._kept(table, self.connection.execute(statement).all())

    def delete(self, table: Table, *where: sa.ColumnElement[bool]) -> int:
        """Delete the rows that fulfill every condition; returns how many."""
        self.changes.append((table.name, {}))
        return self.connection.execute(table.delete().where(*where)).rowcount

    def _kept(self, table: Table, rows: Any) -> list[Row[Any]]:
        self.changes += [(table.name, dict(row._mapping)) for row in rows]
        return list(rows)


class Database:
    """Connections to one database."""

    def __init__(self, where: str | Path, creates: bool = True):
        """Connect to an SQLite file or a PostgreSQL address; tables are neither made nor sought.

        StudyError for an SQLite file that is not there, unless `creates`.
        """
        self.url = checked_url(where)
        self.dialect = self.url.get_backend_name()  # `sqlite` or `postgresql`
        self.is_sqlite = self.dialect == "sqlite"
        self.on_commit: Callable[[list[Change]], None] = lambda changes: None
        self.on_lost: Callable[[], None] = lambda: None
        self._num_commits = self._num_synced = 0
        self._tasks: SimpleQueue[Any] = SimpleQueue()
        self._thread: Thread | None = None
        if self.is_sqlite:
            self._lock: Any = RLock()
            self._syncing = RLock()
            if not creates and not self.file.is_file():
                raise StudyError(f"There are no studies here: {self.file} does not exist. {BUILD}")
            self._writer, self._reader = _sqlite_engines(self.file)
            self._identity = self._file_now()
        else:
            self._lock = nullcontext()
            self._writer = self._reader = sa.create_engine(
                self.url, pool_size=POOL_SIZE, max_overflow=POOL_SIZE, pool_pre_ping=True
            )

    @property
    def file(self) -> Path:
        """File of an SQLite database."""
        return Path(self.url.database or "")

    @contextmanager
    def write(self) -> Iterator[Writing]:
        """A transaction, synced at the end; an exception or StoreUnavailable undoes all of it."""
        with self._committed() as writing:
            yield writing
        if self.is_sqlite and writing.changes:
            self._sync(self._num_commits)

    def together(self, work: Callable[[Writing], Result]) -> Result:
        """The result of `work` in a transaction of its own, synced with others that came at once.

        On SQLite a thread of its own does it: to hand the writer from thread to thread would take
        longer than the work.
        """
        if not self.is_sqlite:
            with self.write() as w:
                return work(w)
        if self._thread is None:
            with self._lock:
                self._thread = self._thread or _started(self._work)
        asked: Future[Result] = Future()
        self._tasks.put((work, asked))
        return asked.result()

    def _work(self) -> None:
        is_open = True
        while is_open:
            batch = [self._tasks.get()]
            while self._tasks.qsize() and len(batch) < AT_ONCE:
                batch.append(self._tasks.get())
            is_open = None not in batch
            self._do([task for task in batch if task])

    def _do(self, tasks: list[Any]) -> None:
        """Do tasks one after the other, sync once, and hand out the results."""
        done = []
        for work, asked in tasks:
            try:
                with self._committed() as w:
                    result = work(w)
            except Exception as error:  # noqa: BLE001, raised where it was asked for
                asked.set_exception(error)
            else:
                done.append((asked, result))
        try:
            self._sync(self._num_commits)
        except StoreUnavailable as error:
            for asked, _ in done:
                asked.set_exception(error)
        else:
            for asked, result in done:
                asked.set_result(result)

    @contextmanager
    def _committed(self) -> Iterator[Writing]:
        with self._lock, self._watched():
            with self._writer.begin() as connection:
                writing = Writing(connection)
                yield writing
            if writing.changes:
                self.on_commit(writing.changes)
                self._num_commits += 1

    def _sync(self, number: int) -> None:
        """Wait until SQLite's write-ahead log is on the disk up to that commit.

        Commits are appended in order, so that one sync serves all before it, as
        `synchronous=FULL` would one by one.
        """
        with self._syncing:
            if self._num_synced >= number:
                return
            reached = self._num_commits
            try:
                log = os.open(f"{self.file}-wal", os.O_RDONLY)
                try:
                    SYNC(log)
                finally:
                    os.close(log)
            except OSError as error:
                raise StoreUnavailable(
                    f"The votes' database cannot be synced: {error.strerror}. Free some space or "
                    "mend its folder, then send it again."
                ) from error
            self._num_synced = reached

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view, which waits for nobody."""
        with self._watched(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """SQLite's writing connection outside a transaction, with the writer held off."""
        with self._lock:
            raw = self._writer.raw_connection()
            try:
                yield cast(sqlite3.Connection, raw.driver_connection)
            finally:
                raw.close()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """StoreUnavailable where the database fails, is damaged, or its file is another one."""
        if self.is_sqlite and self._file_now() != self._identity:
            self._lose()
            raise StoreUnavailable(LOST)
        try:
            yield
        except DatabaseError as error:
            if _is_damage(error):
                self._lose()
                raise StoreUnavailable(LOST) from error
            if isinstance(error, OperationalError):
                raise unreachable(error) from error
            raise

    def _lose(self) -> None:
        with self._lock:
            self.on_lost()

    def _file_now(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.file)
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def reopen(self) -> None:
        """Connect to an SQLite file that has come in place of another one."""
        self._dispose()
        self._writer.connect().close()
        self._identity = self._file_now()

    def close(self) -> None:
        """Close every connection."""
        if self._thread and self._thread is not current_thread():
            self._tasks.put(None)
            self._thread.join()
            self._thread = None
        self._dispose()

    def _dispose(self) -> None:
        self._writer.dispose()
        self._reader.dispose()


def checked_url(where: str | Path) -> sa.URL:
    """The address of an SQLite file or PostgreSQL; errors omit it: it may hold a password."""
    text = str(where)
    if isinstance(where, Path) or not re.match(r"[A-Za-z][\w+.-]*:", text):
        return sa.URL.create("sqlite", database=str(Path(text).expanduser()))
    allowed = "Give postgresql://USER:PASSWORD@HOST/NAME, or leave it out for an SQLite file."
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError) as error:
        raise StudyError(f"DATABASE_URL cannot be read. {allowed}") from error
    if url.drivername in ("postgres", "postgresql", "postgresql+psycopg") and url.database:
        return url.set(drivername="postgresql+psycopg")
    raise StudyError(f"DATABASE_URL names a database of another kind, or none. {allowed}")


def unreachable(error: OperationalError) -> Exception:
    """The error that a user reads if the database itself failed; it never holds the address."""
    if isinstance(error.orig, sqlite3.Error):
        if error.orig.sqlite_errorcode & 0xFF not in OUTSIDE:
            return error
        return StoreUnavailable(
            f"The votes' database cannot be used: {error.orig}. Nothing was stored by this "
            "request. Free some space or mend its folder, then try again."
        )
    return StoreUnavailable(
        "The votes' database cannot be reached, or refused the request. Nothing was stored by "
        "it. Check that PostgreSQL runs and that DATABASE_URL is right, then try again."
    )


def _started(work: Callable[[], None]) -> Thread:
    thread = Thread(target=work, name="votes", daemon=True)
    thread.start()
    return thread


def _is_damage(error: DatabaseError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", 0)
    return code & 0xFF in DAMAGED or code == sqlite3.SQLITE_IOERR_SHORT_READ


def _sqlite_engines(file: Path) -> tuple[sa.Engine, sa.Engine]:
    if not file.parent.is_dir():
        raise StudyError(f"There is no folder {file.parent} for the votes. Make it first.")
    # Made once, here: a connection that comes later never makes a file in place of a lost one.
    try:
        file.touch()
    except OSError as error:
        raise StoreUnavailable(f"{file} cannot be made: {error.strerror}.") from error
    place = f"file:{quote(str(file))}"
    url = sa.URL.create("sqlite", database=place, query={"mode": "rw", "uri": "true"})
    # isolation_level None: the transactions are begun below, not guessed by the driver.
    arguments: dict[str, Any] = {"check_same_thread": False, "isolation_level": None}
    writer = sa.create_engine(url, poolclass=sa.StaticPool, connect_args=arguments)
    reader = sa.create_engine(url, pool_size=POOL_SIZE, max_overflow=-1, connect_args=arguments)
    event.listen(writer, "connect", _prepare_writer)
    event.listen(reader, "connect", lambda raw, record: _pragmas(raw, query_only="ON"))
    event.listen(writer, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    event.listen(reader, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    try:
        writer.connect().close()
    except OperationalError as error:
        raise unreachable(error) from error
    return writer, reader


def _prepare_writer(connection: sqlite3.Connection, record: object) -> None:
    try:
        _pragmas(connection, synchronous="NORMAL")  # `_sync` does the rest
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        is_empty = not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise StudyError("The votes' file is no SQLite database. Give another file.") from error
    if owner != APPLICATION_ID and not is_empty:
        raise StudyError("The votes' file is another program's database. Give another file.")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StudyError(
            "The votes' file lies on a file system without shared memory, where SQLite is not "
            "safe. Put it on a local disk, or set DATABASE_URL to a PostgreSQL database."
        )


def _pragmas(connection: sqlite3.Connection, **more: str) -> None:
    # Not trusted_schema=OFF: SQLite 3.40 then refuses json_valid in a CHECK.
    always = {"busy_timeout": BUSY_TIMEOUT_MS, "foreign_keys": "ON"}
    for name, value in (always | more).items():
        connection.execute(f"PRAGMA {name} = {value}")


def as_stored(moment: datetime) -> str:
    """A time as columns hold it: ISO 8601, to the millisecond."""
    return moment.isoformat(timespec="milliseconds")
