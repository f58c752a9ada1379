"""A stored study's report says what its votes say."""

import json

import pytest
from sqlalchemy import select

from rocm.errors import StudyError
from rocm.study import lifecycle
from rocm.study.findings import study_report
from rocm.study.tables import arm, image
from rocm.study.visit import Answer
from tests.study.small import QUESTIONS, rater


def answer_all(store, token, choose):
    """Answer every pair: `choose(prompt text)` gives the wanted arm or `tie`."""
    while (trial := store.claim(token)) is not None:
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
    return token if store.claim(token) else None


def test_results_are_hidden_while_the_study_is_open(store, study):
    answer_all(store, rater(store), lambda prompt: "rocm")
    with pytest.raises(StudyError, match="closed"):
        study_report(store, study)


def test_votes_of_a_pilot_are_never_reported(store, study):
    answer_all(store, rater(store, "pilot"), lambda prompt: "rocm")
    lifecycle.close(store, study)
    with pytest.raises(StudyError, match="no votes to report"):
        study_report(store, study)
