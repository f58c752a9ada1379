"""Whether raters agree: with each other, with themselves, and with the side of the screen."""

from dataclasses import dataclass
from typing import Literal

import krippendorff
import numpy as np
from scipy.stats import binomtest

from rocm.study.statistics.votes import Floats, Ints, Votes

Level = Literal["nominal", "ordinal"]
NUM_RESAMPLES = 500
ORDER = ("b", "tie", "a")
"""Choices as an ordinal scale: -1, 0, 1."""


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha: 1 perfect agreement, 0 that of chance, with a 95 % interval.

    Attributes:
        value: alpha, <= 1; None where `note` says why.
        low: lower end of the interval, None where there is none.
        high: upper end.
        note: why something is missing; "" where nothing is.
    """

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
        return float(binomtest(self.count, self.total).pvalue) if self.total else None


def choice_counts(votes: Votes) -> tuple[Floats, Ints]:
    """Answers per pair.

    Args:
        votes: opinions about one question.

    Returns:
        Counts of "b", "tie" and "a" per pair, shape (n, 3), and the prompt of each pair, shape
        (n,).
    """
    pairs, first, row = np.unique(votes.pair, return_index=True, return_inverse=True)
    counts = np.zeros((len(pairs), len(ORDER)))
    for column, choice in enumerate(ORDER):
        counts[:, column] = np.bincount(row, votes.choice == choice, minlength=len(pairs))
    return counts, votes.prompt[first]


def krippendorff_alpha(votes: Votes, level: Level) -> Alpha:
    """Krippendorff's alpha over pairs, its interval by resampling prompts with all their votes.

    Raters are taken as they are: the interval says how alpha would differ with other prompts.

    Args:
        votes: opinions about one question.
        level: "nominal", or "ordinal" with b < tie < a.

    Returns:
        Alpha; without a value where no pair has two votes or all votes are the same.
    """
    counts, prompt = choice_counts(votes)
    value = _alpha(counts, level)
    if value is None:
        note = (
            "No alpha: it needs pairs with two votes or more, and votes that are not all the same."
        )
        return Alpha(None, None, None, note)
    rng = np.random.default_rng(0)
    prompts, row = np.unique(prompt, return_inverse=True)
    num = len(prompts)
    members = [np.flatnonzero(row == i) for i in range(num)]
    resampled = [
        _alpha(counts[np.concatenate([members[i] for i in rng.integers(num, size=num)])], level)
        for _ in range(NUM_RESAMPLES)
    ]
    values = [one for one in resampled if one is not None]
    if num < 2 or len(values) < NUM_RESAMPLES:
        return Alpha(value, None, None, "No interval: too few prompts differ in their votes.")
    low, high = np.quantile(values, [0.025, 0.975])
    return Alpha(value, float(low), float(high), "")


def _alpha(counts: Floats, level: Level) -> float | None:
    """Alpha of a table of counts, None where it is not defined."""
    paired = counts[counts.sum(1) > 1]
    if (paired.sum(0) > 0).sum() < 2:
        return None
    return float(krippendorff.alpha(value_counts=paired, level_of_measurement=level))


def pairwise_agreement(votes: Votes) -> float | None:
    """Mean over pairs of the share of two raters' votes that are the same, in [0, 1].

    Args:
        votes: opinions about one question.

    Returns:
        The share, each pair counted once; None where no pair has two votes.
    """
    counts, _ = choice_counts(votes)
    size = counts.sum(1)
    several = size > 1
    if not several.any():
        return None
    same = (counts * (counts - 1)).sum(1)[several] / (size * (size - 1))[several]
    return float(same.mean())


def repeat_consistency(votes: Votes) -> Share:
    """How often a rater answers a repeated pair, sides flipped, as the first time.

    Args:
        votes: all votes about one question, repetitions among them.

    Returns:
        Same answers among repeated ones.
    """
    main = votes.where(votes.kind == "main")
    first = {
        (rater, pair): choice
        for rater, pair, choice, again in zip(
            main.rater.tolist(),
            main.pair.tolist(),
            main.choice.tolist(),
            main.repetition.tolist(),
            strict=True,
        )
        if again == 0
    }
    repeats = main.where(main.repetition > 0)
    same = [
        first[key] == choice
        for key, choice in zip(
            zip(repeats.rater.tolist(), repeats.pair.tolist(), strict=True),
            repeats.choice.tolist(),
            strict=True,
        )
        if key in first
    ]
    return Share(sum(same), len(same))


def side_bias(votes: Votes) -> Share:
    """How often the left picture wins among votes that are no ties.

    Sides are drawn independently of everything else, so without a pull of one side each vote is a
    fair coin, however prompts and raters differ: the test is exact.

    Args:
        votes: opinions about one question.

    Returns:
        Votes for the left picture among decided ones.
    """
    decided = votes.where(votes.choice != "tie")
    return Share(int((decided.choice == decided.left_is).sum()), len(decided))
