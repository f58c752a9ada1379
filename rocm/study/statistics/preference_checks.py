"""What a learned reward is worth: nested cross-validation, reasons to refuse it, and its limits.

Every figure is of votes whose prompt and rater were left out of the fit, the choice of the ridge
included. Bounds are one-sided 95 % over resampled prompts and raters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rocm.study.statistics.agreement import Share
from rocm.study.statistics.preference_fit import (
    STACK_RIDGE,
    Choices,
    Fit,
    Plan,
    choose,
    fit,
    folds,
    learn,
    resamples,
    stacked,
)
from rocm.study.statistics.votes import Floats

OUTER_FOLDS = 4
NUM_RESAMPLES = 400
MIN_REPEATS = 0.65
MIN_VOTES_PER_FREEDOM = 10
WEAK_RIDGE = 0.01
"""Of a single reward, whose weight is then its own temperature."""
SHARES = (0.4, 0.6, 0.8)
MORE_VOTES = 300
CONSTANT, ARMS, ARMED, LEARNED = "constant", "arms", "arms and learned", "learned"
ELSEWHERE, ELSEWHERE_CONSTANT = "learned, left-out comparison", "constant, left-out comparison"


@dataclass(frozen=True)
class HeldOut:
    """Log-loss in nats by model, each (n,), utility of a minus b by the learned one, (n,)."""

    losses: Mapping[str, Floats]
    utility: Floats
    plan: Plan


@dataclass(frozen=True)
class Gain:
    """Mean log-loss of a model, and by how much the learned one is better, in nats."""

    name: str
    loss: float
    gain: float
    lower: float


def cross_validate(choices: Choices, rewards: Sequence[str]) -> HeldOut:
    """Log-loss of the learned reward, of a constant, of each reward, and of the arms' strengths.

    All know the pull of the left side and the share of ties.

    Args:
        choices: n votes of at least two prompts and two raters.
        rewards: names of the reward columns.

    Returns:
        Figures by vote; `plan` is chosen on all votes.
    """
    features, num_arms = choices.difference, choices.arms.shape[1]
    single = {name: features[:, [k]] for k, name in enumerate(rewards)}
    alone = {CONSTANT: features[:, :0], **single, ARMS: choices.arms}
    armed = replace(choices, difference=np.column_stack([features, choices.arms]))
    losses = {name: np.zeros(len(features)) for name in (*alone, ARMED, LEARNED)}
    utility = np.zeros(len(features))
    for train, out in folds(choices, OUTER_FOLDS):
        seen, unseen = choices.where(train), choices.where(out)
        plan = choose(seen)
        learned = learn(seen, plan)
        losses[LEARNED][out] = learned.log_loss(unseen)
        utility[out] = unseen.difference @ learned.weights
        prior = np.append(stacked(seen, plan.rewards).weights, np.zeros(num_arms))
        pull = np.append(np.full(features.shape[1], plan.ridge), np.full(num_arms, STACK_RIDGE))
        losses[ARMED][out] = fit(armed.where(train), prior, pull).log_loss(armed.where(out))
        for name, columns in alone.items():
            one = replace(choices, difference=columns)
            ridge = WEAK_RIDGE if name in single else STACK_RIDGE
            losses[name][out] = _plain(one.where(train), ridge).log_loss(one.where(out))
    plan = choose(choices)
    return HeldOut(losses | leave_comparisons_out(choices, plan), utility, plan)


def leave_comparisons_out(choices: Choices, plan: Plan) -> dict[str, Floats]:
    """Log-loss on each comparison of a fit of the others, and of a constant; none for one alone.

    Pairs within arms are one comparison.
    """
    numbers = choices.comparison
    losses = {name: np.zeros(len(numbers)) for name in (ELSEWHERE_CONSTANT, ELSEWHERE)}
    nothing = replace(choices, difference=choices.difference[:, :0])
    for number in np.unique(numbers):
        train, out = numbers != number, numbers == number
        if not train.any():
            return {}
        losses[ELSEWHERE][out] = learn(choices.where(train), plan).log_loss(choices.where(out))
        losses[ELSEWHERE_CONSTANT][out] = _plain(nothing.where(train)).log_loss(nothing.where(out))
    return losses


def _plain(choices: Choices, ridge: float = STACK_RIDGE) -> Fit:
    size = choices.difference.shape[1]
    return fit(choices, np.zeros(size), np.full(size, ridge))


def gains(choices: Choices, held_out: HeldOut) -> list[Gain]:
    """The learned reward against each other model, over the arms' strengths, and elsewhere."""
    weights = resamples(choices, NUM_RESAMPLES)
    weights = weights[weights.sum(1) > 0]
    compared, rivals = [], {ARMS: ARMED, ELSEWHERE: ELSEWHERE, ELSEWHERE_CONSTANT: ELSEWHERE}
    for name, loss in held_out.losses.items():
        better = loss - held_out.losses[rivals.get(name, LEARNED)]
        lower = np.quantile(weights @ better / weights.sum(1), 0.05)
        compared.append(Gain(name, float(loss.mean()), float(better.mean()), float(lower)))
    return compared


def accuracy(choices: Choices, utility: Floats) -> Share:
    """Decided votes for the picture of the higher utility (a minus b, (n,)), the side ignored."""
    decided = choices.is_decisive
    right = (choices.answer == np.where(utility > 0, 0, 2))[decided]
    return Share(int(right.sum()), int(decided.sum()))


def refusals(
    choices: Choices, compared: Sequence[Gain], repeats: Share, freedom: float
) -> list[str]:
    """Why the reward must not be used.

    Args:
        choices: the votes.
        compared: as `gains` gives them.
        repeats: of flipped repeats that were decided twice, those decided alike.
        freedom: effective degrees of freedom of the final fit.

    Returns:
        A sentence with its figure for each reason; empty if the reward may be used.
    """
    by_name = {gain.name: gain for gain in compared}
    constant, arms = by_name[CONSTANT], by_name[ARMS]
    others = (CONSTANT, ARMS, ARMED, LEARNED, ELSEWHERE, ELSEWHERE_CONSTANT)
    single = [gain for gain in compared if gain.name not in others]
    elsewhere = by_name.get(ELSEWHERE_CONSTANT)
    decided = int(choices.is_decisive.sum())
    reasons = []
    if constant.lower <= 0:
        reasons.append(
            "The votes carry no signal beyond chance: on left-out prompts and raters the learned "
            f"reward gains {_nats(constant)} over a constant. Collect more votes."
        )
    if single:
        best = min(single, key=lambda gain: gain.loss)
        if best.lower <= 0:
            reasons.append(
                f"The votes carry no signal beyond {best.name}: the learned reward gains "
                f"{_nats(best)} over it. Use {best.name}, or collect more votes."
            )
    if repeats.share is not None and repeats.share < MIN_REPEATS:
        reasons.append(
            f"Raters decided {100 * repeats.share:.1f} % of {repeats.total} flipped repeats alike, "
            f"ties left out, and at least {100 * MIN_REPEATS:.0f} % are needed. Ask an easier "
            "question, or exclude careless raters."
        )
    if choices.arms.any() and arms.lower <= 0:
        reasons.append(
            "The arms explain the votes: beside their strengths the learned reward gains "
            f"{_nats(arms)}. Collect pairs within an arm, or of more arms."
        )
    if elsewhere and elsewhere.lower <= 0:
        reasons.append(
            "What one comparison teaches does not hold in the others: fitted without a comparison, "
            f"the learned reward gains {_nats(elsewhere)} over a constant there. Collect pairs of "
            "more arms, or within an arm."
        )
    if decided < MIN_VOTES_PER_FREEDOM * freedom:
        reasons.append(
            f"{decided} decided votes are {decided / freedom:.1f} for each of {freedom:.0f} "
            f"effective degrees of freedom, and at least {MIN_VOTES_PER_FREEDOM} are needed. "
            "Collect more votes."
        )
    return reasons


def _nats(gain: Gain) -> str:
    return f"{gain.gain:.4f} nats per vote (lower bound {gain.lower:.4f}, needed: above 0)"


def calibration(choices: Choices, utility: Floats, num_bins: int = 5) -> list[tuple[float, Share]]:
    """Predicted share of a among decided votes and the observed one, in equally full bins."""
    decided = np.flatnonzero(choices.is_decisive)
    predicted = 1 / (1 + np.exp(-utility[decided]))
    order = np.argsort(predicted)
    bins = [part for part in np.array_split(order, num_bins) if len(part)]
    won = choices.answer[decided] == 0
    return [(float(predicted[b].mean()), Share(int(won[b].sum()), len(b))) for b in bins]


def learning_curve(choices: Choices, held_out: HeldOut) -> tuple[list[tuple[int, float]], float]:
    """Accuracy by number of votes, and that expected of `MORE_VOTES` more.

    Fewer votes are random parts of each training fold, with the final plan. The expectation is
    the line in 1 / n through the points by least squares, at most falling with 1 / n.
    """
    rng, points = np.random.default_rng(2), []
    for share in SHARES:
        utility = np.zeros(len(choices.side))
        for train, out in folds(choices, OUTER_FOLDS):
            rows = np.flatnonzero(train)
            rows = rng.permutation(rows)[: round(share * len(rows))]
            fitted = learn(choices.where(rows), held_out.plan)
            utility[out] = choices.difference[out] @ fitted.weights
        points.append((round(share * len(utility)), accuracy(choices, utility).share or 0.0))
    points.append((len(choices.side), accuracy(choices, held_out.utility).share or 0.0))
    inverse = np.array([1 / num for num, _ in points])
    slope, level = np.polyfit(inverse, [share for _, share in points], 1)
    if slope > 0:
        return points, points[-1][1]
    return points, float(min(1.0, level + slope / (points[-1][0] + MORE_VOTES)))
