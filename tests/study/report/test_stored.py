"""A stored study's report says what its votes say."""

import json
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from rocm.errors import StudyError
from rocm.study.archive.export import is_analyzed
from rocm.study.design import lifecycle
from rocm.study.report.effects import num_flagged
from rocm.study.report.stored import study_report
from rocm.study.store.rows import failed_checks
from rocm.study.store.session import Answer
from rocm.study.store.tables import arm, image
from tests.study.small import QUESTIONS, STUDY, fill, rater


def answer_all(store, token, choose):
    """Answer every pair: `choose(prompt text)` gives the wanted arm or `tie`."""
    while (trial := store.next_step(token).trial) is not None:
        left = left_arm(store, trial)
        wanted = choose(trial.prompt)
        side = "tie" if wanted == "tie" else "left" if wanted == left else "right"
        given = {
            one["key"]: Answer(side if side != "tie" or one["allow_tie"] else "left", 1200)
            for one in QUESTIONS
        }
        store.submit(token, trial.public_id, given)


def left_arm(store, trial):
    named = select(arm.c.name).join(image, image.c.arm_id == arm.c.id)
    with store.database.read() as connection:
        return connection.execute(named.where(image.c.picture_id == trial.left)).scalar()


def test_the_report_counts_wins_of_the_compared_arms_by_name(store, study):
    while (token := rater_with_work(store)) is not None:
        answer_all(store, token, lambda prompt: "tie" if prompt == "p2" else "rocm")
    lifecycle.close(store, study)
    found = json.loads(study_report(store, study).to_json())
    (overall,) = [one for one in found["results"]["outcomes"] if one["question"] == "overall"]
    assert overall["comparison"] == "rocm:rlcm"
    assert (overall["wins"], overall["ties"], overall["losses"]) == (10, 2, 0)
    assert found["study"]["questions"][0] == "overall"
    assert found["results"]["agreement"]


def rater_with_work(store):
    token = rater(store)
    return token if store.next_step(token).trial else None


def test_an_open_study_and_votes_of_a_pilot_are_never_reported(store, study):
    answer_all(store, rater(store, "pilot"), lambda prompt: "rocm")
    with pytest.raises(StudyError, match="no votes to report"):
        study_report(store, study)
    answer_all(store, rater(store), lambda prompt: "rocm")
    with pytest.raises(StudyError, match="closed"):
        study_report(store, study)


def outcome_of(found, name):
    (one,) = [one for one in found["results"][name] if one["question"] == "overall"]
    return one


def test_who_fails_the_checks_is_left_out_of_results_and_exports_and_is_counted(store):
    lifecycle.open_study(store, fill(store, settings={"min_check_share": 0.5}))
    careless = {"p1": "scrambled"}  # p1 is the check
    answer_all(store, rater(store), lambda prompt: careless.get(prompt, "rlcm"))
    while (token := rater_with_work(store)) is not None:
        answer_all(store, token, lambda prompt: "rocm")
    lifecycle.close(store, STUDY)
    votes = store.votes(STUDY)
    assert {one.rules for one in votes if one.rater == 1} == {"checks"}
    assert {one.rules for one in votes if one.rater != 1} == {""}
    assert not [one for one in votes if is_analyzed(one) and one.rater == 1]
    report = study_report(store, STUDY)
    found = json.loads(report.to_json())
    kept, every = (outcome_of(found, name) for name in ("outcomes", "outcomes_of_all"))
    assert (kept["wins"], kept["losses"]) == (9, 0)
    assert (every["wins"], every["losses"]) == (9, 3)
    assert (found["results"]["num_raters_excluded"], found["results"]["num_raters"]) == (1, 4)
    assert "exclude 1 of 4 raters" in report.to_markdown()


def test_votes_that_were_taken_back_are_in_no_figure(store, study):
    regretful = rater(store)
    answer_all(store, regretful, lambda prompt: "rlcm")
    store.withdraw(regretful)
    while (token := rater_with_work(store)) is not None:
        answer_all(store, token, lambda prompt: "rocm")
    lifecycle.close(store, study)
    found = json.loads(study_report(store, study).to_json())
    every = outcome_of(found, "outcomes_of_all")
    assert (every["wins"], every["losses"]) == (12, 0)
    assert 1 not in [one["rater"] for one in found["results"]["raters"]]
    assert found["study"]["num_withdrawn"] == 1
    assert {one.rules for one in store.votes(study) if one.rater == 1} == {"withdrawn"}


def test_the_time_below_which_answers_are_fast_is_the_manifests(store):
    lifecycle.open_study(store, fill(store, settings={"min_median_ms": 1300}))
    answer_all(store, rater(store), lambda prompt: "rocm")  # each answer took 1200 ms
    assert num_flagged(store, STUDY) == 1
    lifecycle.close(store, STUDY)
    assert "less than 1.3 s" in study_report(store, STUDY).to_markdown()


@pytest.mark.parametrize(
    ("choices", "is_failed"), [("ab", False), ("abb", True), (["tie"], True), ("", False)]
)
def test_half_of_the_checks_is_enough_and_a_tie_is_not_right(choices, is_failed):
    found = [
        SimpleNamespace(kind="check", question="overall", rater=4, choice=one, expected="a")
        for one in choices
    ]
    others = [SimpleNamespace(kind="check", question="appeal", rater=4, choice="b", expected="a")]
    assert failed_checks(found + others, "overall", 0.5) == ({4} if is_failed else set())
