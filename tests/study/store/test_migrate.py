"""A database is of one revision or the next; an older one is copied first."""

import sqlite3

import pytest
from sqlalchemy import inspect, text

from rocm.errors import StudyError
from rocm.study.design.lifecycle import open_study
from rocm.study.store import triggers
from rocm.study.store.columns import metadata
from rocm.study.store.database import Database, checked_url
from rocm.study.store.migrate import MIGRATIONS, upgrade
from rocm.study.store.store import Store
from scripts.study_schema import schema
from tests.study.small import STUDY, fill, rater, work

LATER = """
revision = "0003"
down_revision = "0002"

def upgrade():
    from alembic import op
    import sqlalchemy as sa
    with op.batch_alter_table("vote") as batch:
        batch.add_column(sa.Column("remark", sa.Text))
    {more}
"""


@pytest.fixture
def later(tmp_path):
    """Makes a folder of revisions with one after ours."""

    def make(more: str = "pass"):
        folder = tmp_path / "migrations"
        versions = folder / "versions"
        versions.mkdir(parents=True)
        for file in (MIGRATIONS / "versions").iterdir():
            if file.is_file():
                (versions / file.name).write_bytes(file.read_bytes())
        (folder / "env.py").write_bytes((MIGRATIONS / "env.py").read_bytes())
        (versions / "0003_later.py").write_text(LATER.format(more=more))
        return folder

    return make


def described(database: Database) -> dict:
    """Columns, constraints, indices and triggers as the database itself has them."""
    found = {}
    with database.read() as connection:
        seen = inspect(connection)
        for name in sorted(set(seen.get_table_names()) - {"alembic_version"}):
            found[name] = {
                "columns": [
                    (c["name"], str(c["type"]), c["nullable"]) for c in seen.get_columns(name)
                ],
                "checks": sorted(
                    (c["name"], " ".join(c["sqltext"].split()))
                    for c in seen.get_check_constraints(name)
                ),
                "unique": sorted(
                    (c["name"], tuple(c["column_names"])) for c in seen.get_unique_constraints(name)
                ),
                "foreign": sorted(
                    (c["name"] or "", tuple(c["constrained_columns"]), c["referred_table"])
                    for c in seen.get_foreign_keys(name)
                ),
                "indices": sorted(
                    (c["name"], tuple(c["column_names"]), bool(c["unique"]))
                    for c in seen.get_indexes(name)
                ),
            }
        if database.is_sqlite:
            rows = connection.execute(
                text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
            )
        else:
            rows = connection.execute(
                text(
                    "SELECT tgname, pg_get_triggerdef(oid) || pg_get_functiondef(tgfoid) "
                    "FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname"
                )
            )
        found["triggers"] = [tuple(row) for row in rows]
    return found


def test_an_upgraded_database_is_one_made_at_once(empty):
    upgraded, fresh = Database(empty()), Database(empty())
    upgrade(upgraded)
    with fresh.write() as w:
        metadata.create_all(w.connection)
        for statement in triggers.statements(fresh.dialect):
            w.connection.exec_driver_sql(statement)
    assert described(upgraded) == described(fresh)
    upgraded.close()
    fresh.close()


@pytest.mark.parametrize("name", ["sqlite", "postgresql"])
def test_the_first_revision_is_the_schema_of_the_code(name):
    file = MIGRATIONS / "versions" / f"0001_{name}.sql"
    assert file.read_text() == schema(name), "Add a revision: docs/study.md says how."


def test_tables_of_sqlite_are_strict(empty, dialect):
    if dialect != "sqlite":
        return
    database = Database(empty())
    upgrade(database)
    with database.read() as connection:
        rows = connection.exec_driver_sql("PRAGMA table_list").mappings().all()
    strict = {row["name"]: row["strict"] for row in rows if row["name"] in metadata.tables}
    assert strict == dict.fromkeys(metadata.tables, 1)
    database.close()


def test_an_upgrade_keeps_votes_triggers_and_a_copy(fresh, later):
    store = Store.open(fresh())
    open_study(store, fill(store))
    work(store, rater(store))
    before = store.votes(STUDY)
    backup = upgrade(store.database, later())
    assert store.votes(STUDY) == before
    names = [name for name, _ in described(store.database)["triggers"]]
    assert names == sorted(guard.name for guard in triggers.guards())
    if store.database.is_sqlite:
        copy = sqlite3.connect(backup)
        assert copy.execute("SELECT count(*) FROM vote").fetchone()[0] == len(before)
        copy.close()
    else:
        with store.database.read() as connection:
            copied = connection.execute(text(f"SELECT count(*) FROM {backup}.vote")).scalar()
        assert copied == len(before)
    with pytest.raises(StudyError, match="revision 0003, which this version"):
        upgrade(store.database)
    store.close()


def test_an_upgrade_that_fails_changes_nothing(fresh, later):
    store = Store.open(fresh())
    fill(store)
    was = described(store.database)
    with pytest.raises(ZeroDivisionError):
        upgrade(store.database, later("1 / 0"))
    assert described(store.database) == was
    store.close()


def test_opening_again_changes_nothing(fresh):
    address = fresh()
    database = Database(address)
    assert upgrade(database) is None
    database.close()


@pytest.mark.parametrize(
    "address", ["mysql://a:secret@b/c", "postgresql://", "sqlite:////x", "a:b"]
)
def test_an_address_of_another_kind_is_refused_without_being_repeated(address):
    with pytest.raises(StudyError) as caught:
        checked_url(address)
    assert "secret" not in str(caught.value)
    assert "postgresql://USER:PASSWORD@HOST/NAME" in str(caught.value)


def test_another_programs_database_is_left_alone(tmp_path):
    file = tmp_path / "other.sqlite3"
    other = sqlite3.connect(file)
    other.execute("CREATE TABLE mine (x)")
    other.close()
    content = file.read_bytes()
    with pytest.raises(StudyError, match="another program's"):
        Store.open(file)
    assert file.read_bytes() == content
    (tmp_path / "text").write_text("no database at all" * 100)
    with pytest.raises(StudyError, match="no SQLite database"):
        Store.open(tmp_path / "text")
    with pytest.raises(StudyError, match="There is no folder"):
        Store.open(tmp_path / "nowhere" / "study.sqlite3")
