r"""Scores against the distance from the base model, and the two laws of Gao et al. (2210.10760).

.. math:: R = d (\alpha - \beta d) \text{ (best of n)}, \quad
          R = d (\alpha - \beta \ln d) \text{ (RL)}, \quad d = \sqrt{\mathrm{KL}}

Both are linear in alpha and beta, and fitted by least squares. They were found for language models;
for back-propagation neither was tested.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from rocm.errors import ConfigError
from rocm.rewards.names import TASTE, audited
from rocm.runs.run_dir import RunDir

MIN_POINTS = 5
EXPLAINED = 0.7  # share of the variance below which a law does not fit
WINDOW = 5  # updates whose KL is averaged for a point
BEST_OF_N, RL = "best-of-n", "RL"


@dataclass(frozen=True)
class Point:
    """Scores by name in the base model's deviations from its mean, at d = sqrt(KL) > 0."""

    distance: float
    scores: dict[str, float]


@dataclass(frozen=True)
class Fit:
    """A fitted law; errors are standard errors, `explained` is the adjusted R^2 (<= 1)."""

    law: str
    alpha: float
    beta: float
    alpha_error: float
    beta_error: float
    explained: float

    def at(self, distance: float) -> float:
        """R at a distance > 0."""
        bend = distance if self.law == BEST_OF_N else math.log(distance)
        return distance * (self.alpha - self.beta * bend)

    @property
    def peak(self) -> float | None:
        """The distance at which R is largest; None if beta is not above 0 by two errors."""
        if self.beta <= 2 * self.beta_error:
            return None
        ratio = self.alpha / self.beta
        return ratio / 2 if self.law == BEST_OF_N else math.exp(min(ratio - 1, 700.0))


def fits(distances: Sequence[float], scores: Sequence[float]) -> list[Fit]:
    """Both laws, best-of-n first; ConfigError for fewer than `MIN_POINTS` distances above 0."""
    if min(distances, default=1.0) <= 0 or len(set(distances)) < MIN_POINTS:
        raise ConfigError(
            f"Different distances from the base model: {len(set(distances))}. A law needs at least "
            f"{MIN_POINTS}, all above 0. Evaluate more often, or train with more betas."
        )
    d, r = np.array(distances), np.array(scores)
    return [_fit(law, d, r) for law in (BEST_OF_N, RL)]


def _fit(law: str, d: Any, r: Any) -> Fit:
    columns = np.stack([d, -d * (d if law == BEST_OF_N else np.log(d))], axis=1)
    (alpha, beta), *_ = np.linalg.lstsq(columns, r, rcond=None)
    left = r - columns @ [alpha, beta]
    variance = left @ left / (len(r) - 2)
    errors = np.sqrt(np.diag(variance * np.linalg.inv(columns.T @ columns)))
    explained = 1 - variance / max(r.var(ddof=1), 1e-30)
    return Fit(law, *map(float, (alpha, beta, *errors, explained)))


def describe(points: Sequence[Point], name: str) -> tuple[Fit | None, str]:
    """The law that fits a score better, None if neither fits, and a sentence."""
    pairs = [(point.distance, point.scores[name]) for point in points if name in point.scores]
    try:
        laws = fits([distance for distance, _ in pairs], [score for _, score in pairs])
    except ConfigError as error:
        return None, str(error)
    best = max(laws, key=lambda fit: fit.explained)
    if best.explained < EXPLAINED:
        shares = " and ".join(f"{max(fit.explained, 0):.0%}" for fit in laws)
        return None, f"{name}: neither law fits; they explain {shares} of its variance."
    peak, farthest = best.peak, max(distance for distance, _ in pairs)
    words = f"peak at {peak**2:.3g} nats" if peak else "no peak"
    if peak and peak > farthest:
        words = f"peak beyond the {farthest**2:.3g} nats that were measured"
    return best, (
        f"{name}: {best.law}, alpha {best.alpha:.3g} ± {best.alpha_error:.2g}, beta "
        f"{best.beta:.3g} ± {best.beta_error:.2g}, explains {best.explained:.0%}; {words}."
    )


def run_points(run: RunDir) -> list[Point]:
    """A point for each evaluation of a run after step 0 whose KL is known.

    Its scores are `reward`, `judge`, `audit` and `taste`, as far as they were measured.
    """
    rows, manifest, config = run.metrics(), run.manifest(), run.config()
    audit, base = audited(config), manifest.get("base_scores", {})
    columns = {"reward": ("eval/reward", manifest.get("base_reward"))}
    columns["judge"] = (f"heldout/{config.judge}", base.get(config.judge))
    columns["audit"] = (f"audit/{audit}", base.get(audit))
    columns[TASTE] = (f"eval/reward/{TASTE}", base.get(TASTE))
    points = []
    for place, row in enumerate(rows):
        near = rows[max(0, place - WINDOW + 1) : place + 1]
        nats = [update["kl_nats"] for update in near if "kl_nats" in update]
        if not row["step"] or "eval/reward" not in row or not nats or fmean(nats) <= 0:
            continue
        scores = {
            label: (row[column] - scale["mean"]) / max(scale["deviation"], 1e-6)
            for label, (column, scale) in columns.items()
            if column in row and scale
        }
        points.append(Point(math.sqrt(fmean(nats)), scores))
    return points
