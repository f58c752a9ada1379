"""`beta: auto`: what a nat costs, when the judge takes a run back, and what is kept at the end.

The controller is `rocm.algorithms.budget`, the test of the judge `rocm.algorithms.sequential`, and
docs/math.md, "Beta by itself", has the whole procedure with its looks and its ratchet.
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
DEARER = 4.0  # times the price after each step back
Scores = dict[str, Tensor]
Scales = Mapping[str, Scale]
Told = dict[str, str]
"""Sentences by kind."""


def begin(setup: Setup, deviation: float) -> None:
    """Set the price of KL before update 1: the reward's `deviation` over base pictures.

    Advantages within a prompt or a pair have a deviation of about 1, whatever the reward's.
    """
    control, method = _control(setup), setup.config.method
    if setup.config.is_judge_steering:
        if method.is_policy_gradient and method.advantages != "value":
            deviation = 1.0
        price = PRICE * max(deviation, LEAST) / math.prod(setup.model.latent_shape)
        control.budget = replace(control.budget, price=price)


def steer(setup: Setup, scales: Scales, step: int) -> Told:
    """Begin the budget, or ask the judge, after update `step`; returns what there is to say."""
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
    """The judge's scores (P,) by strength of the adapter; all of them if a lower one is better."""
    judge, unet = setup.config.judge, setup.model.pipeline.unet
    judged = {1.0: own[judge] / scales[judge].deviation}
    # An adapter that the judge never liked is compared with the base model too.
    first = (0.5,) if _control(setup).clean_step else (0.5, 0.0)
    for strengths in (first, (0.25, 0.75)):
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
    """What to say, and the scores of the adapter that stands; none if no judge steers."""
    control, own = _control(setup), None
    told: Told = {}
    if control.clean is not None:
        own, before = look(setup, step), _look_at_clean(setup, step)
        if _has_moved(control.budget):
            own, told = _judged(setup, scales, step, own, before)
    elif control.budget.is_start_over and _has_moved(control.budget):
        control.budget = _begun(setup, scales, step)
    kind, sentence = trouble(control.budget)
    if kind and kind not in control.said:
        control.said.append(kind)
        told[kind] = sentence
    return told, own


def _has_moved(budget: Budget) -> bool:
    """Whether the policy has left the base model; TrainingError if that takes too long."""
    has_moved = budget.nats > 0 and budget.divergence > 0
    if not has_moved and budget.num_updates >= START_UPDATES:
        raise TrainingError(
            "beta=auto: after the first updates the policy still equals the base model, so the "
            "divergence has nothing to measure. Raise learning_rate, or take another reward."
        )
    return has_moved


def _begun(setup: Setup, scales: Scales, step: int) -> Budget:
    """The controller of a given budget after the start without a penalty."""
    mixture = setup.rewards.mixture(scales)
    own = mixture.combine(look(setup, step))
    with scaled(setup.model.pipeline.unet, 0.0):
        rises = own - mixture.combine(look(setup, step))
    # A rise that the noise hides is taken to be as large as the noise.
    noise = (rises.std() / len(rises) ** 0.5).item()
    return aimed(_control(setup).budget, max(rises.mean().item(), noise, LEAST))


def _judged(
    setup: Setup, scales: Scales, step: int, own: Scores, before: Scores
) -> tuple[Scores, Told]:
    """Keep the adapter as the clean one, go on with it, or go back; `before` is the clean one's."""
    control, judge = _control(setup), setup.config.judge
    changes = (own[judge] - before[judge]) / scales[judge].deviation
    control.watch = looked(control.watch, changes.tolist(), TOLERANCE)
    if control.watch.has_fallen:
        return before, {"step-back": _back(setup, step, changes.mean().item())}
    if changes.mean() >= 0:
        control.clean, control.clean_step = setup.learner.snapshot(), step
        control.watch = renewed(control.watch)
    return own, {}


def _back(setup: Setup, step: int, change: float) -> str:
    """Go on from the clean adapter at a higher price; returns the reason."""
    control = _control(setup)
    assert control.clean is not None, "asked if a judge steers only"
    evidence = number(control.watch.evidence, 0)
    control.watch = renewed(control.watch)
    control.budget = replace(control.budget, price=DEARER * control.budget.price)
    setup.learner.restore(deepcopy(control.clean))
    setup.execution.recorded.clear()  # it holds the optimizer's earlier tensors
    num = control.clean_step
    place = f"the adapter after update {num}" if num else "the base model"
    later = f" Beta is {DEARER:g} times as large from now on."
    return (
        f"Stepped back to {place}: the judge {setup.config.judge} has fallen by "
        f"{number(-change, 2)} standard deviations on new pictures (evidence {evidence} to 1)."
        + later
        * (step < setup.config.num_steps)
    )


def _look_at_clean(setup: Setup, step: int) -> Scores:
    clean = _control(setup).clean
    assert clean is not None, "asked if a judge steers only"
    with setup.learner.lent(clean["parameters"]):
        return look(setup, step)


def _control(setup: Setup) -> BetaControl:
    assert setup.learner.control is not None, "asked with beta=auto only"
    return setup.learner.control
