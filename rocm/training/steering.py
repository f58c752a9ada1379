"""`beta: auto`: when a budget of the KL begins, moves, falls back, and what is kept at the end.

The controller is `rocm.algorithms.budget`, the test of the judge `rocm.algorithms.sequential`, and
docs/math.md, "A budget instead of a beta", has the whole procedure with its looks and its ratchet.
Every process does the same with the same figures.
"""

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor

from rocm.algorithms.budget import PRICE, START_UPDATES, Budget, aimed, trouble
from rocm.algorithms.sequential import looked, renewed
from rocm.errors import TrainingError
from rocm.models.lora import scaled
from rocm.prompts.split import noise_seed, training_item
from rocm.rewards.base import Scale
from rocm.storage.numbers import number
from rocm.training.beta_control import BetaControl
from rocm.training.setup import Setup

FIRST_LOOK = 2**40  # pictures with such numbers are trained on by no run
LEAST = 1e-6  # deviation or rise of a reward
TOLERANCE = 0.05  # of the judge's fall, in its deviations over the base model's pictures
BACK = 0.25  # of the KL at which the judge fell, if it stood best at the base model
Scores = dict[str, Tensor]
Scales = Mapping[str, Scale]
Told = dict[str, str]
"""Sentences by kind."""


def begin(setup: Setup, deviation: float) -> None:
    """Set the price of KL before update 1: the reward's `deviation` over base pictures."""
    control = _control(setup)
    if setup.config.is_judge_steering:
        price = PRICE * max(deviation, LEAST) / math.prod(setup.model.latent_shape)
        control.budget = replace(control.budget, price=price)


def steer(setup: Setup, scales: Scales, step: int) -> Told:
    """Begin or move the budget after update `step`; returns what there is to say."""
    return _steered(setup, scales, step)[0]


def finish(setup: Setup, scales: Scales, step: int) -> Told:
    """As `steer`, for the last update: the judge also chooses the adapter's strength."""
    control = _control(setup)
    told, own = _steered(setup, scales, step)
    if control.clean is None or own is None:
        return told
    judge = setup.config.judge
    judged = _judged_strengths(setup, scales, step, own)
    control.strength = _strongest(judged)
    means = {one: judged[one].mean().item() * scales[judge].deviation for one in sorted(judged)}
    words = ", ".join(f"{one:g}: {number(mean, 4)}" for one, mean in means.items())
    if control.clean_step == 0:
        told["nothing-to-gain"] = (
            f"Nothing to gain with this reward: at no check did {judge} score the adapter higher "
            "than the base model. Train on another reward."
        )
    if control.strength == 1:
        return told | {"strength": f"{judge} leaves the adapter at its full strength ({words})."}
    return told | {
        "turned-down": f"Adapter turned down to strength {control.strength:g}, the largest that "
        f"{judge} does not score clearly lower than the best (mean score by strength: {words})."
    }


def _judged_strengths(setup: Setup, scales: Scales, step: int, own: Scores) -> dict[float, Tensor]:
    """The judge's scores (P,) by strength of the adapter; all of them if a half is better."""
    judge, unet = setup.config.judge, setup.model.pipeline.unet
    judged = {1.0: own[judge] / scales[judge].deviation}
    for strengths in ((0.5,), (0.25, 0.75)):
        for strength in strengths:
            with scaled(unet, strength):
                judged[strength] = look(setup, step)[judge] / scales[judge].deviation
        if _strongest(judged) == 1:
            break
    return judged


def _strongest(judged: dict[float, Tensor]) -> float:
    """The largest strength that no other one is clearly better than, beyond the tolerance."""
    best = max(judged, key=lambda one: judged[one].mean().item())
    return max(one for one in judged if not _is_clear(judged[best] - judged[one]))


def look(setup: Setup, step: int) -> Scores:
    """Raw scores (P,), trained rewards and judge, of the pictures that a look after `step` takes.

    Nothing else draws them: training prompts, under numbers from `FIRST_LOOK` on.
    """
    config, num = setup.config, -(-setup.config.num_eval_prompts // 2)
    numbers = [FIRST_LOOK + step * num + index for index in setup.ranks.share(num)]
    prompts = [training_item(setup.data.prompts.train, config.seed, index) for index in numbers]
    seeds = [noise_seed(config.seed, index) for index in numbers]
    names = dict.fromkeys([*setup.rewards.weights, *[config.judge] * config.is_judge_steering])
    rewards = {name: setup.rewards.by_name[name] for name in names}
    parts = setup.scored(prompts, seeds, rewards)
    return {name: torch.cat([part.scores[name] for part in parts]) for name in names}


def _is_clear(changes: Tensor) -> bool:
    """Whether the mean of paired changes (P,) is above `TOLERANCE` by two standard errors."""
    return changes.mean().item() - TOLERANCE > 2 * changes.std().item() / len(changes) ** 0.5


def _steered(setup: Setup, scales: Scales, step: int) -> tuple[Told, Scores | None]:
    control, own = _control(setup), None
    told: Told = {}
    if control.budget.is_start_over or control.clean is not None:
        own, before = look(setup, step), _look_at_clean(setup, step)
        control.budget, told, own = _moved(setup, scales, step, own, before)
    kind, sentence = trouble(control.budget)
    if kind and kind not in control.said:
        control.said.append(kind)
        told[kind] = sentence
    return told, own


def _moved(
    setup: Setup, scales: Scales, step: int, own: Scores, before: Scores
) -> tuple[Budget, Told, Scores]:
    """The controller's state, what to say, and the scores of the adapter that stands."""
    control, judge = _control(setup), setup.config.judge
    budget, mixture = control.budget, setup.rewards.mixture(scales)
    if not (budget.nats > 0 and budget.divergence > 0):
        if budget.num_updates < START_UPDATES:
            return budget, {}, own
        raise TrainingError(
            "beta=auto: after the first updates the policy still equals the base model, so the "
            "divergence has nothing to measure. Raise learning_rate, or take another reward."
        )
    rises = mixture.combine(own) - mixture.combine(before)
    rise = control.clean_rise + rises.mean().item()
    if control.clean is not None:
        changes = (own[judge] - before[judge]) / scales[judge].deviation
        control.watch = looked(control.watch, changes.tolist(), TOLERANCE)
        if control.watch.has_fallen:
            budget, sentence = _back(setup, changes.mean().item())
            return budget, {"step-back": sentence}, before
        if changes.mean() >= 0:
            control.clean, control.clean_budget = setup.learner.snapshot(), budget
            control.clean_step, control.clean_rise = step, rise
            control.watch = renewed(control.watch)
    # A rise that the noise hides is taken to be as large as the noise.
    noise = (rises.std() / len(rises) ** 0.5).item()
    if budget.price or not budget.beta0:
        budget = aimed(budget, max(rise, noise, LEAST))
    return budget, {}, own


def _back(setup: Setup, change: float) -> tuple[Budget, str]:
    """Go on from the clean adapter at its KL; returns the controller's state and the reason."""
    control = _control(setup)
    assert control.clean is not None, "there is something to go back to"
    assert control.clean_budget is not None, "kept together with the adapter"
    now, clean, watch = control.budget, control.clean_budget, control.watch
    # The base model's own KL is 0, which is no budget.
    target = clean.nats or BACK * min(now.nats, now.target or now.nats)
    beta0 = clean.beta0 or now.beta0 or now.beta
    control.watch = renewed(watch)
    setup.learner.restore(deepcopy(control.clean))
    setup.execution.recorded.clear()  # it holds the optimizer's earlier tensors
    # The controller starts anew at the clean adapter, whose KL stands still.
    known = replace(clean, target=target, beta0=beta0, price=0.0)
    return replace(known, slope=0.0, error=0.0, errors=()), (
        f"Stepped back to the adapter after update {control.clean_step}: the judge "
        f"{setup.config.judge} has fallen by {number(-change, 2)} standard deviations on new "
        f"pictures (evidence {number(watch.evidence, 0)} to 1). Later updates hold the KL at "
        f"{number(target, 1)} nats."
    )


def _look_at_clean(setup: Setup, step: int) -> Scores:
    clean, learner = _control(setup).clean, setup.learner
    if clean is None:  # no judge steers: the start is compared with the base model
        with scaled(setup.model.pipeline.unet, 0.0):
            return look(setup, step)
    with learner.lent(clean["parameters"]):
        return look(setup, step)


def _control(setup: Setup) -> BetaControl:
    assert setup.learner.control is not None, "asked with beta=auto only"
    return setup.learner.control
