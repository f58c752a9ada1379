"""Student's intervals against a plain loop, their coverage and what a pairing must not change."""

import math
import random

import pytest
from statsmodels.stats.multitest import multipletests

from rocm.algorithms.intervals import Interval, holm, interval, paired_difference


def test_an_interval_of_two_values_is_the_written_out_one():
    found = interval([1.0, 3.0], "seeds")
    half = 12.7062047364
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, 2 - half, 2 + half))
    assert interval([1.0], "seeds") == Interval(1.0, None, None, 1, "seeds")
    assert interval([], "seeds") is None


def test_a_paired_interval_does_not_feel_what_both_arms_share():
    draw = random.Random(0)
    prompts = [draw.gauss(0, 10) for _ in range(12)]
    gains = [draw.gauss(1, 0.1) for _ in range(12)]
    arm = [prompt + gain for prompt, gain in zip(prompts, gains, strict=True)]
    found = paired_difference(arm, prompts, "prompts")
    mean = sum(gains) / 12
    deviation = math.sqrt(sum((gain - mean) ** 2 for gain in gains) / 11)
    assert found.mean == pytest.approx(mean)
    assert found.high - found.mean == pytest.approx(2.2009852 * deviation / math.sqrt(12))
    apart = interval(arm, "prompts")
    assert apart.high - apart.low > 20 * (found.high - found.low)


def test_a_prompt_that_one_arm_lacks_is_in_neither_side_of_the_difference():
    found = paired_difference([3.0, None, 5.0], [1.0, 100.0, None], "prompts")
    assert found == Interval(2.0, None, None, 1, "prompts")
    assert paired_difference([None], [1.0], "prompts") is None


def test_an_interval_covers_the_mean_in_95_of_100():
    draw = random.Random(1)
    found = [interval([draw.gauss(0.3, 1) for _ in range(8)], "prompts") for _ in range(4000)]
    assert 0.935 < sum(one.low <= 0.3 <= one.high for one in found) / 4000 < 0.965


def test_holm_is_that_of_statsmodels():
    draw = random.Random(0)
    for size in (1, 2, 3, 5, 8):  # each call of statsmodels collects garbage
        p_values = [round(draw.random(), 1) for _ in range(size)]  # with ties, 0 and 1
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
    assert holm([]) == []
