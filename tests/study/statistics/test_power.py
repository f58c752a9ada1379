import numpy as np
import pytest
from scipy.stats import binom, binomtest

from rocm.study.statistics.crossed import VoteTable
from rocm.study.statistics.outcomes import HEADLINE
from rocm.study.statistics.power import power, width_when_complete, workload
from rocm.study.statistics.score_intervals import METHODS
from rocm.study.statistics.simulate import Design, Utility, simulate

PLAIN = Utility(prompt_sd=0, rater_sd=0, side=0, tie_width=0, lapse=0)
"""Every vote is an independent coin."""


@pytest.mark.parametrize("num_comparisons", [1, 6])
def test_power_of_independent_prompts_is_the_exact_binomial(num_comparisons):
    size, num_simulations, level = 120, 300, 0.05 / num_comparisons
    significant = [k for k in range(size + 1) if binomtest(k, size).pvalue < level]
    expected = binom.pmf(significant, size, 0.65).sum()
    found = power(Design(size, 10, 1), num_comparisons, PLAIN, [0.65], num_simulations)[0]
    assert found.sign_test == pytest.approx(expected, abs=4 * 0.5 / num_simulations**0.5)
    assert found.score == pytest.approx(0.65)
    assert found.error <= 0.5 / num_simulations**0.5


def test_headline_keeps_its_level_where_raters_differ_and_the_sign_test_does_not():
    found = power(Design(60, 12, 5), 1, Utility(rater_sd=0.6), [0.5], 400)[0]
    assert 0.02 <= found.holm <= 0.10
    assert found.sign_test > 0.10


def test_workload_by_hand():
    design = Design(300, 30, 5, num_repeats=5, num_checks=5)
    found = workload(design, 2, seconds_per_trial=12, pay_per_hour=15)
    assert found.num_trials == 2 * (1500 + 300)
    assert found.trials_per_rater == 120
    assert found.minutes_per_rater == pytest.approx(3 + 24)
    assert found.cost == pytest.approx(30 * 27 / 60 * 15)


def test_width_foreseen_from_a_third_of_the_votes_is_near_the_final_one(by_hand):
    design, rng, ratios = Design(300, 30, 5), np.random.default_rng(0), []
    for _ in range(10):
        votes = simulate(design, {("c", "q"): Utility()}, rng)
        final = METHODS[HEADLINE](VoteTable.of(votes)).width
        ratios.append(width_when_complete(votes.where(np.arange(500)), design) / final)
    assert np.mean(ratios) == pytest.approx(1, abs=0.15)
    assert width_when_complete(by_hand([]), Design()) is None
    assert width_when_complete(by_hand([(0, 0, "a")]), Design()) is None
