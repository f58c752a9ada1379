"""The schema's revisions, in one transaction: an older database is copied first."""

import sqlite3
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from rocm.errors import StudyError
from rocm.study.store import triggers
from rocm.study.store.database import Database
from rocm.study.store.tables import metadata

MIGRATIONS = Path(__file__).with_name("migrations")
LOCK = 0x524F434D


def upgrade(database: Database, migrations: Path = MIGRATIONS) -> None:
    """Bring a database to the newest revision; an older one is kept beside it."""
    revisions = sorted(file.name[:4] for file in (migrations / "versions").glob("[0-9]*.py"))
    with database.read() as connection:
        before = _revision(connection)
    if before == revisions[-1]:
        return
    if before not in (None, *revisions):
        raise StudyError(
            f"The votes' database is of revision {before}, which this version of the program does "
            "not know. Use the program that made it, or a newer one."
        )
    if before and database.is_sqlite:
        _copy(database, before)
    with database.write() as w:
        if not database.is_sqlite:
            w.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
        if _revision(w.connection) == revisions[-1]:  # by another process meanwhile
            return
        if before and not database.is_sqlite:
            _copy_schema(w.connection, before)
        # Made anew each time: rebuilding a table of SQLite drops its triggers without a word.
        with triggers.lifted(w.connection):
            _run_revisions(w.connection, migrations)


def _run_revisions(connection: Connection, migrations: Path) -> None:
    from alembic import command  # a second, which a database that is up to date need not wait
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    stored = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return str(stored) if stored else None


def _copy(database: Database, revision: str) -> None:
    """Copy the SQLite file as it is to NAME.before-REVISION."""
    target = database.file.with_name(f"{database.file.name}.before-{revision}")
    target.unlink(missing_ok=True)
    with database.alone() as source, sqlite3.connect(target) as copy:
        source.backup(copy)
    copy.close()


def _copy_schema(connection: Connection, revision: str) -> None:
    """Copy PostgreSQL's tables to a schema of their own, before_REVISION."""
    name = f"before_{revision}"
    connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {name} CASCADE")
    connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    for table in metadata.sorted_tables:
        exists = text("SELECT to_regclass(:name)").bindparams(name=f"public.{table.name}")
        if connection.execute(exists).scalar():
            connection.exec_driver_sql(f"CREATE TABLE {name}.{table.name} AS TABLE {table.name}")
