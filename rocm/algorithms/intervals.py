"""Means with 95 % intervals by Student's t, of plain numbers; paired differences; Holm's method."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


@dataclass(frozen=True)
class Interval:
    """A mean of `num` values with its 95 % interval, which is None for one value only.

    `over` is the unit of the values, `seeds` or `prompts`.
    """

    mean: float
    low: float | None
    high: float | None
    num: int
    over: str


def student_quantile(df: float) -> float:
    """Two-sided 95 % quantile of Student's t with `df` > 0 degrees of freedom."""
    from scipy.special import stdtrit  # every command would wait for it

    return float(stdtrit(df, (1 + LEVEL) / 2))


def interval(values: Sequence[float], over: str) -> Interval | None:
    r"""Mean with its 95 % interval; None of no values.

    .. math:: \bar{x} \pm t_{n-1} s / \sqrt{n}, \quad s^2 = \sum (x - \bar{x})^2 / (n - 1)
    """
    if not values:
        return None
    mean, num = fmean(values), len(values)
    if num == 1:
        return Interval(mean, None, None, num, over)
    half = student_quantile(num - 1) * stdev(values) / math.sqrt(num)
    return Interval(mean, mean - half, mean + half, num, over)


def paired_difference(
    values: Sequence[float | None], base: Sequence[float | None], over: str
) -> Interval | None:
    """Mean of values[i] - base[i] with its interval, over places where both are known, or None."""
    pairs = zip(values, base, strict=True)
    return interval([a - b for a, b in pairs if a is not None and b is not None], over)


def holm(p_values: Sequence[float]) -> list[float]:
    r"""P-values of one family, adjusted as Holm (1979), in the order given.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1, (n - j + 1) p_{(j)})
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted
