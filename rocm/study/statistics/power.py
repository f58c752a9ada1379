"""Power of a design, its cost, and the precision when a study is closed early: by simulation.

Power is that of the headline's p-value, alone and at the first step of Holm's procedure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rocm.errors import StudyError
from rocm.study.statistics.crossed import VoteTable, fit_components
from rocm.study.statistics.outcomes import HEADLINE, sign_test
from rocm.study.statistics.score_intervals import METHODS, satterthwaite_p_value, student
from rocm.study.statistics.simulate import Design, Utility, simulate
from rocm.study.statistics.votes import Votes

SCORES = (0.55, 0.58, 0.60, 0.65)
ALPHA = 0.05
INTRODUCTION_MINUTES = 3.0  # consent, instructions and practice
NUM_SIMULATIONS = 400
FRACTIONS = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Power:
    """Share of simulated studies that would find a true score, with mean width and largest error.

    `interval` counts headline intervals without 1/2, `holm` the headline's p-values below
    0.05 / comparisons, and `sign_test` those of the sign test. At a score of 1/2 all three are
    type-I error rates.
    """

    score: float
    interval: float
    holm: float
    sign_test: float
    width: float
    error: float


@dataclass(frozen=True)
class Workload:
    """Work and cost of a design; minutes include the introduction."""

    num_trials: int
    trials_per_rater: int
    minutes_per_rater: float
    cost: float


def power(
    design: Design,
    num_comparisons: int,
    utility: Utility,
    scores: Sequence[float] = SCORES,
    num_simulations: int = NUM_SIMULATIONS,
) -> list[Power]:
    """Power of the design at each true score, in (0, 1), in Holm's family of `num_comparisons`."""
    raters = [utility.with_score(score) for score in scores]
    return [_power(design, num_comparisons, one, num_simulations) for one in raters]


def _power(design: Design, num_comparisons: int, utility: Utility, size: int) -> Power:
    rng = np.random.default_rng(0)
    p_values, signs, widths = [], [], []
    for _ in range(size):
        votes = simulate(design, {("c", "q"): utility}, rng).opinions()
        table = VoteTable.of(votes)
        p_values.append(satterthwaite_p_value(table))
        signs.append(sign_test(votes).p_value)
        if interval := METHODS[HEADLINE](table):
            widths.append(interval.width)
    level = ALPHA / num_comparisons
    tests = ((p_values, ALPHA), (p_values, level), (signs, level))
    shares = [sum(p is not None and p < most for p in found) / size for found, most in tests]
    return Power(
        score=utility.expected_score(),
        interval=shares[0],
        holm=shares[1],
        sign_test=shares[2],
        width=float(np.mean(widths)) if widths else 1.0,
        error=max(math.sqrt(share * (1 - share) / size) for share in shares),
    )


def workload(
    design: Design, num_comparisons: int, seconds_per_trial: float, pay_per_hour: float
) -> Workload:
    """Trials, minutes and cost of a design with `num_comparisons` of the same size."""
    if seconds_per_trial <= 0 or pay_per_hour < 0:
        raise StudyError(
            f"seconds_per_trial={seconds_per_trial} must be positive, and "
            f"pay_per_hour={pay_per_hour} not negative."
        )
    per_rater = design.num_repeats + design.num_checks
    votes = design.num_prompts * design.votes_per_pair
    trials = num_comparisons * (votes + design.num_raters * per_rater)
    share = math.ceil(trials / design.num_raters)
    minutes = INTRODUCTION_MINUTES + share * seconds_per_trial / 60
    cost = design.num_raters * minutes / 60 * pay_per_hour
    return Workload(trials, share, minutes, cost)


def widths_when_closed_early(
    design: Design,
    utility: Utility,
    fractions: Sequence[float] = FRACTIONS,
    num_simulations: int = 100,
) -> dict[float, float]:
    """Mean width of the headline interval by share of the votes; 1 without any interval."""
    rng = np.random.default_rng(0)
    widths: dict[float, list[float]] = {fraction: [] for fraction in fractions}
    for _ in range(num_simulations):
        votes = simulate(design, {("c", "q"): utility}, rng).opinions()
        for fraction in fractions:
            first = votes.where(np.arange(max(1, round(fraction * len(votes)))))
            if interval := METHODS[HEADLINE](VoteTable.of(first)):
                widths[fraction].append(interval.width)
    return {key: float(np.mean(values)) if values else 1.0 for key, values in widths.items()}


def width_when_complete(votes: Votes, design: Design) -> float | None:
    """Expected width once the balanced design is complete; None if it cannot be estimated."""
    components = fit_components(VoteTable.of(votes)) if len(votes) else None
    if components is None:
        return None
    variance = (
        components.prompt / design.num_prompts
        + components.rater / design.num_raters
        + components.rest / (design.num_prompts * design.votes_per_pair)
    )
    interval = student(0.5, variance, min(design.num_prompts, design.num_raters) - 1)
    return interval.width if interval else None
