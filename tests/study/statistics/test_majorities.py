from math import comb

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from rocm.study.statistics.majorities import holm, majorities, sign_test


def test_majorities_by_hand(by_hand):
    prompts = {1: ("a", "a", "b"), 2: ("b", "tie", "tie"), 3: ("a", "b", "tie")}
    rows = [(rater, p, one) for p, choices in prompts.items() for rater, one in enumerate(choices)]
    assert majorities(by_hand(rows)).tolist() == [1, -1, 0]


def test_sign_test_sums_the_binomial(by_hand):
    votes = by_hand([(0, prompt, "a" if prompt < 9 else "b") for prompt in range(12)])
    tail = sum(comb(12, k) for k in range(4)) / 2**12
    assert (sign_test(votes).wins, sign_test(votes).losses) == (9, 3)
    assert sign_test(votes).p_value == pytest.approx(2 * tail)


def test_tied_prompts_do_not_dilute_the_test(by_hand):
    decided = [(0, prompt, "a") for prompt in range(6)]
    tied = [(0, prompt, "tie") for prompt in range(6, 30)]
    assert sign_test(by_hand(decided + tied)).p_value == pytest.approx(2 / 2**6)
    assert sign_test(by_hand(decided + tied)).ties == 24


def test_five_votes_of_a_prompt_count_once(by_hand):
    once = by_hand([(0, prompt, "a") for prompt in range(6)])
    five = by_hand([(rater, prompt, "a") for prompt in range(6) for rater in range(5)])
    assert sign_test(once) == sign_test(five)
    assert sign_test(by_hand([(0, 0, "tie")])).p_value is None


def test_holm_is_that_of_statsmodels():
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 5, 8):  # each call of statsmodels collects garbage
        p_values = rng.random(size).round(1).tolist()  # with ties, 0 and 1
        adjusted = multipletests(p_values, method="holm")[1]
        assert list(holm(dict(enumerate(p_values))).values()) == pytest.approx(adjusted)


def test_a_comparison_without_a_p_value_still_counts_in_the_family():
    assert holm({"x": 0.01, "y": None}) == {"x": pytest.approx(0.02), "y": None}
    assert holm({}) == {}
