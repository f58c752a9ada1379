from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from rocm.study.statistics.crossed import VoteTable
from rocm.study.statistics.evidence import SPREAD, evidence, log_e_value
from rocm.study.statistics.score_intervals import Multiway
from rocm.study.statistics.simulate import Design, Utility, simulate
from rocm.study.statistics.votes import Votes


def test_e_value_is_the_mean_likelihood_ratio_over_the_alternatives(simulated):
    table = VoteTable.of(simulated)
    ways = Multiway.of(table)
    sd = np.sqrt(ways.variance) * stats.t.ppf(0.975, ways.satterthwaite_df) / stats.norm.ppf(0.975)

    def weighted(shift):
        ratio = stats.norm.pdf(table.score, 0.5 + shift, sd) / stats.norm.pdf(table.score, 0.5, sd)
        return ratio * stats.norm.pdf(shift, 0, SPREAD)

    expected = integrate.quad(weighted, -1, 1, points=[0])[0]
    assert np.exp(log_e_value(table)) == pytest.approx(expected, rel=1e-6)


def test_few_raters_or_prompts_give_a_sentence(by_hand):
    votes = by_hand([(r, p, "ab"[p % 2]) for r in range(7) for p in range(20)])
    assert evidence(votes).now is None
    assert "8 raters and 10 prompts" in evidence(votes).note


def test_a_decision_stands_even_if_later_votes_point_back():
    models = {("c", "q"): Utility().with_score(0.75)}
    votes = simulate(Design(100, 20, 5), models, np.random.default_rng(0))
    later = replace(votes.swapped(), prompt=votes.prompt + 100)
    found = evidence(Votes.joined([votes, later]))
    assert found.now < 1
    assert found.is_decided
    assert found.num_votes_at_decision <= len(votes)


@pytest.mark.slow
@pytest.mark.parametrize("rater_sd", [0.2, 0.5])
def test_peeking_at_equal_arms_decides_in_at_most_one_of_twenty_studies(rater_sd):
    rng, design = np.random.default_rng(0), Design(60, 15, 5)
    models = {("c", "q"): Utility(rater_sd=rater_sd).with_score(0.5)}
    decided = [evidence(simulate(design, models, rng)).is_decided for _ in range(150)]
    assert sum(decided) <= 0.05 * 150
