"""The sign test: in how many prompts did most votes prefer arm a? Tied prompts are left out.

It conditions on the raters who took part, and speaks of no others: if raters differ, it finds their
difference where the population has none. `docs/statistics.md` has its error rates.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rocm.study.statistics.agreement import Share
from rocm.study.statistics.votes import Ints, Votes


@dataclass(frozen=True)
class SignTest:
    """Prompts by majority, and the exact two-sided binomial test of wins against losses."""

    wins: int
    losses: int
    ties: int
    p_value: float | None


def majorities(votes: Votes) -> Ints:
    """1, 0 or -1 per prompt with a vote: most for arm a, equally many, most for arm b."""
    prompts, row = np.unique(votes.prompt, return_inverse=True)
    margin = np.bincount(row, votes.scores - 0.5, minlength=len(prompts))
    return np.sign(margin).astype(np.int64)


def sign_test(votes: Votes) -> SignTest:
    """The exact sign test on prompt majorities, from opinions about one comparison."""
    signs = majorities(votes)
    wins, losses = int((signs > 0).sum()), int((signs < 0).sum())
    p_value = Share(wins, wins + losses).p_value
    return SignTest(wins, losses, int((signs == 0).sum()), p_value)


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    r"""Holm's adjustment over one family, by name; None is a member with p-value 1, and stays None.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1, (n - j + 1) p_{(j)})
    """
    ordered = sorted((1.0 if p is None else p, name) for name, p in p_values.items())
    adjusted: dict[str, float | None] = {}
    largest = 0.0
    for place, (p, name) in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - place) * p))
        adjusted[name] = largest
    return {name: None if p is None else adjusted[name] for name, p in p_values.items()}
