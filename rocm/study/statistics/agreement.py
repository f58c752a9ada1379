"""Whether raters agree: with each other, with themselves, and with the side of the screen."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rocm.study.statistics.votes import Floats, Ints, Votes

Level = Literal["nominal", "ordinal"]
NUM_RESAMPLES = 500
ORDER = ("b", "tie", "a")
"""Choices as an ordinal scale: -1, 0, 1."""


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha with a 95 % interval; a figure is None if `note` says why."""

    value: float | None
    low: float | None
    high: float | None
    note: str


@dataclass(frozen=True)
class Share:
    """`count` of `total`."""

    count: int
    total: int

    @property
    def share(self) -> float | None:
        """count / total, None of none."""
        return self.count / self.total if self.total else None

    @property
    def p_value(self) -> float | None:
        """Exact two-sided binomial p-value of the probability 1/2; None of none."""
        from scipy.stats import binomtest

        return float(binomtest(self.count, self.total).pvalue) if self.total else None


def choice_counts(votes: Votes) -> tuple[Floats, Ints]:
    """Counts of "b", "tie" and "a" per pair, shape (n, 3), and the pair's prompt, shape (n,)."""
    pairs, first, row = np.unique(votes.pair, return_index=True, return_inverse=True)
    counts = np.zeros((len(pairs), len(ORDER)))
    for column, choice in enumerate(ORDER):
        counts[:, column] = np.bincount(row, votes.choice == choice, minlength=len(pairs))
    return counts, votes.prompt[first]


def krippendorff_alpha(votes: Votes, level: Level) -> Alpha:
    """Krippendorff's alpha over pairs, its interval by resampling prompts with all their votes.

    The ordinal level has b < tie < a.
    """
    counts, prompt = choice_counts(votes)
    value = alpha(counts, level)
    if value is None:
        note = "No alpha: it needs pairs with two votes, and votes that are not all the same."
        return Alpha(None, None, None, note)
    rng = np.random.default_rng(0)
    prompts, row = np.unique(prompt, return_inverse=True)
    num = len(prompts)
    members = [np.flatnonzero(row == i) for i in range(num)]
    resampled = [
        alpha(counts[np.concatenate([members[i] for i in rng.integers(num, size=num)])], level)
        for _ in range(NUM_RESAMPLES)
    ]
    values = [value for value in resampled if value is not None]
    if num < 2 or len(values) < NUM_RESAMPLES:
        return Alpha(value, None, None, "No interval: too few prompts differ in their votes.")
    low, high = np.quantile(values, [0.025, 0.975])
    return Alpha(value, float(low), float(high), "")


def alpha(counts: Floats, level: Level) -> float | None:
    r"""Krippendorff's alpha, <= 1, of ratings by unit (row) and value (column), or None.

    .. math:: \alpha = 1 - (n - 1) \frac{\sum_u \sum_{ck} n_{uc} n_{uk} d_{ck} / (m_u - 1)}
       {\sum_{ck} n_c n_k d_{ck}}, \quad m_u = \sum_c n_{uc} > 1

    with d = 1 between different values of a nominal scale, and of an ordinal one the square of the
    difference of mid-ranks. Source: Krippendorff (2011), Computing Krippendorff's
    Alpha-Reliability.
    """
    paired = counts[counts.sum(1) > 1]
    totals = paired.sum(0)
    if (totals > 0).sum() < 2:
        return None
    ranks = np.cumsum(totals) - totals / 2
    difference = np.subtract.outer(ranks, ranks)
    distance = difference**2 if level == "ordinal" else 1 - np.eye(len(totals))
    observed = (paired.T @ (paired / (paired.sum(1, keepdims=True) - 1)) * distance).sum()
    expected = (np.outer(totals, totals) * distance).sum() / (totals.sum() - 1)
    return float(1 - observed / expected)


def pairwise_agreement(votes: Votes) -> float | None:
    """Mean over pairs of the share of two raters' votes that agree, in [0, 1]; None without any."""
    counts, _ = choice_counts(votes)
    size = counts.sum(1)
    several = size > 1
    if not several.any():
        return None
    same = (counts * (counts - 1)).sum(1)[several] / (size * (size - 1))[several]
    return float(same.mean())


def repeat_consistency(votes: Votes) -> Share:
    """Repeated pairs, sides flipped, that a rater answers as the first time."""
    main = votes.where(votes.kind == "main")
    keys = list(zip(main.rater.tolist(), main.pair.tolist(), strict=True))
    rows = list(zip(keys, main.choice.tolist(), main.repetition.tolist(), strict=True))
    first = {key: choice for key, choice, repetition in rows if repetition == 0}
    same = [first[key] == choice for key, choice, again in rows if again and key in first]
    return Share(sum(same), len(same))


def side_bias(votes: Votes) -> Share:
    """Votes for the left picture among decided votes: sides are random, so the test is exact."""
    decided = votes.where(votes.choice != "tie")
    return Share(int((decided.choice == decided.left_is).sum()), len(decided))
