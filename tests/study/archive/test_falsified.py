"""Whoever can write into the database cannot change a result without `study verify` noticing."""

import json
import shutil
import sqlite3
from hashlib import sha256
from pathlib import Path

import pytest

from rocm.study.archive.verify import verify
from rocm.study.design import lifecycle
from rocm.study.design.manifest import canonical
from rocm.study.report.results import verdict
from rocm.study.store.database import Database
from rocm.study.store.erase import erase
from rocm.study.store.pictures import Pictures
from rocm.study.store.restore import restore
from rocm.study.store.store import Store
from tests.study.small import STUDY, fill, rater, work

TURNED = "CASE choice WHEN 'a' THEN 'b' ELSE 'a' END"
OTHER = "CASE raw_side WHEN 'left' THEN 'right' ELSE 'left' END"
LAST_TRIAL = "(SELECT max(trial_id) FROM vote)"
PLACE = "UPDATE pair SET issued = issued - 1 WHERE id IN (SELECT pair_id FROM trial WHERE {}) "
PLACE += "AND kind = 'main'"
GONE = "DELETE FROM vote WHERE trial_id IN (SELECT id FROM trial WHERE rater_id = {0});"
GONE += PLACE.format("rater_id = {0}") + ";DELETE FROM trial WHERE rater_id = {0};"
GONE += "UPDATE block SET rater_id = NULL, taken_at = NULL WHERE rater_id = {0};"
GONE += "DELETE FROM rater WHERE id = {0}"
SIDES = "UPDATE {} SET left_is = CASE left_is WHEN 'a' THEN 'b' ELSE 'a' END"
FALSIFIED = {
    "turned to another arm": f"UPDATE vote SET choice = {TURNED}, raw_side = {OTHER} WHERE id = 4",
    "turned without its side": f"UPDATE vote SET choice = {TURNED} WHERE id = 4",
    "turned sides": f"{SIDES.format('slot')};{SIDES.format('trial')};"
    f"UPDATE vote SET choice = {TURNED}",
    "a side that was not planned": f"{SIDES.format('trial')} WHERE id = 2",
    "time of a vote": "UPDATE vote SET created_at = '2026-01-01T09:00:00.000+00:00' WHERE id = 4",
    "time of showing": "UPDATE trial SET shown_at = '2026-01-01T09:00:00.000+00:00' WHERE id = 2",
    "time to answer": "UPDATE vote SET rt_ms = 9000 WHERE id = 4",
    "a deleted rater": GONE.format(3),
    "a rater said to be erased": GONE.format(1)
    + ";INSERT INTO event (study_id, at, kind, data_json) SELECT study_id, at, 'erased', "
    """'{"rater": 1, "votes": 15}' FROM event WHERE kind = 'opened'""",
    "a rater without votes": "DELETE FROM rater WHERE id = 1",
    "a missing trigger": "DROP TRIGGER vote_no_update",
    "a weak trigger": "DROP TRIGGER vote_no_update; CREATE TRIGGER vote_no_update BEFORE UPDATE ON "
    "vote WHEN 1 = 0 BEGIN SELECT RAISE(ABORT, 'votes are append-only'); END",
    "a foreign trigger": "CREATE TRIGGER helper AFTER INSERT ON rater BEGIN DELETE FROM payment; "
    "END",
    "a deleted answer": "UPDATE trial SET state = 'skipped', done_at = NULL WHERE id = 2;"
    + PLACE.format("id = 2")
    + ";DELETE FROM vote WHERE trial_id = 2",
    "the newest answers deleted": PLACE.format(f"id = {LAST_TRIAL}")
    + f";UPDATE trial SET state = 'skipped', done_at = NULL WHERE id = {LAST_TRIAL};"
    f"DELETE FROM vote WHERE trial_id = {LAST_TRIAL}",
    "an answer added": "UPDATE trial SET state = 'done', done_at = issued_at WHERE id = 999;"
    "INSERT INTO vote (study_id, trial_id, question_key, choice, raw_side, rt_ms, created_at, "
    "previous) SELECT study_id, 999, question_key, choice, raw_side, rt_ms, created_at, previous "
    "FROM vote WHERE trial_id = 2",
    "an answer repeated": "UPDATE vote SET choice = (SELECT choice FROM vote WHERE id = 1), "
    "rt_ms = 7, previous = (SELECT previous FROM vote WHERE id = 1) WHERE id = 4",
    "answers in another order": "UPDATE vote SET id = 1000 WHERE id = 4; UPDATE vote SET id = 4 "
    "WHERE id = 7; UPDATE vote SET id = 7 WHERE id = 1000",
    "another rater": "UPDATE trial SET rater_id = -rater_id WHERE rater_id IN (1, 3);"
    "UPDATE trial SET rater_id = 4 + rater_id WHERE rater_id < 0;"
    "UPDATE block SET rater_id = -rater_id WHERE rater_id IN (1, 3);"
    "UPDATE block SET rater_id = 4 + rater_id WHERE rater_id < 0",
    "a way in": "UPDATE rater SET source = 'pilot' WHERE id = 1;" + PLACE.format("rater_id = 1"),
    "a consent": "UPDATE rater SET consented_at = '2026-01-01T09:00:00.000+00:00' WHERE id = 1",
    "answers to another question": "UPDATE vote SET question_key = 'x' WHERE id = 4;"
    "UPDATE vote SET question_key = 'appeal' WHERE id = 5;"
    "UPDATE vote SET question_key = 'overall' WHERE id = 4",
    "another pair": "UPDATE slot SET pair_id = -pair_id WHERE block_id = 1 AND position = 1;"
    "UPDATE trial SET pair_id = -pair_id WHERE id = 2",
    "an exclusion taken back": "DELETE FROM exclusion",
    "an exclusion of a rater who stayed": "INSERT INTO exclusion (study_id, rater_id, rule, "
    "created_at) SELECT study_id, 1, rule, created_at FROM exclusion",
    "an exclusion of a trial": "INSERT INTO exclusion (study_id, trial_id, rule, created_at) "
    "SELECT study_id, 2, 'checks', created_at FROM exclusion",
    "a rater who withdrew as if not": "DELETE FROM exclusion; UPDATE rater SET status = 'active'",
    "a setting": "UPDATE study SET votes_per_pair = 9",
    "the state": "UPDATE study SET status = 'open', closed_at = NULL",
    "the end": "UPDATE study SET closed_at = '2027-01-01T09:00:00.000+00:00'",
    "the text of a question": "UPDATE question SET text = 'Which is worse?'",
    "the chain's end": "UPDATE chain SET num_votes = num_votes + 1",
    "no chain": "DELETE FROM chain",
}


@pytest.fixture(scope="module")
def intact(tmp_path_factory) -> Path:
    """A closed study: three raters voted, of whom the second has withdrawn."""
    file = tmp_path_factory.mktemp("intact") / "study.sqlite3"
    store = Store.open(file)
    lifecycle.open_study(store, fill(store))
    work(store, rater(store))
    second = rater(store)
    work(store, second)
    store.withdraw(second)
    work(store, rater(store))
    lifecycle.close(store, STUDY)
    store.close()
    return file


@pytest.fixture
def file(intact, tmp_path) -> Path:
    return Path(shutil.copy(intact, tmp_path / "study.sqlite3"))


def without_guards(file: Path, statements: str) -> None:
    """Write as a stranger with the file does, and leave the triggers as they were."""
    connection = sqlite3.connect(file)
    made = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
    ).fetchall()
    triggers = [] if "TRIGGER" in statements else made
    drops = "".join(f"DROP TRIGGER {name};" for name, _ in triggers)
    again = "".join(f"{sql};" for _, sql in triggers)
    connection.executescript(f"{drops}{statements};{again}")
    connection.close()


def faults(file: Path) -> list[str]:
    store = Store.open(file)
    found = verify(store, Pictures(file.parent), STUDY)
    store.close()
    return [line for line in found if not line.startswith("Picture")]


@pytest.mark.parametrize("what", FALSIFIED)
def test_every_falsification_is_found(what, file):
    assert faults(file) == []
    without_guards(file, FALSIFIED[what])
    assert faults(file) != []


def test_a_manifest_changed_with_its_hash_is_found(file):
    connection = sqlite3.connect(file)
    manifest = json.loads(connection.execute("SELECT config_json FROM study").fetchone()[0])
    connection.close()
    text = canonical(manifest | {"min_check_share": 0.9})
    digest = sha256(text.encode()).hexdigest()
    change = f"UPDATE study SET config_json = '{text}', config_sha256 = '{digest}'"
    without_guards(file, change)
    assert faults(file) != []


def test_an_erased_rater_leaves_a_chain_that_holds(file):
    for number in (3, 1):
        store = Store.open(file)
        erase(store, STUDY, number)
        store.close()
        assert faults(file) == []
    without_guards(file, "DELETE FROM event WHERE kind = 'erased'")
    assert faults(file) != []


def test_votes_from_before_the_chain_are_chained_once_and_marked(file):
    old = "DROP TRIGGER chain_grows; DROP TRIGGER chain_no_delete; DROP TRIGGER event_no_delete;"
    old += "ALTER TABLE vote DROP COLUMN previous; DROP TABLE chain;"
    old += "DELETE FROM event WHERE kind = 'withdrew';"
    old += "UPDATE alembic_version SET version_num = '0002'"
    without_guards(file, old)
    assert faults(file) == []
    database = Database(file)
    with database.read() as connection:
        told = connection.exec_driver_sql("SELECT data_json FROM event WHERE kind = 'chained'")
        assert [json.loads(one)["votes"] for one in told.scalars()] == [45]
    database.close()
    store = Store.open(file)
    assert ": 45" in verdict(store, STUDY, [])
    store.close()
    without_guards(file, FALSIFIED["turned to another arm"])
    assert faults(file) != []


def test_a_backup_from_before_the_chain_is_restored_and_chained(file, tmp_path):
    store = Store.open(file)
    with store.database.read() as connection:
        votes = connection.exec_driver_sql("SELECT * FROM vote WHERE id > 30").mappings().all()
    store.close()
    change = "DELETE FROM vote WHERE id > 30; UPDATE vote SET previous = NULL; DELETE FROM chain"
    without_guards(file, change)
    (bucket := tmp_path / "bucket").mkdir()
    shutil.copy(file, bucket / "snapshot-000001.sqlite3")
    lines = [[["vote", {k: v for k, v in row.items() if k != "previous"}]] for row in votes]
    journal = "".join(json.dumps(line) + "\n" for line in lines)
    (bucket / "journal-000001.jsonl").write_text(journal)
    file.unlink()
    assert restore(file, bucket) == len(votes) == 15
    assert faults(file) == []
