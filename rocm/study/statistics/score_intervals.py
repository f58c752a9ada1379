"""Intervals of a score, (wins + ties / 2) / votes, over the population of prompts and raters.

Votes of one prompt resemble each other, and so do votes of one rater; an interval that takes votes
as independent is too narrow. Three ways to allow for both are here; `docs/statistics.md` has what
each covered in simulation. The naive one exists to be shown as a warning.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np

from rocm.algorithms.intervals import LEVEL, Z, student_quantile
from rocm.study.statistics.crossed import VoteTable, fit_components

NUM_RESAMPLES = 1000
"""Of the bootstrap."""


@dataclass(frozen=True)
class ScoreInterval:
    """A two-sided interval of a score, within [0, 1]."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """high - low."""
        return self.high - self.low


def wilson(table: VoteTable) -> ScoreInterval:
    r"""Wilson's interval as if all votes were independent: too narrow, a warning only.

    .. math:: (s + z^2 / 2N \pm z \sqrt{s (1 - s) / N + z^2 / 4N^2}) / (1 + z^2 / N)
    """
    score, num, z = table.score, table.num_votes, Z
    half = z * sqrt(score * (1 - score) / num + z**2 / (4 * num**2))
    low, high = ((score + z**2 / (2 * num) + end) / (1 + z**2 / num) for end in (-half, half))
    return ScoreInterval(low, high)


def two_way_bootstrap(table: VoteTable) -> ScoreInterval | None:
    """Percentile bootstrap with independent multinomial weights on prompts and on raters.

    A vote's weight is that of its prompt times that of its rater (Owen 2007, "pigeonhole"). The
    seed is fixed, so the same votes give the same interval; None with one prompt or rater.
    """
    num_prompts, num_raters = table.counts.shape
    if min(num_prompts, num_raters) < 2:
        return None
    rng = np.random.default_rng(0)
    by_prompt = rng.multinomial(num_prompts, np.full(num_prompts, 1 / num_prompts), NUM_RESAMPLES)
    by_rater = rng.multinomial(num_raters, np.full(num_raters, 1 / num_raters), NUM_RESAMPLES)
    sums = ((by_prompt @ table.sums) * by_rater).sum(1)
    counts = ((by_prompt @ table.counts) * by_rater).sum(1)
    scores = sums[counts > 0] / counts[counts > 0]
    low, high = np.quantile(scores, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return ScoreInterval(float(low), float(high))


@dataclass(frozen=True)
class Multiway:
    """Cluster-robust variances of a score (Cameron, Gelbach and Miller 2011).

    Each is G / (G - 1) times the sum over its G clusters of (sum of residuals)^2, over N^2.
    Clusters are the P >= 2 prompts, the R >= 2 raters, and for `both` the cells prompt x rater.
    """

    prompt: float
    rater: float
    both: float
    num_prompts: int
    num_raters: int

    @classmethod
    def of(cls, table: VoteTable) -> "Multiway | None":
        """Variances of a table; None with one prompt or rater, or if all votes are the same."""
        if min(table.counts.shape) < 2:
            return None
        residuals = table.sums - table.score * table.counts
        clusters = residuals.sum(1), residuals.sum(0), residuals[table.counts > 0]
        prompt, rater, both = (
            float(len(sums) / (len(sums) - 1) * (sums**2).sum() / table.num_votes**2)
            for sums in clusters
        )
        ways = cls(prompt, rater, both, *table.counts.shape)
        return ways if ways.variance > 0 else None

    @property
    def variance(self) -> float:
        """V_prompt + V_rater - V_both, but not less than V_prompt or V_rater.

        The difference can come out too small, even negative; each of the two leaves the other's
        share out, so neither can be too large for that reason.
        """
        return max(self.prompt + self.rater - self.both, self.prompt, self.rater)

    @property
    def smallest_df(self) -> float:
        """min(P, R) - 1 degrees of freedom."""
        return min(self.num_prompts, self.num_raters) - 1

    @property
    def satterthwaite_df(self) -> float:
        r"""Degrees of freedom by Welch and Satterthwaite.

        .. math:: (V_1 + D)^2 / (V_1^2 / (G_1 - 1) + D^2 / (G_2 - 1)),
           \quad D = \max(V_2 - V_{both}, 0)

        1 is the way with more clusters and 2 the way with fewer, so the noise of single votes,
        which is in V_1, does not count as if there were G_2 draws of it only.
        """
        ways = sorted(((self.num_raters, self.rater), (self.num_prompts, self.prompt)))
        (fewer, second), (more, first) = ways
        extra = max(second - self.both, 0)
        spread = first**2 / (more - 1) + extra**2 / (fewer - 1)
        return (first + extra) ** 2 / spread if spread else self.smallest_df


def multiway_robust(table: VoteTable) -> ScoreInterval | None:
    """Score +- t sqrt(V) by `Multiway`, t of min(P, R) - 1 degrees of freedom, cut to [0, 1]."""
    ways = Multiway.of(table)
    return student(table.score, ways.variance, ways.smallest_df) if ways else None


def multiway_satterthwaite(table: VoteTable) -> ScoreInterval | None:
    """Score +- t sqrt(V) by `Multiway`, t of Satterthwaite's degrees of freedom, cut to [0, 1]."""
    ways = Multiway.of(table)
    return student(table.score, ways.variance, ways.satterthwaite_df) if ways else None


def satterthwaite_p_value(table: VoteTable) -> float | None:
    r"""Two-sided p-value of "the score is 1/2"; below 0.05 if `multiway_satterthwaite` excludes it.

    .. math:: 2 P(T_{df} < -|score - 1/2| / \sqrt V)
    """
    ways = Multiway.of(table)
    if ways is None:
        return None
    from scipy.special import stdtr

    distance = abs(table.score - 0.5) / sqrt(ways.variance)
    return float(2 * stdtr(ways.satterthwaite_df, -distance))


def crossed_mixed(table: VoteTable) -> ScoreInterval | None:
    """Score +- t times its standard error under `crossed`'s mixed model, t of min(P, R) - 1."""
    components = fit_components(table)
    if components is None:
        return None
    variance = components.variance_of_mean(table.counts)
    return student(table.score, variance, min(table.counts.shape) - 1)


def student(score: float, variance: float, df: float) -> ScoreInterval | None:
    """Student's interval of `score` with `df` degrees of freedom; None at no variance."""
    if variance <= 0:
        return None
    half = student_quantile(df) * sqrt(variance)
    return ScoreInterval(max(score - half, 0.0), min(score + half, 1.0))


NAIVE = "Wilson (naive)"
METHODS: dict[str, Callable[[VoteTable], ScoreInterval | None]] = {
    "two-way bootstrap": two_way_bootstrap,
    "multiway cluster-robust": multiway_robust,
    "multiway, Satterthwaite": multiway_satterthwaite,
    "crossed mixed model": crossed_mixed,
    NAIVE: wilson,
}
