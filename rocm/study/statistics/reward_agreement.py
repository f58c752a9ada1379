"""Do rewards agree with people? Per pair, and per comparison as in the paper's Figure 4.

A hacked reward prefers arm a more and more often while people's score of it falls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rocm.errors import StudyError
from rocm.study.statistics.agreement import Share
from rocm.study.statistics.outcomes import Outcome
from rocm.study.statistics.score_intervals import ScoreInterval
from rocm.study.statistics.votes import Flags, Floats, Ints, Votes

NUM_RESAMPLES = 500


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
