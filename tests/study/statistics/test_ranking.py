from math import log, sqrt

import numpy as np
import pytest

from rocm.study.statistics.ranking import Games, bradley_terry, davidson, is_separable, rank
from rocm.study.statistics.simulate import Design, Utility, simulate
from rocm.study.statistics.votes import Votes


def games(*rows):
    table = np.array(rows, dtype=float)
    return Games(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:])


def votes_of(results):
    """Votes from {comparison: (wins, ties, losses)}, one rater per vote."""
    rows = []
    for number, (comparison, counts) in enumerate(results.items()):
        for choice, count in zip(("a", "tie", "b"), counts, strict=True):
            for rater in range(count):
                prompt = 1000 * number + rater
                rows.append(
                    {"rater": rater, "prompt": prompt, "pair": prompt, "question": "q",
                     "comparison": comparison, "choice": choice}
                )  # fmt: skip
    return Votes.from_rows(rows)


ROUND = {"xy": ("x", "y"), "yz": ("y", "z"), "xz": ("x", "z")}


def test_bradley_terry_of_two_arms_is_the_log_odds():
    strengths = bradley_terry(games((0, 1, 30, 10, 15)), 2)
    assert strengths[0] - strengths[1] == pytest.approx(log(35 / 20), abs=1e-6)


def test_davidson_of_a_consistent_round_gives_strengths_and_nu_back():
    pi, nu = np.array([1.0, 2.0, 4.0]), 0.7
    rows = []
    for i, j in ((0, 1), (1, 2), (0, 2)):
        parts = np.array([pi[i], nu * sqrt(pi[i] * pi[j]), pi[j]])
        rows.append((i, j, *(900 * parts / parts.sum())))
    values = davidson(games(*rows), 3)
    assert values[:3] == pytest.approx(np.log(pi) - np.log(pi).mean(), abs=1e-4)
    assert np.exp(values[3]) == pytest.approx(nu, rel=1e-3)


def test_an_arm_that_wins_every_vote_is_separable():
    assert is_separable(games((0, 1, 5, 0, 0), (1, 2, 3, 0, 3), (0, 2, 4, 0, 0)), 3)
    assert not is_separable(games((0, 1, 5, 0, 1), (1, 2, 3, 0, 3)), 3)
    assert not is_separable(games((0, 1, 5, 1, 0), (1, 2, 3, 0, 3)), 3)


@pytest.mark.parametrize(
    ("results", "arms", "words"),
    [
        ({"xy": (9, 0, 0), "yz": (4, 0, 5), "xz": (9, 0, 0)}, ROUND, "wins every vote"),
        ({"xy": (9, 0, 5), "uv": (9, 0, 5)}, {"xy": "xy", "uv": "uv"}, "do not connect"),
        ({}, ROUND, "no votes"),
    ],
)
def test_votes_without_a_ranking_give_a_sentence(results, arms, words):
    ranking = rank(votes_of(results), arms)
    assert ranking.strengths == {}
    assert words in ranking.note


@pytest.mark.parametrize(("ties", "model"), [(1, "Bradley-Terry"), (9, "Davidson")])
def test_frequent_ties_choose_davidson(ties, model):
    counts = (20, ties, 12)
    assert rank(votes_of({"xy": counts, "yz": counts, "xz": counts}), ROUND).model == model


def test_intervals_contain_the_strengths_and_order_is_found():
    scores = {"xy": 0.6, "yz": 0.6, "xz": 0.7}
    models = {(name, "q"): Utility().with_score(score) for name, score in scores.items()}
    ranking = rank(simulate(Design(60, 12, 5), models, np.random.default_rng(0)), ROUND)
    assert sorted(ranking.strengths, key=ranking.strengths.get) == ["z", "y", "x"]
    for arm, value in ranking.strengths.items():
        low, high = ranking.intervals[arm]
        assert low < value < high
    assert sum(ranking.strengths.values()) == pytest.approx(0, abs=1e-9)
