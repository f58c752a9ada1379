import shutil
import sqlite3

import pytest
from sqlalchemy import inspect, text

from rocm.errors import StudyError
from rocm.study.store import triggers
from rocm.study.store.database import Database, checked_url
from rocm.study.store.migrate import MIGRATIONS, upgrade
from rocm.study.store.store import Store
from rocm.study.store.tables import metadata
from tests.study.small import STUDY, rater, work

LATER = """
revision = "0004"
down_revision = "0003"

def upgrade():
    from alembic import op
    import sqlalchemy as sa
    with op.batch_alter_table("vote") as batch:
        batch.add_column(sa.Column("remark", sa.Text))
    {more}
"""


@pytest.fixture
def later(tmp_path):

    def make(more: str = "pass"):
        folder = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
        (folder / "versions" / "0004_later.py").write_text(LATER.format(more=more))
        return folder

    return make


def plain(value) -> str:
    if isinstance(value, dict):
        return str({name: plain(part) for name, part in value.items()})
    return " ".join(str(value).split())


def described(database: Database) -> dict:
    """Columns, constraints, indices and triggers as the database itself has them."""
    kinds = "columns check_constraints unique_constraints foreign_keys indexes".split()
    triggers_of = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
    if not database.is_sqlite:
        triggers_of = (
            "SELECT tgname, pg_get_triggerdef(oid) || pg_get_functiondef(tgfoid) "
            "FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname"
        )
    with database.read() as connection:
        seen = inspect(connection)
        found = {
            (name, kind): sorted(plain(item) for item in getattr(seen, f"get_{kind}")(name))
            for name in set(seen.get_table_names()) - {"alembic_version"}
            for kind in kinds
        }
        found["triggers"] = [tuple(row) for row in connection.execute(text(triggers_of))]
    return found


def test_an_upgraded_database_is_one_made_at_once(store, empty):
    fresh = Database(empty())
    with fresh.write() as w:
        metadata.create_all(w.connection)
        for statement in triggers.statements(fresh.dialect):
            w.connection.exec_driver_sql(statement)
    assert described(store.database) == described(fresh)
    fresh.close()


def test_an_upgrade_keeps_votes_triggers_and_a_copy(store, study, later):
    work(store, rater(store))
    before = store.votes(STUDY)
    upgrade(store.database, later())
    assert store.votes(STUDY) == before
    names = [name for name, _ in described(store.database)["triggers"]]
    assert names == sorted(guard.name for guard in triggers.guards())
    if store.database.is_sqlite:
        copy = sqlite3.connect(f"{store.database.file}.before-0003")
        assert copy.execute("SELECT count(*) FROM vote").fetchone()[0] == len(before)
        copy.close()
    else:
        with store.database.read() as connection:
            copied = connection.execute(text("SELECT count(*) FROM before_0003.vote")).scalar()
        assert copied == len(before)
    with pytest.raises(StudyError, match="revision 0004, which this version"):
        upgrade(store.database)


def test_an_upgrade_that_fails_changes_nothing(store, study, later):
    was = described(store.database)
    with pytest.raises(ZeroDivisionError):
        upgrade(store.database, later("1 / 0"))
    assert described(store.database) == was


@pytest.mark.parametrize("address", ["mysql://a:secret@b/c", "postgresql://", "a:b"])
def test_an_address_of_another_kind_is_refused_without_being_repeated(address):
    with pytest.raises(StudyError, match="postgresql://USER:PASSWORD@HOST/NAME") as caught:
        checked_url(address)
    assert "secret" not in str(caught.value)


def test_another_programs_database_is_left_alone(tmp_path):
    other, odd = tmp_path / "other.sqlite3", tmp_path / "text"
    sqlite3.connect(other).execute("CREATE TABLE mine (x)").connection.close()
    odd.write_text("no database at all" * 100)
    nowhere, content = tmp_path / "nowhere" / "study.sqlite3", other.read_bytes()
    for file, words in (
        (other, "another program's"), (odd, "no SQLite"), (nowhere, "There is no folder"),
    ):  # fmt: skip
        with pytest.raises(StudyError, match=words):
            Store.open(file)
    assert other.read_bytes() == content
