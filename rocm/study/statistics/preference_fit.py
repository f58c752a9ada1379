r"""A reward learned from votes: Davidson's model of ties on the features of two pictures.

With d the features of arm a's picture minus those of arm b's, s = 1 where a's picture stood on the
left and -1 elsewhere, and r the rater:

.. math:: \eta = w^T d + (\gamma + g_r)\, s, \qquad
   P(a), P(tie), P(b) \propto e^{\eta / 2},\; \nu,\; e^{-\eta / 2}

Minimized is the negative log-likelihood plus :math:`\frac12 \sum_k \lambda_k (w_k - w^0_k)^2 +
\frac{1}{2 \sigma_g^2} \sum_r g_r^2`, which is convex in (w, gamma, log nu, g). w0 are the weights
of the same model on columns of rewards alone: of all rewards, stacked, with or without their
squares, or of the single one that predicts left-out votes best. w is then multiplied by a
temperature, as left-out votes ask. Ties: Davidson (1970).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from rocm.study.statistics.votes import Flags, Floats, Ints

RIDGES = (10.0, 30.0, 100.0, 300.0, 1000.0, 1e9)
"""Strengths of the pull towards the rewards; the largest leaves those alone."""
STACK_RIDGE = 1.0
RATER_PRECISION = 4.0
"""1 / sigma_g^2: a rater's pull to a side has a deviation of half a logit."""
SIDE_PRECISION, TIE_PRECISION = 0.01, 0.1
"""So weak that they matter only where all votes are on a side, or none is a tie."""
TEMPERATURES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.6)
NUM_REFITS = 16
DISPUTED_SHARE = 0.7
INNER_FOLDS = 3
MAX_STEPS, SMALLEST_STEP = 30, 1e-4


@dataclass(frozen=True)
class Choices:
    """Votes as columns; the first `num_rewards` features are rewards, then come their squares."""

    difference: Floats  # features of a's picture minus b's, (n, D)
    side: Floats  # 1 where a's picture stood on the left, else -1, (n,)
    answer: Ints  # 0: a, 1: tie, 2: b, (n,)
    prompt: Ints  # (n,)
    rater: Ints  # (n,)
    arms: Floats  # 1 for arm a, -1 for arm b, 0 for others and for two pictures of an arm, (n, A)
    num_rewards: int
    num_squares: int = 0

    def where(self, rows: Flags | Ints) -> "Choices":
        """The votes for which a mask holds, or those at indices."""
        names = [field.name for field in fields(self) if not field.name.startswith("num_")]
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    @property
    def comparison(self) -> Ints:
        """Number of the two arms of each vote, in any order; pairs within arms share one, (n,)."""
        met = np.abs(self.arms)
        numbers: Ints = np.unique(met, axis=0, return_inverse=True)[1].reshape(-1)
        return numbers

    @property
    def is_decisive(self) -> Flags:
        """Votes that are no ties, (n,)."""
        decisive: Flags = self.answer != 1
        return decisive


@dataclass(frozen=True)
class Fit:
    """Weights (D,), pull of the left side, log nu, and effective degrees of freedom of w."""

    weights: Floats
    side: float
    log_nu: float
    freedom: float = 0.0

    def scaled(self, temperature: float) -> "Fit":
        """The fit with its weights multiplied."""
        return replace(self, weights=temperature * self.weights)

    def log_loss(self, choices: Choices) -> Floats:
        """-log P(answer) of each vote by a rater who is not known, (n,), in nats."""
        eta = choices.difference @ self.weights + self.side * choices.side
        logs = _log_shares(eta, self.log_nu)
        return -logs[np.arange(len(eta)), choices.answer]


def fit(choices: Choices, prior: Floats, ridge: Floats, votes: Floats | None = None) -> Fit:
    """Fit by Newton's method; rater effects are eliminated by their Schur complement.

    Args:
        choices: n votes with D features.
        prior: w0, (D,).
        ridge: lambda, (D,), > 0.
        votes: weights of the votes, (n,), >= 0; 1 by default.

    Returns:
        The minimum, to a step of 1e-4.
    """
    from scipy.sparse import csr_array

    raters, row = np.unique(choices.rater, return_inverse=True)
    problem = _Problem(
        choices,
        np.column_stack([choices.difference, choices.side]),
        row,
        csr_array((np.ones(len(row)), (row, np.arange(len(row))))),
        np.ones(len(row)) if votes is None else votes,
        np.append(prior, [0.0, 0.0]),
        np.append(ridge, [SIDE_PRECISION, TIE_PRECISION]),
    )
    size, point, effects = len(prior), problem.center, np.zeros(len(raters))
    now = problem.loss(point, effects)
    for _ in range(MAX_STEPS):
        step, effect_step, reduced = problem.newton(point, effects)
        length = 1.0
        while (then := problem.loss(point + length * step, effects + length * effect_step)) > now:
            length /= 2
            if length < SMALLEST_STEP:
                break
        if length * np.abs(step).max() < SMALLEST_STEP:
            break
        point, effects, now = point + length * step, effects + length * effect_step, then
    free = np.linalg.inv(np.linalg.inv(reduced)[:size, :size])
    freedom = size - float(np.trace(np.linalg.solve(free, np.diag(ridge)))) if size else 0.0
    return Fit(point[:size], float(point[size]), float(point[-1]), freedom)


@dataclass(frozen=True)
class _Problem:
    """The penalized likelihood of a point (w, gamma, log nu), (D + 2,), and of effects (R,)."""

    choices: Choices
    design: Floats  # d and s, (n, D + 1)
    row: Ints  # number of the rater, (n,)
    group: Any  # 1 where a vote is of a rater, (R, n), sparse
    weight: Floats  # (n,)
    center: Floats  # (D + 2,)
    precision: Floats  # (D + 2,)

    def loss(self, point: Floats, effects: Floats) -> float:
        """The minimized value."""
        eta = self._eta(point, effects)
        logs = _log_shares(eta, point[-1])[np.arange(len(eta)), self.choices.answer]
        penalty = self.precision @ (point - self.center) ** 2
        penalty += RATER_PRECISION * (effects @ effects)
        return float(-self.weight @ logs + penalty / 2)

    def newton(self, point: Floats, effects: Floats) -> tuple[Floats, Floats, Floats]:
        """Steps of point and effects, and the point's Hessian without the effects."""
        win, tie, lose = np.exp(_log_shares(self._eta(point, effects), point[-1])).T
        slope = self.weight * (win - lose + self.choices.answer - 1) / 2
        curve = self.weight * (win + lose - (win - lose) ** 2) / 4
        mixed = -self.weight * tie * (win - lose) / 2
        curved = np.column_stack([self.design * curve[:, None], mixed])
        hessian = np.diag(self.precision)
        hessian[:-1] += self.design.T @ curved
        hessian[-1, :-1] = hessian[:-1, -1]
        hessian[-1, -1] += self.weight @ (tie * (1 - tie))
        gradient = np.append(self.design.T @ slope, self.weight @ (tie - ~self.choices.is_decisive))
        gradient += self.precision * (point - self.center)
        side = self.choices.side
        between = self.group @ (curved * side[:, None])
        own = self.group @ curve + RATER_PRECISION
        pull = self.group @ (slope * side) + RATER_PRECISION * effects
        reduced = hessian - between.T @ (between / own[:, None])
        step = -np.linalg.solve(reduced, gradient - between.T @ (pull / own))
        return step, -(pull + between @ step) / own, reduced

    def _eta(self, point: Floats, effects: Floats) -> Floats:
        eta: Floats = self.design @ point[:-1] + effects[self.row] * self.choices.side
        return eta


def _log_shares(eta: Floats, log_nu: float) -> Floats:
    """Log probabilities of a, tie and b, (n, 3)."""
    logits = np.column_stack([eta / 2, np.full(len(eta), log_nu), -eta / 2])
    logits -= logits.max(1, keepdims=True)
    logs: Floats = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return logs


@dataclass(frozen=True)
class Plan:
    """What is chosen on left-out votes: columns of the rewards that w0 rests on, and lambda.

    The weights are multiplied by `temperature`, which makes their shares calibrated.
    """

    rewards: tuple[int, ...]
    ridge: float
    temperature: float = 1.0


def stacked(choices: Choices, rewards: Sequence[int], votes: Floats | None = None) -> Fit:
    """A fit of some rewards' columns alone, other weights 0, (D,)."""
    columns, size = list(rewards), len(rewards)
    alone = replace(choices, difference=choices.difference[:, columns])
    stack = fit(alone, np.zeros(size), np.full(size, STACK_RIDGE), votes)
    weights = np.zeros(choices.difference.shape[1])
    weights[columns] = stack.weights
    return replace(stack, weights=weights)


def learn(choices: Choices, plan: Plan, votes: Floats | None = None) -> Fit:
    """Fit the rewards, then all features with a ridge towards them; the freedom counts both."""
    found = _towards(stacked(choices, plan.rewards, votes), choices, plan.ridge, votes)
    return found.scaled(plan.temperature)


def _towards(stack: Fit, choices: Choices, ridge: float, votes: Floats | None = None) -> Fit:
    size = len(stack.weights)
    full = fit(choices, stack.weights, np.full(size, ridge), votes)
    return replace(full, freedom=min(full.freedom + stack.freedom, size))


def folds(choices: Choices, num: int, seed: int = 0) -> Iterator[tuple[Flags, Flags]]:
    """Crossed folds: masks of training votes and of the votes left out, both (n,).

    A training fold shares neither a prompt nor a rater with what is left out; every vote is left
    out once.
    """
    rng = np.random.default_rng(seed)
    groups = []
    for column in (choices.prompt, choices.rater):
        names, row = np.unique(column, return_inverse=True)
        groups.append(rng.permutation(len(names))[row] % min(num, len(names)))
    prompts, raters = groups
    for i in range(prompts.max() + 1):
        for j in range(raters.max() + 1):
            out = (prompts == i) & (raters == j)
            if out.any():
                yield (prompts != i) & (raters != j), out


def choose(choices: Choices) -> Plan:
    """The rewards, the strength of `RIDGES`, the temperature, of the least loss on left-out votes.

    Each is chosen in turn.
    """
    cells = [
        (choices.where(train), choices.where(out))
        for train, out in folds(choices, INNER_FOLDS, seed=1)
        if train.any()
    ]
    every = tuple(range(choices.num_rewards))
    peaked = tuple(range(choices.num_rewards + choices.num_squares))
    bases = [*dict.fromkeys((every, peaked)), *((k,) for k in every)]
    stacks = [[stacked(seen, base) for seen, _ in cells] for base in bases]
    losses = [_loss(fits, cells) for fits in stacks]
    best = int(np.argmin(losses))
    pulled = [
        [_towards(stack, seen, ridge) for stack, (seen, _) in zip(stacks[best], cells, strict=True)]
        for ridge in RIDGES
    ]
    strength = int(np.argmin([_loss(fits, cells) for fits in pulled]))
    scaled = [_loss([one.scaled(t) for one in pulled[strength]], cells) for t in TEMPERATURES]
    return Plan(bases[best], RIDGES[strength], TEMPERATURES[int(np.argmin(scaled))])


def _loss(fits: Sequence[Fit], cells: Sequence[tuple[Choices, Choices]]) -> float:
    """Sum of the log-losses of what was left out of each fit."""
    pairs = zip(fits, cells, strict=True)
    return float(sum(fitted.log_loss(unseen).sum() for fitted, (_, unseen) in pairs))


def resamples(choices: Choices, num: int) -> Floats:
    """Weights of the votes in `num` resamples of prompts and raters, (num, n).

    The weight of a vote is that of its prompt times that of its rater.
    """
    rng = np.random.default_rng(0)
    weights = np.ones((num, len(choices.side)))
    for column in (choices.prompt, choices.rater):
        names, row = np.unique(column, return_inverse=True)
        weights *= rng.multinomial(len(names), np.full(len(names), 1 / len(names)), num)[:, row]
    return weights


def pick(refits: Floats, difference: Floats, num: int, seed: int) -> list[int]:
    """Pairs of a further round: 70 % by the disagreement of the refits, the others at random.

    Args:
        refits: weights, (K, D).
        difference: features of a's picture minus b's of the candidates, (P, D).
        num: of pairs, at most P.
        seed: of the random ones.

    Returns:
        Rows of `difference`, in order.
    """
    disagreement = (difference @ refits.T).std(1)
    order = np.argsort(-disagreement, kind="stable")
    sharp = round(DISPUTED_SHARE * num)
    others = np.random.default_rng(seed).permutation(order[sharp:])[: num - sharp]
    return sorted([*order[:sharp].tolist(), *others.tolist()])


def ensemble(choices: Choices, plan: Plan) -> Floats:
    """Weights (16, D) of refits on resampled prompts and raters."""
    return np.stack([learn(choices, plan, w).weights for w in resamples(choices, NUM_REFITS)])
