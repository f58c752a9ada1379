from dataclasses import replace

import numpy as np
import pytest

from rocm.study.statistics.flags import rater_reports
from rocm.study.statistics.simulate import Design, Utility, simulate

DESIGN = Design(80, 10, 5, num_repeats=6, num_checks=4, num_careless=1)
UTILITY = Utility(advantage=0.4, prompt_sd=1.5, rater_sd=0.1, tie_width=0.1)


@pytest.fixture(scope="module")
def votes():
    return simulate(DESIGN, {("c", "q"): UTILITY}, np.random.default_rng(1))


def test_the_careless_rater_is_flagged_and_honest_ones_are_not(votes):
    reports = rater_reports(votes)
    assert [one.rater for one in reports if one.flags] == [0]
    words = " ".join(reports[0].flags)
    for reason in ("less than 0.8 s", "attention checks", "others' majority"):
        assert reason in words


def test_a_flag_excludes_nobody(votes):
    assert sum(one.num_excluded for one in rater_reports(votes)) == 0
    assert sum(one.num_votes for one in rater_reports(votes)) == 400


def test_one_who_always_takes_the_left_is_flagged_twice(votes):
    choice = np.where(votes.rater == 3, votes.left_is, votes.choice)
    flags = " ".join(rater_reports(replace(votes, choice=choice))[3].flags)
    assert "went to the left picture" in flags
    assert "in a row" in flags


def test_figures_of_a_rater_by_hand(by_hand):
    votes = by_hand([(0, 0, "a"), (0, 1, "a"), (0, 2, "b"), (1, 0, "a"), (1, 1, "b"), (1, 2, "b")])
    votes = replace(votes, rt_ms=np.array([500.0, 1000, np.nan, 900, 900, 900]))
    first = rater_reports(votes)[0]
    assert first.median_s == 0.75
    assert (first.fast.count, first.fast.total) == (1, 2)
    assert (first.left.count, first.left.total) == (2, 3)
    assert first.longest_run == 2
    assert (first.majority.count, first.majority.total) == (2, 3)
