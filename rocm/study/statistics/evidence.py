r"""Evidence that may be looked at while votes come in.

A look asks how far the score is from 1/2 in units of its two-way clustered variance V (the
headline's), by the mixture of normal alternatives with spread tau (Robbins 1970):

.. math:: E = \sqrt{V / (V + \tau^2)} \,
   \exp\left(\frac{(score - 1/2)^2 \tau^2}{2 V (V + \tau^2)}\right)

Stopping at E >= 1 / alpha errs with probability alpha at most, after any number of looks, in so far
as the score is normal with that variance. V is widened by (t / z)^2 of the headline's degrees of
freedom, and a look needs some raters and prompts. Departure from the exact beta-binomial process
over votes or prompt majorities: that process takes prompts as independent, and raters who differ
make it err far too often (`docs/statistics.md` has the simulation of both).
"""

from dataclasses import dataclass
from math import exp, log

import numpy as np

from rocm.algorithms.intervals import LEVEL, Z, student_quantile
from rocm.study.statistics.crossed import VoteTable
from rocm.study.statistics.score_intervals import Multiway
from rocm.study.statistics.votes import Votes

SPREAD = 0.05
"""tau: the score's distance from 1/2 that the mixture looks for."""
FEWEST_RATERS = 8
FEWEST_PROMPTS = 10
NUM_LOOKS = 60
"""Most looks that `evidence` takes back into the past."""


@dataclass(frozen=True)
class Evidence:
    """E-values of "the score is 1/2"; `is_decided`: at any look E reached 1 / 0.05 = 20."""

    now: float | None
    largest: float | None
    is_decided: bool
    num_votes_at_decision: int | None
    note: str


def log_e_value(table: VoteTable) -> float | None:
    """log E of one look; None with fewer than 8 raters or 10 prompts, or with equal votes."""
    num_prompts, num_raters = table.counts.shape
    if num_raters < FEWEST_RATERS or num_prompts < FEWEST_PROMPTS:
        return None
    ways = Multiway.of(table)
    if ways is None:
        return None
    variance = ways.variance * (student_quantile(ways.satterthwaite_df) / Z) ** 2
    mixed = variance + SPREAD**2
    distance = (table.score - 0.5) ** 2
    return 0.5 * log(variance / mixed) + distance * SPREAD**2 / (2 * variance * mixed)


def evidence(votes: Votes) -> Evidence:
    """E at evenly spaced looks into the opinions about one comparison, in the order of storage."""
    sizes = np.unique(np.linspace(0, len(votes), NUM_LOOKS + 1).astype(int))[1:]
    looks = [(int(size), log_e_value(VoteTable.of(votes.where(np.arange(size))))) for size in sizes]
    valid = [(size, value) for size, value in looks if value is not None]
    if not valid:
        note = f"No e-value: it needs {FEWEST_RATERS} raters and {FEWEST_PROMPTS} prompts."
        return Evidence(None, None, False, None, note)
    decided = next((size for size, value in valid if value >= -log(1 - LEVEL)), None)
    largest = exp(min(max(value for _, value in valid), 700))
    last = looks[-1][1]
    now = None if last is None else exp(min(last, 700))
    return Evidence(now, largest, decided is not None, decided, "")
