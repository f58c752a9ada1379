"""Do rewards agree with people? Per pair, per comparison, and by beta: the paper's Figure 4.

A hacked reward prefers arm a more and more often while people's score of it falls. An arm's win
rate is its score over the arms that it was compared with; a reward agrees with people where it
prefers the picture that most of them prefer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rocm.errors import StudyError
from rocm.study.statistics.agreement import Share
from rocm.study.statistics.crossed import VoteTable
from rocm.study.statistics.outcomes import Outcome
from rocm.study.statistics.score_intervals import ScoreInterval, multiway_satterthwaite
from rocm.study.statistics.votes import Flags, Floats, Ints, Votes

NUM_RESAMPLES = 500
FEWEST_BETAS = 3
"""A curve through fewer points says nothing about a peak."""


@dataclass(frozen=True)
class Rewards:
    """Rewards of both pictures of each pair."""

    pair: Ints  # numbers of the pairs, each once, shape (n,)
    # By reward: (of arm a's picture, of arm b's), each of shape (n,), finite.
    values: Mapping[str, tuple[Floats, Floats]]

    def __post_init__(self) -> None:
        if len(np.unique(self.pair)) < len(self.pair):
            raise StudyError("Rewards name a pair twice. Give one reward per picture and pair.")
        for name, arms in self.values.items():
            if any(np.shape(arm) != np.shape(self.pair) for arm in arms):
                raise StudyError(
                    f"Reward {name!r} does not have one value per pair: {len(self.pair)} pairs, "
                    f"{len(arms[0])} and {len(arms[1])} values."
                )
            if not all(np.isfinite(arm).all() for arm in arms):
                raise StudyError(f"Reward {name!r} has values that are not finite.")

    def signs(self, pairs: Ints) -> tuple[Flags, dict[str, Floats]]:
        """Which of the pairs have rewards, and by reward the signs of a - b on these."""
        known = np.isin(pairs, self.pair)
        order = np.argsort(self.pair)
        place = order[np.searchsorted(self.pair, pairs[known], sorter=order)]
        return known, {name: np.sign(a - b)[place] for name, (a, b) in self.values.items()}


@dataclass(frozen=True)
class Agreement:
    """Pairs that a reward, or "another rater", and most people decide, and in which they agree."""

    reward: str
    agreed: Share
    interval: ScoreInterval | None


@dataclass(frozen=True)
class CurvePoint:
    """One comparison on the curve of the paper's Figure 4.

    `beta` weights arm a's divergence. `reward_share` counts pairs in which the reward prefers arm
    a, ties half; `reward_gain` is the mean of reward(a) - reward(b); `human_score` is arm a's.
    """

    reward: str
    comparison: str
    beta: float | None
    reward_share: float
    reward_gain: float
    human_score: float
    interval: ScoreInterval | None


def reward_agreement(votes: Votes, rewards: Rewards) -> list[Agreement]:
    """Every reward, and "another rater", against the majority of people by pair, best first."""
    pairs, first, row = np.unique(votes.pair, return_index=True, return_inverse=True)
    signs = 2 * votes.scores - 1
    margin = np.bincount(row, signs, minlength=len(pairs))
    known, by_name = rewards.signs(pairs)
    agreements = [
        _agreement(name, sign * np.sign(margin[known]), votes.prompt[first][known])
        for name, sign in by_name.items()
    ]
    others = margin[row] - signs
    agreements.append(_agreement("another rater", np.sign(others) * signs, votes.prompt))
    return sorted(agreements, key=lambda agreement: -(agreement.agreed.share or 0))


def _agreement(name: str, agree: Floats, prompt: Ints) -> Agreement:
    """Share of agree == 1 among agree != 0, prompts resampled for the interval."""
    decided = agree != 0
    prompts, row = np.unique(prompt[decided], return_inverse=True)
    share = Share(int((agree == 1).sum()), int(decided.sum()))
    if len(prompts) < 2:
        return Agreement(name, share, None)
    totals = np.bincount(row, minlength=len(prompts))
    hits = np.bincount(row, agree[decided] == 1, minlength=len(prompts))
    rng = np.random.default_rng(0)
    draws = rng.multinomial(len(prompts), np.full(len(prompts), 1 / len(prompts)), NUM_RESAMPLES)
    low, high = np.quantile((draws @ hits) / (draws @ totals), [0.025, 0.975])
    return Agreement(name, share, ScoreInterval(float(low), float(high)))


def hacking_curve(
    votes: Votes, rewards: Rewards, outcomes: Sequence[Outcome], betas: Mapping[str, float | None]
) -> list[CurvePoint]:
    """Each reward's preference against people's by falling beta of arm a: the paper's Figure 4."""
    points = []
    for name, (arm_a, arm_b) in rewards.values.items():
        for outcome in outcomes:
            asked = np.unique(votes.pair[votes.comparison == outcome.comparison])
            difference = (arm_a - arm_b)[np.isin(rewards.pair, asked)]
            if not len(difference) or outcome.score is None:
                continue
            points.append(
                CurvePoint(
                    reward=name,
                    comparison=outcome.comparison,
                    beta=betas.get(outcome.comparison),
                    reward_share=float((np.sign(difference).mean() + 1) / 2),
                    reward_gain=float(difference.mean()),
                    human_score=outcome.score,
                    interval=outcome.interval,
                )
            )
    names = list(rewards.values)
    return sorted(points, key=lambda p: (names.index(p.reward), -(p.beta or 0)))


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
