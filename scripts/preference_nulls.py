"""How often a learned reward is refused or accepted, on simulated votes of known truth.

`python -m scripts.preference_nulls --studies 100` prints a row per kind of rater: `coin` answers at
random, `left` prefers the left picture, `taste` votes by a hidden utility of the features, by
Davidson's model. Features are random, so that no picture is drawn.
"""

import argparse
import sys
from dataclasses import dataclass

import numpy as np

from rocm.study.statistics import preference_checks as checks
from rocm.study.statistics.agreement import Share
from rocm.study.statistics.preference_fit import Choices, learn

NUM_REWARDS = 3


@dataclass(frozen=True)
class Crowd:
    """Simulated raters and the study that they answer.

    Attributes:
        kind: coin, left or taste.
        num_votes: first answers; a tenth as many are repeated with flipped sides.
        num_prompts: each has two pictures of every arm.
        num_raters: each with a pull to a side of deviation 0.3 logits.
        num_features: the first three are rewards.
        num_arms: two of them meet in three votes of four, pictures of an arm in the others.
        strength: deviation of the utility's difference, in logits.
    """

    kind: str = "taste"
    num_votes: int = 600
    num_prompts: int = 60
    num_raters: int = 20
    num_features: int = 20
    num_arms: int = 3
    strength: float = 2.0


def simulate(crowd: Crowd, rng: np.random.Generator) -> tuple[Choices, Share, np.ndarray]:
    """Votes, agreement of flipped repeats, and the true weights of the features, (D,)."""
    n, size = crowd.num_votes, crowd.num_features
    truth = rng.normal(size=size) + np.where(np.arange(size) < NUM_REWARDS, 1.0, 0.0)
    truth *= crowd.strength / np.linalg.norm(truth)
    arms = 0.3 * rng.normal(size=(crowd.num_arms, 1, size))
    pictures = arms + rng.normal(size=(crowd.num_prompts, crowd.num_arms, 2, size))
    prompt, rater = rng.integers(crowd.num_prompts, size=n), rng.integers(crowd.num_raters, size=n)
    first = rng.integers(crowd.num_arms, size=n)
    other = (first + rng.integers(1, crowd.num_arms, size=n)) % crowd.num_arms
    second = np.where(rng.random(n) < 0.25, first, other)
    difference = pictures[prompt, first, 0] - pictures[prompt, second, 1]
    scale = np.sqrt((difference**2).mean(0))
    side = rng.choice([-1.0, 1.0], n)
    pull = 0.3 * rng.normal(size=crowd.num_raters)[rater]
    answers = []
    for shown in (side, -side):
        by_kind = {"coin": 0 * side, "left": 8 * shown, "taste": difference @ truth + pull * shown}
        eta = by_kind[crowd.kind]
        shares = np.exp(np.stack([eta / 2, np.full(n, -1.0), -eta / 2]))
        answers.append((rng.random(n) > (shares / shares.sum(0)).cumsum(0)).sum(0).clip(max=2))
    decided = ((answers[0] != 1) & (answers[1] != 1))[: n // 10]
    repeats = Share(int((answers[0] == answers[1])[: n // 10][decided].sum()), int(decided.sum()))
    met = np.eye(crowd.num_arms)[first] - np.eye(crowd.num_arms)[second]
    choices = Choices(difference / scale, side, answers[0], prompt, rater, met, NUM_REWARDS)
    return choices, repeats, truth * scale


def main() -> None:
    """Print a row per kind of rater."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--votes", type=int, default=600)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--kinds", nargs="+", default=["coin", "left", "taste"])
    options = parser.parse_args()
    names = [f"reward {k}" for k in range(NUM_REWARDS)]
    for kind in options.kinds:
        refused, by_signal, shares = 0, 0, []
        for seed in range(options.studies):
            crowd = Crowd(kind, options.votes, num_features=options.features)
            choices, repeats, truth = simulate(crowd, np.random.default_rng([seed, 7]))
            held_out = checks.cross_validate(choices, names)
            gains = checks.gains(choices, held_out)
            freedom = learn(choices, held_out.plan).freedom
            refused += bool(checks.refusals(choices, gains, repeats, freedom))
            # Without the repeats and the count of votes: what cross-validation alone refuses.
            by_signal += bool(checks.refusals(choices, gains, Share(0, 0), 1e-9))
            best = checks.accuracy(choices, choices.difference @ truth).share or 1.0
            sys.stderr.write(f"{kind} {seed + 1}: refused {refused}, {by_signal}\n")
            shares.append((checks.accuracy(choices, held_out.utility).share or 0.0) / best)
        print(
            f"{kind}: refused {refused} of {options.studies}, by cross-validation alone "
            f"{by_signal}; held-out accuracy over the true utility's "
            f"{np.mean(shares):.3f} (least {np.min(shares):.3f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
