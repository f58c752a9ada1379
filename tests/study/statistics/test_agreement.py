from dataclasses import replace

import evalica
import numpy as np
import pandas as pd
import pytest

from rocm.study.statistics import agreement
from rocm.study.statistics.agreement import Share, alpha, krippendorff_alpha, side_bias
from rocm.study.statistics.simulate import Design, Utility, simulate

CODES = {"b": 0, "tie": 1, "a": 2}


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
def test_alpha_is_that_of_evalica(simulated, level):
    codes = [CODES[choice] for choice in simulated.choice]
    data = pd.DataFrame({"rater": simulated.rater, "pair": simulated.pair, "code": codes})
    data = data.pivot(index="rater", columns="pair", values="code")
    expected = evalica.alpha(data, distance=level).alpha
    assert krippendorff_alpha(simulated, level).value == pytest.approx(expected, abs=1e-9)


# Krippendorff (2011), example C: counts of five values in twelve units.
PUBLISHED = [[3, 0, 0, 0, 0], [0, 3, 1, 0, 0], [0, 0, 4, 0, 0], [0, 0, 4, 0, 0], [0, 4, 0, 0, 0],
             [1, 1, 1, 1, 0], [0, 0, 0, 4, 0], [3, 1, 0, 0, 0], [0, 4, 0, 0, 0], [0, 0, 0, 0, 3],
             [2, 0, 0, 0, 0], [0, 0, 1, 0, 0]]  # fmt: skip


def test_alpha_is_that_of_a_known_example():
    for level, expected in (("nominal", 0.743), ("ordinal", 0.815)):
        assert alpha(np.array(PUBLISHED, dtype=float), level) == pytest.approx(expected, abs=5e-4)


def test_alpha_of_perfect_agreement_is_one_and_lies_within_its_interval(by_hand, simulated):
    votes = by_hand([(r, p, "ab"[p % 2]) for r in range(3) for p in range(20)])
    found = krippendorff_alpha(votes, "nominal")
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    found = krippendorff_alpha(simulated, "ordinal")
    assert found.low < found.value < found.high


def test_alpha_without_variation_or_without_two_votes_is_a_sentence(by_hand):
    for second in "ab":
        found = krippendorff_alpha(by_hand([(0, 0, "a"), (0, 1, second)]), "nominal")
        assert found.value is None
        assert found.note


def test_pairwise_agreement_by_hand(by_hand):
    votes = by_hand([(0, 0, "a"), (1, 0, "a"), (2, 0, "b"), (0, 1, "tie"), (1, 1, "tie")])
    assert agreement.pairwise_agreement(votes) == pytest.approx((1 / 3 + 1) / 2)


def test_repeats_by_hand(by_hand):
    first = [(0, 0, "a"), (0, 1, "b"), (1, 0, "tie")]
    again = [(0, 0, "a"), (0, 1, "a"), (1, 0, "tie")]
    votes = replace(by_hand([*first, *again]), repetition=np.array([0, 0, 0, 1, 1, 1]))
    assert agreement.repeat_consistency(votes) == Share(2, 3)


def test_side_bias_counts_decided_votes_for_the_left(by_hand):
    votes = by_hand([(0, 0, choice) for choice in ("a", "a", "b", "tie")])
    assert side_bias(replace(votes, left_is=np.array(["a", "b", "b", "a"]))) == Share(2, 3)
    design = Design(200, 20, 5)
    for side, is_found in ((0.0, False), (0.3, True)):
        votes = simulate(design, {("c", "q"): Utility(side=side)}, np.random.default_rng(5))
        assert (side_bias(votes).p_value < 0.001) == is_found
