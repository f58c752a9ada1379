"""Win, tie and loss of every comparison and question, with intervals and tests."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rocm.algorithms.intervals import holm
from rocm.study.statistics.agreement import Share
from rocm.study.statistics.crossed import VoteTable
from rocm.study.statistics.score_intervals import METHODS, ScoreInterval, satterthwaite_p_value
from rocm.study.statistics.votes import Votes

HEADLINE = "multiway, Satterthwaite"
"""The interval that stands beside the score: see docs/statistics.md for how it was chosen."""
CAREFUL = "multiway cluster-robust"
"""The interval to go by where raters are few."""


@dataclass(frozen=True)
class SignTest:
    """Prompts by majority, and the exact two-sided binomial test of wins against losses."""

    wins: int
    losses: int
    ties: int
    p_value: float | None


@dataclass(frozen=True)
class Outcome:
    """The votes about one comparison and question; `score` is (wins + ties / 2) / votes.

    `intervals` are by method of `METHODS`; `p_value` is the headline interval's, `holm_p` the same
    after Holm; `note` says why they are missing.
    """

    comparison: str
    question: str
    num_votes: int
    num_prompts: int
    num_raters: int
    wins: int
    ties: int
    losses: int
    score: float | None
    intervals: dict[str, ScoreInterval | None]
    p_value: float | None
    sign: SignTest
    holm_p: float | None
    note: str

    @property
    def interval(self) -> ScoreInterval | None:
        """The headline interval."""
        return self.intervals.get(HEADLINE)


def sign_test(votes: Votes) -> SignTest:
    """In how many prompts most votes prefer arm a; tied prompts are left out of the test.

    It conditions on the raters who took part, and speaks of no others: if raters differ, it finds
    their difference where the population has none. `docs/statistics.md` has its error rates.
    """
    prompts, row = np.unique(votes.prompt, return_inverse=True)
    signs = np.sign(np.bincount(row, votes.scores - 0.5, minlength=len(prompts)))
    wins, losses = int((signs > 0).sum()), int((signs < 0).sum())
    p_value = Share(wins, wins + losses).p_value
    return SignTest(wins, losses, len(signs) - wins - losses, p_value)


def outcome(votes: Votes, comparison: str, question: str) -> Outcome:
    """The outcome of one comparison and question; its p-value is not adjusted yet."""
    asked = votes.opinions(comparison, question)
    table = VoteTable.of(asked) if len(asked) else None
    p_value = satterthwaite_p_value(table) if table else None
    intervals = {name: method(table) if table else None for name, method in METHODS.items()}
    return Outcome(
        comparison=comparison,
        question=question,
        num_votes=len(asked),
        num_prompts=len(np.unique(asked.prompt)),
        num_raters=len(np.unique(asked.rater)),
        wins=int((asked.choice == "a").sum()),
        ties=int((asked.choice == "tie").sum()),
        losses=int((asked.choice == "b").sum()),
        score=table.score if table else None,
        intervals=intervals,
        p_value=p_value,
        sign=sign_test(asked),
        holm_p=p_value,
        note="" if intervals[HEADLINE] else _missing(asked, table),
    )


def _missing(votes: Votes, table: VoteTable | None) -> str:
    if table is None:
        return "No votes that count."
    if min(table.counts.shape) < 2:
        return "No interval: it needs votes on at least two prompts and by at least two raters."
    return "No interval: the votes are all the same, and so do not show how they vary."


def outcomes(votes: Votes, comparisons: Sequence[str], questions: Sequence[str]) -> list[Outcome]:
    """All comparisons by all questions; Holm's families are the first question, and all others.

    A comparison without a p-value counts in its family as 1.
    """
    tested: list[Outcome] = []
    for family in (questions[:1], questions[1:]):
        members = [outcome(votes, name, asked) for asked in family for name in comparisons]
        adjusted = holm([1.0 if one.p_value is None else one.p_value for one in members])
        tested += [
            one if one.p_value is None else replace(one, holm_p=p)
            for one, p in zip(members, adjusted, strict=True)
        ]
    return tested


def by_category(votes: Votes, comparison: str, question: str) -> dict[str, Outcome]:
    """One outcome per category of prompts; exploratory, without adjustment."""
    asked = votes.opinions(comparison, question)
    return {
        str(category): outcome(asked.where(asked.category == category), comparison, question)
        for category in np.unique(asked.category)
        if category
    }
