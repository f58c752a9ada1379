r"""Strengths of three or more arms from their pairwise votes.

Bradley-Terry counts a tie as half a win for either arm, which pulls strengths together; Davidson
(1970) gives ties a parameter of their own:

.. math:: P(i) \propto \pi_i, \quad P(j) \propto \pi_j, \quad P(tie) \propto \nu \sqrt{\pi_i \pi_j}

Strengths are log pi, centered on 0. A maximum exists only if no group of arms wins every vote
against the rest; where it does not, the answer is a sentence instead of numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from rocm.study.statistics.votes import Floats, Ints, Votes

Pairs = Mapping[str, tuple[str, str]]
FREQUENT_TIES = 0.15
"""Share of ties above which Davidson's model is used."""
NUM_RESAMPLES = 200
LARGEST_STRENGTH = 15.0
"""A fit beyond it has run away: odds of more than a million to one."""


@dataclass(frozen=True)
class Games:
    """Weighted results between pairs of arms, one element per ordered pair that met.

    `first` and `second` are numbers of arms, shape (n,); `results` weights of wins of the first,
    ties and wins of the second, shape (n, 3).
    """

    first: Ints
    second: Ints
    results: Floats

    @property
    def tie_share(self) -> float:
        """Ties among all votes, in [0, 1]."""
        return float(self.results[:, 1].sum() / self.results.sum())


@dataclass(frozen=True)
class Ranking:
    """Strengths log pi, mean 0, with bootstrap 95 % intervals; `note` says why there are none."""

    model: str
    strengths: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    tie_parameter: float | None
    note: str


def rank(votes: Votes, arms: Pairs) -> Ranking:
    """Strengths of all arms by the model that suits the ties; `arms` are a and b by comparison."""
    names = sorted({arm for pair in arms.values() for arm in pair})
    games = tally(votes, arms, names, np.ones(len(votes)))
    if not len(games.first):
        return Ranking("Bradley-Terry", {}, {}, None, "There are no votes yet.")
    is_davidson = games.tie_share > FREQUENT_TIES
    model = "Davidson" if is_davidson else "Bradley-Terry"
    fit: Callable[[Games, int], Floats | None] = davidson if is_davidson else bradley_terry
    values = fit(games, len(names))
    if values is None:
        return Ranking(model, {}, {}, None, why_not(games, len(names)))
    strengths = dict(zip(names, values[: len(names)].tolist(), strict=True))
    tie_parameter = float(np.exp(values[-1])) if is_davidson else None
    fits = [fit(tally(votes, arms, names, w), len(names)) for w in _weights(votes)]
    resampled = [fitted for fitted in fits if fitted is not None]
    if len(resampled) < len(fits):
        note = "No intervals: without some prompts or raters an arm wins or loses every vote."
        return Ranking(model, strengths, {}, tie_parameter, note)
    low, high = np.quantile(np.stack(resampled), [0.025, 0.975], 0)
    intervals = {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}
    return Ranking(model, strengths, intervals, tie_parameter, "")


def tally(votes: Votes, arms: Pairs, names: list[str], weights: Floats) -> Games:
    """Results of each comparison, votes weighted; comparisons without weight are left out."""
    rows = []
    for comparison, (a, b) in arms.items():
        asked = votes.comparison == comparison
        results = [weights[asked & (votes.choice == choice)].sum() for choice in ("a", "tie", "b")]
        if sum(results):
            rows.append((names.index(a), names.index(b), *results))
    table = np.array(rows, dtype=float).reshape(-1, 5)
    return Games(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:])


def is_separable(games: Games, num_arms: int) -> bool:
    """Whether some group of arms wins every vote against the rest, or never meets it."""
    from scipy.sparse.csgraph import connected_components

    beats = np.zeros((num_arms, num_arms))
    rows = zip(games.first, games.second, games.results, strict=True)
    for first, second, (win, tie, loss) in rows:
        beats[first, second] += win + tie
        beats[second, first] += loss + tie
    return bool(connected_components(beats, connection="strong")[0] > 1)


def why_not(games: Games, num_arms: int) -> str:
    """Why strengths do not exist, as a sentence."""
    from scipy.sparse.csgraph import connected_components

    met = np.zeros((num_arms, num_arms))
    met[games.first, games.second] = 1
    if connected_components(met, directed=False)[0] > 1:
        return "No ranking: the comparisons do not connect all arms with each other."
    if is_separable(games, num_arms):
        return "No ranking: an arm, or a group of arms, wins every vote against the others."
    return "No ranking: the fit did not converge."


def bradley_terry(games: Games, num_arms: int) -> Floats | None:
    """log pi by Bradley and Terry (1952), ties as half wins, by evalica.

    Returns strengths of mean 0, shape (K,), or None if there is no maximum.
    """
    if is_separable(games, num_arms):
        return None
    import evalica  # and with it pandas

    size = len(games.first)
    winners = np.tile([evalica.Winner.X, evalica.Winner.Draw, evalica.Winner.Y], size)
    result = evalica.bradley_terry(
        np.repeat(games.first, 3).tolist(),
        np.repeat(games.second, 3).tolist(),
        [evalica.Winner(int(winner)) for winner in winners],
        weights=games.results.ravel().tolist(),
        tolerance=1e-10,
        limit=10_000,
    )
    strengths = np.log(result.scores.reindex(range(num_arms)).to_numpy(dtype=float))
    return strengths - strengths.mean() if np.isfinite(strengths).all() else None


def davidson(games: Games, num_arms: int) -> Floats | None:
    """Davidson's log pi of mean 0 and log nu by maximum likelihood, shape (K + 1,), or None."""
    if is_separable(games, num_arms) or games.tie_share in (0.0, 1.0):
        return None
    from scipy.optimize import minimize

    def loss(values: Floats) -> tuple[float, Floats]:
        first, second = values[games.first], values[games.second]
        logits = np.stack([first, values[-1] + (first + second) / 2, second], 1)
        log_sum = np.logaddexp.reduce(logits, 1)
        excess = np.exp(logits - log_sum[:, None]) * games.results.sum(1, keepdims=True)
        excess -= games.results  # (n, 3), gradient with respect to the logits
        gradient = np.zeros(num_arms + 1)
        np.add.at(gradient, games.first, excess[:, 0] + excess[:, 1] / 2)
        np.add.at(gradient, games.second, excess[:, 2] + excess[:, 1] / 2)
        gradient[-1] = excess[:, 1].sum()
        total = games.results.sum()
        loss = -(games.results * (logits - log_sum[:, None])).sum()
        return float(loss / total), gradient / total

    result = minimize(loss, np.zeros(num_arms + 1), jac=True, method="BFGS")
    values: Floats = result.x.copy()
    values[:-1] -= values[:-1].mean()
    if np.abs(result.jac).max() > 1e-4 or np.abs(values).max() > LARGEST_STRENGTH:
        return None
    return values


def _weights(votes: Votes) -> list[Floats]:
    """Weights of the votes in each resample: that of the prompt times that of the rater."""
    rng = np.random.default_rng(0)
    prompts, row = np.unique(votes.prompt, return_inverse=True)
    raters, column = np.unique(votes.rater, return_inverse=True)
    weights = []
    for _ in range(NUM_RESAMPLES):
        by_prompt = rng.multinomial(len(prompts), np.full(len(prompts), 1 / len(prompts)))
        by_rater = rng.multinomial(len(raters), np.full(len(raters), 1 / len(raters)))
        weights.append((by_prompt[row] * by_rater[column]).astype(float))
    return weights
