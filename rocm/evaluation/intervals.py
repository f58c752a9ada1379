"""Means with 95 % intervals by Student's t, of plain numbers; paired differences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

# Two-sided 95 % quantiles of Student's t with 1 to 30 degrees of freedom.
STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; `low` and `high` are None where there is one value only.

    Attributes:
        mean: of the values.
        low: lower end.
        high: upper end.
        num: values that it was taken over.
        over: `seeds`, or `prompts`.
    """

    mean: float
    low: float | None
    high: float | None
    num: int
    over: str


def student_quantile(num: int) -> float:
    r"""Two-sided 95 % quantile of Student's t of a mean over `num` values.

    Beyond the table by the expansion in 1 / v, v = num - 1, whose error there is below 2e-6:

    .. math:: t = z + (z^3 + z) / (4 v) + (5 z^5 + 16 z^3 + 3 z) / (96 v^2) + ...

    Args:
        num: values, at least 2.

    Returns:
        The quantile, with three decimals up to 31 values. Source: Abramowitz and Stegun 26.7.5.
    """
    freedom = num - 1
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1]
    z = NormalDist().inv_cdf(0.975)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def interval(values: Sequence[float], over: str) -> Interval | None:
    """Mean with its 95 % interval by Student's t; None of no values."""
    if not values:
        return None
    mean, num = fmean(values), len(values)
    if num == 1:
        return Interval(mean, None, None, num, over)
    half = student_quantile(num) * stdev(values) / math.sqrt(num)
    return Interval(mean, mean - half, mean + half, num, over)


def paired_difference(
    values: Sequence[float | None], base: Sequence[float | None], over: str
) -> Interval | None:
    """Mean of values[i] - base[i] with its interval, over the places where both are known.

    Args:
        values: of one arm, one for each prompt.
        base: of the other, of the same prompts in the same order.
        over: what the places are.

    Returns:
        The interval, None where no place is known in both.
    """
    pairs = zip(values, base, strict=True)
    return interval([a - b for a, b in pairs if a is not None and b is not None], over)
