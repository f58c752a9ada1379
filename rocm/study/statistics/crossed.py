r"""The score of one comparison when prompts and raters are both samples: variance components.

The model of the mixed fit is y = mu + p[prompt] + r[rater] + e with independent effects of
variances sigma_p^2, sigma_r^2, sigma_e^2, fitted by restricted maximum likelihood (REML; Patterson
and Thompson 1971). Scores are 0, 1/2 and 1, so it is a linear probability model: mu is the score
itself, and no link function stands between the model and what is reported.
"""

from dataclasses import dataclass

import numpy as np

from rocm.study.statistics.votes import Floats, Votes

LARGEST_RATIO = 1e3
"""Bound of sigma_p^2 / sigma_e^2 and sigma_r^2 / sigma_e^2 in the search."""


@dataclass(frozen=True)
class VoteTable:
    """Votes of one comparison and question as a table of P prompts by R raters."""

    counts: Floats  # votes in each cell, shape (P, R), >= 0
    sums: Floats  # of the scores in each cell, shape (P, R)
    square: float  # sum of the squared scores over all votes

    @classmethod
    def of(cls, votes: Votes) -> "VoteTable":
        """Cells of `votes`; prompts and raters without a vote do not appear."""
        prompts, row = np.unique(votes.prompt, return_inverse=True)
        raters, column = np.unique(votes.rater, return_inverse=True)
        shape = (len(prompts), len(raters))
        cell = row * shape[1] + column
        scores = votes.scores
        size = shape[0] * shape[1]
        return cls(
            np.bincount(cell, minlength=size).reshape(shape).astype(float),
            np.bincount(cell, scores, minlength=size).astype(float).reshape(shape),
            float(scores @ scores),
        )

    @property
    def num_votes(self) -> float:
        """N, votes in all."""
        return float(self.counts.sum())

    @property
    def score(self) -> float:
        """Mean score, (wins + ties / 2) / N, in [0, 1]."""
        return float(self.sums.sum() / self.counts.sum())


@dataclass(frozen=True)
class Components:
    """Variances of a score between prompts (>= 0), between raters (>= 0), and of the rest (> 0)."""

    prompt: float
    rater: float
    rest: float

    def variance_of_mean(self, counts: Floats) -> float:
        r"""Variance of the plain mean of all votes, from votes per cell, shape (P, R).

        .. math:: \sigma_p^2 \sum_p n_p^2 / N^2 + \sigma_r^2 \sum_r n_r^2 / N^2 + \sigma_e^2 / N
        """
        total = counts.sum()
        by_prompt = (counts.sum(1) ** 2).sum() / total**2
        by_rater = (counts.sum(0) ** 2).sum() / total**2
        return float(self.prompt * by_prompt + self.rater * by_rater + self.rest / total)


def fit_components(table: VoteTable) -> Components | None:
    """Variance components by REML, one R x R system per evaluation; None without a fit."""
    spread = table.square - table.num_votes * table.score**2
    if min(table.counts.shape) < 2 or spread < 1e-9 or table.num_votes < 4:
        return None
    from scipy.optimize import minimize

    result = minimize(
        lambda ratios: _criterion(table, ratios)[0],
        x0=(0.1, 0.05),
        method="L-BFGS-B",
        bounds=[(0, LARGEST_RATIO)] * 2,
    )
    if not result.success or max(result.x) >= LARGEST_RATIO:
        return None
    rest = _criterion(table, result.x)[1]
    return Components(float(result.x[0] * rest), float(result.x[1] * rest), rest)


def _criterion(table: VoteTable, ratios: Floats) -> tuple[float, float]:
    """-2 log restricted likelihood, up to a constant, and sigma_e^2 at these variance ratios."""
    roots = np.sqrt(ratios)
    counts, total = table.counts, table.num_votes
    prompts = 1 + ratios[0] * counts.sum(1)  # (P,), diagonal block of M = I + D Z'Z D
    between = roots[0] * roots[1] * counts  # (P, R)
    schur = np.diag(1 + ratios[1] * counts.sum(0)) - between.T @ (between / prompts[:, None])
    # Columns: the vectors 1 and y, projected on prompts and raters.
    on_prompts = roots[0] * np.stack([counts.sum(1), table.sums.sum(1)], 1)
    on_raters = roots[1] * np.stack([counts.sum(0), table.sums.sum(0)], 1)
    reduced = on_raters - between.T @ (on_prompts / prompts[:, None])
    explained = on_prompts.T @ (on_prompts / prompts[:, None])
    explained += reduced.T @ np.linalg.solve(schur, reduced)
    total_score = table.sums.sum()
    left = np.array([[total, total_score], [total_score, table.square]]) - explained
    residual = left[1, 1] - left[0, 1] ** 2 / left[0, 0]
    log_det = np.log(prompts).sum() + np.linalg.slogdet(schur)[1] + np.log(left[0, 0])
    return float((total - 1) * np.log(residual) + log_det), float(residual / (total - 1))
