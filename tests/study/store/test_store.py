from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from rocm.errors import StudyError, StudyNotOpen, TrialExpired, UnknownRater, UnknownTrial
from rocm.study.design import lifecycle
from rocm.study.store import tables
from rocm.study.store.invitations import invite, invited
from rocm.study.store.queries import hashed
from rocm.study.store.session import Answer, Screen
from tests.study.small import QUESTIONS, STUDY, answers, column, count, fill, rater, work

state = tables.trial.c.state


def begin(store, skip_practice=False):
    """A new rater and their first trial, or their first that is no practice."""
    token = rater(store)
    trial = store.next_step(token).trial
    while skip_practice and trial.is_practice:
        trial = store.submit(token, trial.public_id, answers()).trial
    return token, trial


def main_issued(store) -> list[int]:
    return column(store, tables.pair.c.issued, tables.pair.c.kind == "main")


def test_every_pair_gets_its_votes_and_no_rater_sees_one_twice(store, study):
    tokens = [rater(store) for _ in range(4)]
    assert [work(store, token) for token in tokens] == [5, 5, 5, 5]
    assert main_issued(store) == [2] * 6
    late = rater(store)
    assert store.next_step(late).trial is None
    assert store.current_step(late).num_trials == 0


def test_a_vote_sent_three_times_at_once_is_stored_once(store, study):
    token, trial = begin(store)
    with ThreadPoolExecutor(3) as pool:
        sent = [pool.submit(store.submit, token, trial.public_id, answers()) for _ in range(3)]
        replies = [(one.result().was_saved_before, one.result().num_done) for one in sent]
    assert count(store, tables.vote) == len(QUESTIONS)
    assert sorted(replies) == [(False, 1), (True, 1), (True, 1)]


def test_tabs_that_ask_at_once_get_one_trial(store, study):
    token = rater(store)
    with ThreadPoolExecutor(6) as pool:
        steps = list(pool.map(store.next_step, [token] * 6))
    assert len({step.trial.public_id for step in steps}) == 1
    assert count(store, tables.trial) == 1


def test_raters_at_once_leave_every_pair_with_exactly_its_votes(store):
    lifecycle.open_study(store, fill(store, 12, votes_per_pair=3, main_per_rater=6))
    tokens = [rater(store) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda token: work(store, token), tokens))
    assert main_issued(store) == [3] * 12
    assert count(store, tables.vote) == count(store, tables.trial) * len(QUESTIONS)


def test_a_trial_kept_too_long_goes_to_somebody_else(store, study, clock):
    gone, held = begin(store, skip_practice=True)
    clock.forward(16)
    assert store.expire() == 1
    for token in [rater(store) for _ in range(4)]:
        work(store, token)
    assert main_issued(store) == [2] * 6
    with pytest.raises(TrialExpired, match="another rater"):
        store.submit(gone, held.public_id, answers())


def test_a_late_answer_counts_while_its_place_is_free(store, study, clock):
    token, held = begin(store, skip_practice=True)
    clock.forward(16)
    store.expire()
    assert sum(main_issued(store)) == 0
    step = store.submit(token, held.public_id, answers())
    assert step.trial.public_id != held.public_id
    pair = select(tables.trial.c.pair_id).where(tables.trial.c.public_id == held.public_id)
    assert column(store, tables.pair.c.issued, tables.pair.c.id.in_(pair)) == [1]


def test_who_comes_back_after_the_lease_gets_the_same_trial(store, study, clock):
    token, held = begin(store)
    clock.forward(10)
    store.next_step(token)  # renews the lease
    clock.forward(10)
    assert store.expire() == 0
    clock.forward(500)
    assert store.expire() == 1
    again = store.next_step(token).trial
    assert again.lease_until > held.lease_until
    assert (again.public_id, again.left, again.right) == (held.public_id, held.left, held.right)


def test_a_skip_frees_the_place_and_stores_no_vote(store, study):
    token, trial = begin(store, skip_practice=True)
    votes = count(store, tables.vote)
    assert sum(main_issued(store)) == 1
    step = store.skip(token, trial.public_id)
    assert step.num_done == 2
    assert step.trial.public_id != trial.public_id
    skipped = tables.pair.c.id.in_(select(tables.trial.c.pair_id).where(state == "skipped"))
    assert column(store, tables.pair.c.issued, skipped) == [0]
    assert count(store, tables.vote) == votes
    assert store.skip(token, trial.public_id).was_saved_before
    with pytest.raises(TrialExpired, match="skipped"):
        store.submit(token, trial.public_id, answers())


def test_drop_outs_are_replaced_until_every_pair_has_its_votes(store, study, clock):
    for _ in range(4):
        work(store, rater(store), most=3)
    assert store.next_step(rater(store)).trial is None  # planned for raters at work
    clock.forward(60)
    for _ in range(4):
        work(store, rater(store))
    assert main_issued(store) == [2] * 6
    assert store.next_step(rater(store)).trial is None


def test_a_withdrawn_raters_votes_stay_but_count_no_more(store, study):
    token = rater(store)
    work(store, token)
    stored = count(store, tables.vote)
    store.withdraw(token)
    store.withdraw(token)
    assert (count(store, tables.vote), sum(main_issued(store))) == (stored, 0)
    assert count(store, tables.exclusion, tables.exclusion.c.rule == "withdrawn") == 1
    assert store.current_step(token).status == "withdrawn"
    with pytest.raises(StudyError, match="after leaving"):
        store.next_step(token)
    while sum(main_issued(store)) < 12:
        assert work(store, rater(store)) > 0


def test_a_draft_takes_pilots_only_and_they_take_no_place(store):
    fill(store)
    with pytest.raises(StudyNotOpen, match="not open yet"):
        store.join(STUDY, "link")
    assert work(store, rater(store, "pilot")) == 5
    lifecycle.open_study(store, STUDY)
    assert work(store, rater(store, "pilot")) == 5
    assert main_issued(store) == [0] * 6
    assert work(store, rater(store)) == 5


def test_a_paused_study_takes_open_answers_but_gives_no_trial(store, study):
    token, trial = begin(store)
    lifecycle.pause(store, STUDY)
    for step in (store.submit(token, trial.public_id, answers()), store.next_step(token)):
        assert (step.trial, step.num_done) == (None, 1)
        assert "paused" in step.notice
    lifecycle.resume(store, STUDY)
    assert store.next_step(token).trial


def test_the_same_outside_id_is_the_same_rater(store, study):
    first = store.join(STUDY, "prolific", ext_hmac="a" * 64)
    store.consent(first.token, "1")
    trial = store.next_step(first.token).trial
    again = store.join(STUDY, "prolific", ext_hmac="a" * 64)
    assert (first.is_new, again.is_new) == (True, False)
    assert store.next_step(again.token).trial.public_id == trial.public_id
    with pytest.raises(UnknownRater):
        store.next_step(first.token)
    assert store.join(STUDY, "mturk", ext_hmac="a" * 64).is_new


def test_a_trial_is_its_raters_alone(store, study):
    mine, other = rater(store), rater(store)
    assert not {mine, other} & set(column(store, tables.rater.c.token_sha256))
    trial = store.next_step(mine).trial
    for act in (store.skip, store.shown, lambda *who: store.submit(*who, answers())):
        for token, public_id in ((other, trial.public_id), (mine, "f" * 32)):
            with pytest.raises(UnknownTrial):
                act(token, public_id)
    with pytest.raises(UnknownRater):
        store.next_step("guess")


def test_consent_comes_first_and_in_its_version(store, study):
    token = store.join(STUDY, "link").token
    with pytest.raises(StudyError, match="consent first"):
        store.next_step(token)
    with pytest.raises(StudyError, match="version 1"):
        store.consent(token, "0")
    store.consent(token, "1")
    assert store.next_step(token).trial


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"overall": None}, "appeal, overall, alignment"),
        ({"beauty": Answer("left", 1)}, "appeal, overall, alignment"),
        ({"appeal": Answer("up", 1)}, "left, right, tie"),
        ({"alignment": Answer("tie", 1)}, "left, right"),
        ({"overall": Answer("left", -1)}, "rt_ms"),
        ({"overall": Answer("left", 1, "both_bad")}, "with a tie"),
        ({"overall": Answer("tie", 1, "dull")}, "both_good or both_bad"),
        ({"screen": Screen(390, 0, 180)}, "1 to 100000 pixels"),
    ],
)
def test_a_wrong_answer_is_refused_and_the_trial_stays_open(store, study, changed, words):
    token, trial = begin(store)
    given = {key: answer for key, answer in (answers() | changed).items() if answer}
    screen = given.pop("screen", None)
    with pytest.raises(StudyError, match=words):
        store.submit(token, trial.public_id, given, screen)
    assert count(store, tables.vote) == 0
    assert store.next_step(token).trial.public_id == trial.public_id


def test_pictures_to_come_are_those_of_the_next_trial(store, study):
    token = rater(store)
    step = store.next_step(token)
    for _ in range(4):
        coming = step.upcoming
        step = store.submit(token, step.trial.public_id, answers())
        assert coming == tuple(sorted([step.trial.left, step.trial.right]))
    assert step.upcoming == ()


def test_added_raters_get_work_and_pairs_get_places(store, study):
    for _ in range(4):
        work(store, rater(store))
    assert lifecycle.add_raters(store, STUDY, 2) == 6
    assert [work(store, rater(store)) for _ in range(2)] == [5, 5]
    assert main_issued(store) == [3] * 6


def test_a_demo_takes_no_real_raters(store):
    lifecycle.open_study(store, fill(store, settings={"is_demo": True}))
    with pytest.raises(StudyError, match="demo, pilot, simulated"):
        store.join(STUDY, "prolific")
    with pytest.raises(StudyError, match="a demonstration"):
        invite(store, STUDY, 1)
    assert work(store, rater(store, "demo")) == 5


def test_invitations_add_up_and_are_kept_as_hashes(store, study):
    codes = [*invite(store, study, 2), *invite(store, study, 1)]
    assert invited(store, study) == {hashed(code) for code in codes}
    kept = str(column(store, tables.event.c.data_json))
    assert not [code for code in codes if code in kept]
    for num in (0, 1001):
        with pytest.raises(StudyError, match="give 1 to 1000"):
            invite(store, study, num)
    lifecycle.close(store, study)
    with pytest.raises(StudyError, match="The study is closed"):
        invite(store, study, 1)
