"""People and rewards against the weight of the divergence: the paper's Figure 4 from votes.

An arm's win rate is its score over the arms that it was compared with; a reward agrees with people
where it prefers the picture that most of them prefer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rocm.study.statistics.agreement import Share
from rocm.study.statistics.crossed import VoteTable
from rocm.study.statistics.reward_agreement import Rewards
from rocm.study.statistics.score_intervals import ScoreInterval, multiway_satterthwaite
from rocm.study.statistics.votes import Votes

FEWEST_BETAS = 3
"""A curve through fewer points says nothing about a peak."""


@dataclass(frozen=True)
class BetaPoint:
    """One arm's win rate, (wins + ties / 2) / votes, against its `opponents`, and rewards.

    By reward, `preferred` is the share of pairs in which it prefers the arm, ties half, `agreed`
    counts pairs in which reward and most people agree, of those that both decide.
    """

    arm: str
    beta: float
    opponents: tuple[str, ...]
    num_votes: int
    win_rate: float
    interval: ScoreInterval | None
    preferred: dict[str, float]
    agreed: dict[str, Share]


def beta_curve(
    votes: Votes,
    compared: Mapping[str, tuple[str, str]],
    betas: Mapping[str, float],
    rewards: Rewards | None = None,
) -> list[BetaPoint]:
    """Win rate and agreement of every arm with a known beta, from the largest beta to the smallest.

    Arms are measured against opponents that all of them met; no points with fewer than three betas.
    """
    against = _opponents(compared, [name for name in betas if _met(compared, name)])
    asked = {arm: _about(votes, compared, arm, others) for arm, others in against.items()}
    known = [arm for arm, own in asked.items() if len(own)]
    if len({betas[arm] for arm in known}) < FEWEST_BETAS:
        return []
    points = []
    for arm in known:
        own, met = asked[arm], tuple(sorted(against[arm]))
        turned = [name for name, (_, second) in compared.items() if second == arm]
        preferred, agreed = _rewards_on(own, turned, rewards) if rewards else ({}, {})
        table = VoteTable.of(own)
        figures = len(own), table.score, multiway_satterthwaite(table)
        points.append(BetaPoint(arm, betas[arm], met, *figures, preferred, agreed))
    return sorted(points, key=lambda point: -point.beta)


def _met(compared: Mapping[str, tuple[str, str]], arm: str) -> set[str]:
    """The arms that an arm was compared with."""
    return {name for two in compared.values() if arm in two for name in two} - {arm}


def _opponents(compared: Mapping[str, tuple[str, str]], arms: Sequence[str]) -> dict[str, set[str]]:
    met = {arm: _met(compared, arm) for arm in arms}
    if len({frozenset(others | {arm}) for arm, others in met.items()}) <= 1:
        return met
    common = set.intersection(*met.values())
    return dict.fromkeys(arms, common)


def _about(
    votes: Votes, compared: Mapping[str, tuple[str, str]], arm: str, others: set[str]
) -> Votes:
    """The votes on an arm and its opponents, turned so that it is arm a."""
    parts = []
    for name, (first, second) in compared.items():
        if first == arm and second in others:
            parts.append(votes.opinions(name))
        elif second == arm and first in others:
            parts.append(votes.opinions(name).swapped())
    return Votes.joined(parts) if parts else Votes.from_rows([])


def _rewards_on(
    own: Votes, turned: Sequence[str], rewards: Rewards
) -> tuple[dict[str, float], dict[str, Share]]:
    """How often each reward prefers the arm, and how often it sides with people."""
    pairs, first, row = np.unique(own.pair, return_index=True, return_inverse=True)
    people = np.sign(np.bincount(row, 2 * own.scores - 1, minlength=len(pairs)))
    sides = np.where(np.isin(own.comparison[first], turned), -1, 1)
    known, signs = rewards.signs(pairs)
    preferred, agreed = {}, {}
    for name, sign in signs.items():
        liked = sign * sides[known]
        both = liked * people[known]
        if len(liked):
            preferred[name] = float((liked.mean() + 1) / 2)
        agreed[name] = Share(int((both > 0).sum()), int((both != 0).sum()))
    return preferred, agreed
