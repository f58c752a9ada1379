import json
from types import SimpleNamespace

import numpy as np
import pytest
from sqlalchemy import select

from rocm.errors import StudyError
from rocm.study.archive.export import is_analyzed
from rocm.study.design import lifecycle
from rocm.study.report.stored import study_report, watched_raters
from rocm.study.store.rows import failed_checks
from rocm.study.store.session import Answer
from rocm.study.store.simulated_raters import (
    Tasters,
    crowd_of_score,
    shown_pictures,
    simulate_raters,
)
from rocm.study.store.tables import arm, image
from tests.study.small import STUDY, answers, fill, rater


def answer_all(store, token, choose):
    """Answer every pair: `choose(prompt text)` gives the wanted arm or `tie`."""
    named = select(arm.c.name).join(image, image.c.arm_id == arm.c.id)
    while (trial := store.next_step(token).trial) is not None:
        wanted = choose(trial.prompt)
        with store.database.read() as connection:
            left = connection.execute(named.where(image.c.picture_id == trial.left)).scalar()
        given = answers("left" if wanted == left else "right")
        if wanted == "tie":
            given |= {"appeal": Answer("tie", 1200), "overall": Answer("tie", 1200)}
        store.submit(token, trial.public_id, given)


def finish(store, choose):
    """Answer whatever is left, by new raters; what the report of the closed study says."""
    while store.next_step(token := rater(store)).trial:
        answer_all(store, token, choose)
    lifecycle.close(store, STUDY)
    return json.loads(study_report(store, STUDY).to_json())


def outcome_of(found, name):
    (one,) = [one for one in found["results"][name] if one["question"] == "overall"]
    return one


def test_the_report_counts_wins_of_the_compared_arms_by_name(store, study):
    found = finish(store, lambda prompt: "tie" if prompt == "p2" else "rocm")
    overall = outcome_of(found, "outcomes")
    figures = [overall[name] for name in ("comparison", "wins", "ties", "losses")]
    assert figures == ["rocm:rlcm", 10, 2, 0]
    assert found["study"]["questions"][0] == "overall"


def test_an_open_study_and_votes_of_a_pilot_are_never_reported(store, study):
    answer_all(store, rater(store, "pilot"), lambda prompt: "rocm")
    with pytest.raises(StudyError, match="no votes to report"):
        study_report(store, study)
    answer_all(store, rater(store), lambda prompt: "rocm")
    with pytest.raises(StudyError, match="closed"):
        study_report(store, study)


def test_who_fails_the_checks_is_left_out_of_results_and_exports_and_is_counted(store):
    lifecycle.open_study(store, fill(store, settings={"min_check_share": 0.5}))
    careless = {"p1": "scrambled"}  # p1 is the check
    answer_all(store, rater(store), lambda prompt: careless.get(prompt, "rlcm"))
    found = finish(store, lambda prompt: "rocm")
    for one in store.votes(STUDY):
        assert one.rules == ("checks" if one.rater == 1 else "")
        assert not (is_analyzed(one) and one.rater == 1)
    kept, every = (outcome_of(found, name) for name in ("outcomes", "outcomes_of_all"))
    assert (kept["wins"], kept["losses"]) == (9, 0)
    assert (every["wins"], every["losses"]) == (9, 3)
    assert (found["results"]["num_raters_excluded"], found["results"]["num_raters"]) == (1, 4)
    assert watched_raters(store, STUDY)[1] == 1


def test_votes_that_were_taken_back_are_in_no_figure(store, study):
    regretful = rater(store)
    answer_all(store, regretful, lambda prompt: "rlcm")
    store.withdraw(regretful)
    found = finish(store, lambda prompt: "rocm")
    every = outcome_of(found, "outcomes_of_all")
    assert (every["wins"], every["losses"]) == (12, 0)
    assert 1 not in [one["rater"] for one in found["results"]["raters"]]
    assert found["study"]["num_withdrawn"] == 1
    assert {one.rules for one in store.votes(study) if one.rater == 1} == {"withdrawn"}


def test_the_time_below_which_answers_are_fast_is_the_manifests(store):
    lifecycle.open_study(store, fill(store, settings={"min_median_ms": 1300}))
    answer_all(store, rater(store), lambda prompt: "rocm")  # each answer took 1200 ms
    assert watched_raters(store, STUDY) == (1, 0)


@pytest.mark.parametrize(
    ("choices", "is_failed"), [("ab", False), ("abb", True), (["tie"], True), ("", False)]
)
def test_half_of_the_checks_is_enough_and_a_tie_is_not_right(choices, is_failed):
    votes = [
        SimpleNamespace(kind="check", question=question, rater=4, choice=choice, expected="a")
        for question, choice in [("appeal", "b"), *(("overall", choice) for choice in choices)]
    ]
    assert failed_checks(votes, "overall", 0.5) == ({4} if is_failed else set())


def test_where_a_person_takes_part_simulated_votes_are_refused(store, study):
    rater(store)
    with pytest.raises(StudyError, match="1 people take part"):
        simulate_raters(store, study, 1, crowd_of_score(store, study, 0.6))


def test_raters_who_vote_by_taste_choose_the_picture_that_they_like(store, study):
    places = crowd_of_score(store, study, 0.6).places
    assert set(shown_pictures(store, study)) == set(places)
    first = min(place for place in places.values() if place is not None)
    liked = {name: 9.0 if place == first else -9.0 for name, place in places.items()}
    utilities = {name: np.full(50, utility) for name, utility in liked.items()}
    simulate_raters(store, study, 50, Tasters(utilities, 0.25, np.random.default_rng(0)))
    main = [vote for vote in store.votes(study) if vote.kind == "main"]
    assert len(main) == 6 * 2 * 3  # pairs, votes, questions: every planned vote and no other
    assert {(vote.choice, vote.source) for vote in main} == {("a", "simulated")}
