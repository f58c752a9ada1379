r"""Simulated raters: a utility model whose true score is known in closed form.

The rater's utility of arm a over arm b on one showing is

.. math:: u = m + p_{prompt} + r_{rater} \pm s + e, \quad
   p \sim N(0, \sigma_p^2),\; r \sim N(0, \sigma_r^2),\; e \sim N(0, 1)

with + s where arm a stands on the left. The answer is a if u > tie_width, b if u < -tie_width, and
a tie between; with probability `lapse` it is drawn from the allowed answers instead. This file
shares no code with the estimators, so that it can judge them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from rocm.errors import StudyError
from rocm.study.statistics.votes import Flags, Floats, Ints, Votes, Words

LARGEST_ADVANTAGE = 20.0
"""Beyond it the score is 0 or 1 for any spread that is of interest."""


@dataclass(frozen=True)
class Utility:
    """How simulated raters answer one question about one comparison."""

    advantage: float = 0.0  # m, mean utility of arm a over arm b, in deviations of the noise
    prompt_sd: float = 0.5  # spread of the advantage over prompts, >= 0
    rater_sd: float = 0.2  # spread of the advantage over raters, >= 0
    side: float = 0.1  # s, pull of the left picture
    tie_width: float = 0.2  # utilities within +- this are ties, >= 0; 0 means that nobody ties
    lapse: float = 0.02  # probability of an answer regardless of the pictures, in [0, 1]

    def expected_score(self) -> float:
        """Score over the population of prompts and raters, sides balanced, in closed form."""
        from scipy.special import ndtr

        spread = math.sqrt(1 + self.prompt_sd**2 + self.rater_sd**2)
        edges = [
            ndtr((self.advantage + side + edge) / spread)
            for side in (-self.side, self.side)
            for edge in (-self.tie_width, self.tie_width)
        ]
        return float((1 - self.lapse) * sum(edges) / len(edges) + self.lapse / 2)

    def with_score(self, score: float) -> "Utility":
        """The raters of expected score `score`, strictly between lapse / 2 and 1 - lapse / 2."""
        low, high = self.lapse / 2, 1 - self.lapse / 2
        if not low < score < high:
            raise StudyError(
                f"Score {score} cannot be reached with lapse={self.lapse}. Choose one strictly "
                f"between {low:.3g} and {high:.3g}, or fewer lapses."
            )
        from scipy.optimize import brentq

        advantage = brentq(
            lambda m: replace(self, advantage=m).expected_score() - score,
            -LARGEST_ADVANTAGE,
            LARGEST_ADVANTAGE,
        )
        return replace(self, advantage=float(advantage))


@dataclass(frozen=True)
class Design:
    """Sizes of a study.

    A rater sees `num_repeats` pairs again with sides flipped, and `num_checks` attention checks,
    per comparison; the first `num_careless` raters answer everything at random.
    """

    num_prompts: int = 300
    num_raters: int = 30
    votes_per_pair: int = 5
    num_repeats: int = 0
    num_checks: int = 0
    num_careless: int = 0

    def __post_init__(self) -> None:
        if min(self.num_prompts, self.num_raters, self.votes_per_pair) < 1:
            raise StudyError(f"{self} is empty. Prompts, raters and votes per pair are at least 1.")
        if self.votes_per_pair > self.num_raters:
            raise StudyError(
                f"{self.votes_per_pair} votes per pair need as many raters, and there are "
                f"{self.num_raters}. Take more raters or fewer votes per pair."
            )


def blocks(design: Design, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """(prompt, rater) of each vote: distinct raters per prompt, equal work up to one vote."""
    load = np.zeros(design.num_raters)
    rows = []
    for _ in range(design.num_prompts):
        chosen = np.argsort(load + rng.random(design.num_raters))[: design.votes_per_pair]
        load[chosen] += 1
        rows.append(chosen)
    prompt = np.repeat(np.arange(design.num_prompts), design.votes_per_pair)
    return prompt, np.concatenate(rows)


def answers(
    utility: Utility, taste: Floats, a_is_left: Flags, lapse: Floats, rng: np.random.Generator
) -> Words:
    """One answer per showing, "a", "b" or "tie"; `taste` is prompt plus rater effect, (n,)."""
    size = len(taste)
    pull = np.where(a_is_left, utility.side, -utility.side)
    u = utility.advantage + taste + pull + rng.standard_normal(size)
    honest = np.where(np.abs(u) < utility.tie_width, "tie", np.where(u > 0, "a", "b"))
    allowed = ["a", "b", "tie"] if utility.tie_width else ["a", "b"]
    return np.where(rng.random(size) < lapse, rng.choice(allowed, size), honest)


def simulate(
    design: Design, models: Mapping[tuple[str, str], Utility], rng: np.random.Generator
) -> Votes:
    """A whole study by simulated raters, with one utility per (comparison, question).

    Each draws its own prompt and rater effects; a comparison's questions share the assignment.
    """
    parts = []
    comparisons = list(dict.fromkeys(comparison for comparison, _ in models))
    for number, comparison in enumerate(comparisons):
        trials = _trials(design, number, rng)
        for (name, question), utility in models.items():
            if name == comparison:
                parts.append(_vote(design, trials, (comparison, question, utility), rng))
    return Votes.joined(parts)


def _trials(design: Design, number: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Showings of one comparison: main ones in random order, then repeats, then checks."""
    prompt, rater = blocks(design, rng)
    order = rng.permutation(len(prompt))
    prompt, rater = prompt[order], rater[order]
    a_is_left = rng.random(len(prompt)) < 0.5
    repeats = np.concatenate(
        [np.flatnonzero(rater == r)[: design.num_repeats] for r in range(design.num_raters)]
    )
    checkers = np.repeat(np.arange(design.num_raters), design.num_checks)
    check = design.num_prompts + np.tile(np.arange(design.num_checks), design.num_raters)
    size, num_checks = len(prompt), len(checkers)
    prompt = np.concatenate([prompt, prompt[repeats], check])
    return {
        "prompt": prompt,
        "rater": np.concatenate([rater, rater[repeats], checkers]),
        "pair": prompt + number * (design.num_prompts + design.num_checks),
        "a_is_left": np.concatenate([a_is_left, ~a_is_left[repeats], rng.random(num_checks) < 0.5]),
        "kind": np.repeat(["main", "main", "check"], [size, len(repeats), num_checks]),
        "repetition": np.repeat([0, 1, 0], [size, len(repeats), num_checks]),
    }


def _vote(
    design: Design,
    trials: Mapping[str, np.ndarray],
    asked: tuple[str, str, Utility],
    rng: np.random.Generator,
) -> Votes:
    comparison, question, utility = asked
    size = len(trials["prompt"])
    by_prompt = rng.normal(0, utility.prompt_sd, design.num_prompts + design.num_checks)
    by_rater = rng.normal(0, utility.rater_sd, design.num_raters)
    taste = by_prompt[trials["prompt"]] + by_rater[trials["rater"]]
    lapse = np.where(trials["rater"] < design.num_careless, 1.0, utility.lapse)
    choice = answers(utility, taste, trials["a_is_left"], lapse, rng)
    is_check = trials["kind"] == "check"
    truth = np.where(trials["prompt"] % 2 == 0, "a", "b")
    guess = rng.choice(["a", "b"], size)
    checked = np.where(rng.random(size) < lapse, guess, truth)
    return Votes(
        **{name: trials[name] for name in ("rater", "prompt", "pair", "kind", "repetition")},
        comparison=np.full(size, comparison),
        question=np.full(size, question),
        choice=np.where(is_check, checked, choice),
        left_is=np.where(trials["a_is_left"], "a", "b"),
        rt_ms=np.where(lapse == 1, 600.0, 4000.0) * np.exp(rng.normal(0, 0.4, size)),
        excluded=np.zeros(size, dtype=bool),
        unseen=np.zeros(size, dtype=bool),
        category=np.full(size, ""),
        expected=np.where(is_check, truth, ""),
    )
