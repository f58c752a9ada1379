import math

import pytest

from rocm.storage.numbers import duration, number, plus_minus, signed


@pytest.mark.parametrize(
    ("value", "decimals", "plain", "with_sign"),
    [
        (1.25, 2, "1.25", "+1.25"),
        (1700, 0, "1,700", "+1,700"),
        (-1234567.891, 2, "−1,234,567.89", "−1,234,567.89"),
        (-0.001, 2, "0.00", "0.00"),
        (math.inf, 2, "∞", "+∞"),
        (math.nan, 2, "NaN", "NaN"),
    ],
)
def test_numbers_have_fixed_decimals_and_a_real_minus(value, decimals, plain, with_sign):
    assert number(value, decimals) == plain
    assert signed(value, decimals) == with_sign


def test_a_mean_is_shown_with_its_half_width_if_there_is_one():
    assert plus_minus(-0.312, 0.018, 2) == "−0.31 ± 0.02"
    assert plus_minus(0.3, None, 2) == "0.30"


DURATIONS = {3.44: "3.4 s", 9.97: "10 s", 59.7: "1 min", 3569: "59 min", 3580: "1.0 h"}
DURATIONS |= {48 * 3600: "48.0 h", 49 * 3600: "2.0 days"}


@pytest.mark.parametrize(("seconds", "text"), DURATIONS.items())
def test_a_duration_is_in_the_largest_sensible_unit(seconds, text):
    assert duration(seconds) == text
