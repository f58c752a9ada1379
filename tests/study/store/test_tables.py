import re
from types import SimpleNamespace

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DataError, IntegrityError

from rocm.study.design import lifecycle
from rocm.study.store import tables
from rocm.study.store.store import Store
from rocm.study.store.tables import metadata
from tests.study.small import STUDY, answers, column, fill, rater, work

REFUSED = (IntegrityError, DataError)
PLANNED = ("position", "pair_id", "rep", "left_is")


@pytest.fixture(scope="module")
def voted(fresh):
    """Of three raters one has answered everything, one holds an open trial, one has withdrawn.

    Shared: what these tests try is refused and leaves nothing.
    """
    store = Store.open(fresh())
    lifecycle.open_study(store, fill(store))
    work(store, rater(store))
    store.next_step(rater(store))
    store.withdraw(rater(store))
    yield store
    store.close()


def row_of(store, table, **where) -> dict:
    conditions = [table.c[name] == value for name, value in where.items()]
    with store.database.read() as connection:
        statement = select(table).where(*conditions).order_by(*table.primary_key).limit(1)
        return dict(connection.execute(statement).one()._mapping)


def of_row(store, name, action, **where):
    """An `update` or `delete` of one row of a table."""
    table = metadata.tables[name]
    row = row_of(store, table, **where)
    key = [column == row[column.name] for column in table.primary_key]
    return getattr(table, action)().where(*key)


def refusal(store, statement) -> str:
    """What the database says; fails if it takes the statement."""
    with pytest.raises(REFUSED) as caught, store.database.write() as w:
        w.execute(statement)
    return str(caught.value.orig)


BAD_ROWS = [
    ("study", {"id": "ffffffffffff", "status": "begun"}, "ck_study_status_known"),
    ("study", {"id": "ffffffffffff", "config_sha256": None}, "ck_study_frozen_has_hash"),
    ("study", {"id": "ffffffffffff", "closed_at": "2026"}, "ck_study_closed_is_dated"),
    ("rater", {"number": 1, "token_sha256": "a" * 64}, "study_id.*number"),
    ("rater", {"number": 9, "token_sha256": "secret"}, "ck_rater_token_sha256_is_hex"),
    ("rater", {"number": 9, "token_sha256": "a" * 64, "source": "spam"}, "ck_rater_source_known"),
    ("block", {"number": 99, "rater_id": None}, "ck_block_taken_is_dated"),
    ("slot", {"position": 99, "rep": 1}, "block_id.*pair_id.*left_is"),
    ("trial", {"public_id": "f" * 32, "position": 99, "rep": 1, "state": "expired"}, "FOREIGN|fk_"),
    ("vote", {}, "trial_id.*question_key"),
    ("vote", {"tie_reason": "both_bad"}, "ck_vote_reason_needs_tie"),
    ("vote", {"raw_side": "right"}, "the choice is not what the side says"),
    ("exclusion", {"rater_id": None}, "ck_exclusion_excludes_one_thing"),
    ("pair", {}, "the study is frozen"),
    ("image", {"picture_id": "f" * 32}, "the study is frozen"),
    ("prompt", {"text": "another"}, "the study is frozen"),
    ("arm", {"code": "f" * 8}, "the study is frozen"),
    ("question", {"key": "new", "position": 9}, "the study is frozen"),
]


@pytest.mark.parametrize(
    ("name", "change", "words"), BAD_ROWS, ids=[f"{r[0]}-{r[2]}" for r in BAD_ROWS]
)
def test_a_bad_row_is_refused(voted, name, change, words):
    table = metadata.tables[name]
    good = row_of(voted, table, **({"state": "issued"} if name == "trial" else {}))
    if "id" in good and name != "study":
        del good["id"]
    assert re.search(words, refusal(voted, table.insert().values(**(good | change))))


BAD_DRAFTS = [
    ("pair", {"seed": 8}, "FOREIGN KEY|fk_pair"),
    ("pair", {"prompt_id": 4}, "FOREIGN KEY|fk_pair"),
    ("pair", {"kind": "check"}, "ck_pair_check_has_answer|ck_pair_main_has_target"),
    ("pair", {"target": 0}, "ck_pair_target_positive|ck_pair_issued_within_target"),
    ("pair", {"issued": 3}, "ck_pair_issued_within_target"),
    ("pair", {"struck": ""}, "ck_pair_struck_has_reason"),
    ("pair", {"arm_a": 2, "arm_b": 1}, "ck_pair_arms_ordered|FOREIGN KEY|fk_pair"),
    ("image", {"picture_id": "../etc/passwd"}, "ck_image_picture_id_is_hex"),
    ("image", {"seed": -1}, "ck_image_seed_not_negative|FOREIGN KEY|fk_pair"),
    ("question", {"allow_tie": 2}, "ck_question_allow_tie_is_flag"),
]


@pytest.mark.parametrize(("name", "change", "words"), BAD_DRAFTS)
def test_a_bad_draft_is_refused(store, name, change, words):
    fill(store)
    where = {"kind": "main"} if name == "pair" else {}
    assert re.search(words, refusal(store, of_row(store, name, "update", **where).values(**change)))


BAD_CHANGES = [
    ("vote", {}, {"rt_ms": 1}, "append-only"),
    ("event", {}, {"kind": "closed"}, "append-only"),
    ("study", {}, {"config_json": "{}"}, "the study is frozen"),
    ("study", {}, {"votes_per_pair": 9}, "the study is frozen"),
    ("question", {}, {"text": "Another?"}, "the study is frozen"),
    ("prompt", {}, {"text": "another"}, "the study is frozen"),
    ("image", {}, {"sha256": "1" * 64}, "the study is frozen"),
    ("pair", {}, {"struck": "ugly"}, "the study is frozen"),
    ("arm", {}, {"reward": "hpsv2"}, "the study is frozen"),
    ("study", {"status": "open"}, {"status": "draft"}, "does not go that way|_known"),
    ("rater", {"status": "complete"}, {"status": "active"}, "does not go that way"),
    ("trial", {"state": "done"}, {"state": "issued"}, "does not go that way"),
    ("trial", {"state": "issued"}, {"state": "begun"}, "does not go that way|_known"),
    ("trial", {"left_is": "a"}, {"left_is": "b"}, "a trial keeps what it shows"),
]


@pytest.mark.parametrize(("name", "where", "change", "words"), BAD_CHANGES)
def test_a_bad_change_is_refused(voted, name, where, change, words):
    assert re.search(words, refusal(voted, of_row(voted, name, "update", **where).values(**change)))


@pytest.mark.parametrize("name", "vote event prompt image pair arm".split())
def test_what_is_stored_stays(voted, name):
    words = refusal(voted, of_row(voted, name, "delete"))
    assert re.search("append-only|the study is frozen", words)


def test_the_key_of_a_traveled_study_is_filled_in_once(store, study):
    this = tables.arm.c.id == row_of(store, tables.arm)["id"]
    fields = ("name", "method", "reward", "base_model", "adapter_sha256", "params_json")
    assert "frozen" in refusal(store, tables.arm.update().where(this).values(name="other"))
    with store.database.write() as w:
        w.update(tables.arm, this, adapter_sha256="a" * 64)
    for name in fields:
        value = "b" * 64 if name == "adapter_sha256" else "7"
        assert "frozen" in refusal(store, tables.arm.update().where(this).values({name: value}))


def test_a_closed_study_stays_closed(store, study):
    lifecycle.close(store, study)
    back = tables.study.update().values(status="open", closed_at=None)
    assert "does not go that way" in refusal(store, back)


def test_a_second_open_trial_of_a_rater_is_refused(voted):
    row = row_of(voted, tables.trial, state="issued")
    slot = row_of(voted, tables.slot, block_id=row["block_id"], position=row["position"] + 1)
    del row["id"]
    second = row | {name: slot[name] for name in PLANNED} | {"public_id": "f" * 32}
    words = refusal(voted, tables.trial.insert().values(**second))
    assert re.search("trial.rater_id|uq_trial_one_open_per_rater", words)


def test_a_trial_without_consent_is_refused(store, study):
    store.join(STUDY, "link")
    mine = row_of(store, tables.rater)["id"]
    with store.database.write() as w:
        taken = w.update(tables.block, tables.block.c.number == 1, rater_id=mine, taken_at="")
    slot = row_of(store, tables.slot, block_id=taken[0].id, position=0)
    trial = tables.trial.insert().values(
        **{name: slot[name] for name in ("block_id", *PLANNED)}, public_id="f" * 32,
        study_id=STUDY, rater_id=mine, state="issued", issued_at="", lease_until="",
    )  # fmt: skip
    assert "has not consented" in refusal(store, trial)


def test_a_vote_on_an_open_trial_is_refused(voted):
    good = row_of(voted, tables.vote)
    open_trial = row_of(voted, tables.trial, state="issued")
    del good["id"]
    good |= {"trial_id": open_trial["id"], "raw_side": "tie", "choice": "tie"}
    assert "the trial is not done" in refusal(voted, tables.vote.insert().values(**good))


def test_a_tie_is_refused_where_the_question_allows_none(store, study):
    store.next_step(rater(store))
    this = row_of(store, tables.trial)["id"]
    with store.database.write() as w:
        w.update(tables.trial, tables.trial.c.id == this, state="done", done_at="2026")
    vote = tables.vote.insert().values(
        study_id=STUDY, trial_id=this, question_key="alignment", choice="tie", raw_side="tie",
        rt_ms=1, created_at="2026",
    )  # fmt: skip
    assert "the question allows no tie" in refusal(store, vote)


def test_a_struck_pair_is_in_no_plan(store):
    fill(store)
    pair = row_of(store, tables.pair, kind="main")["id"]
    lifecycle.strike(store, STUDY, pair, "watermark")
    lifecycle.open_study(store, STUDY)
    assert pair not in column(store, tables.slot.c.pair_id)
    slot = row_of(store, tables.slot) | {"position": 99, "pair_id": pair}
    assert "the pair was struck" in refusal(store, tables.slot.insert().values(**slot))


def test_a_vote_is_whole_or_absent(store, study, monkeypatch):
    token = rater(store)
    trial = store.next_step(token).trial.public_id
    wrong = {key: SimpleNamespace(side="left", rt_ms=1, tie_reason="dull") for key in answers()}
    with monkeypatch.context() as patch:
        patch.setattr("rocm.study.store.session._checked_answer", lambda question, answer: answer)
        with pytest.raises(IntegrityError):
            store.submit(token, trial, wrong)
    assert row_of(store, tables.trial)["state"] == "issued"
    assert store.submit(token, trial, answers()).num_done == 1
