"""`beta: auto`: when a budget of the KL begins, grows, falls back, and what is kept at the end.

The controller itself is `rocm.algorithms.budget`. It is steered by looks: half as many pictures as
an evaluation has, of training prompts with noise that nothing else draws, so that the evaluation
prompts stay held out. A look scores the adapter as it is and as it was when the judge stood best
(`clean`), on the same noise. If the judge has fallen (`rocm.algorithms.sequential`), the run goes
back there and keeps that KL as its budget; if it has not, and the reward rose, the budget grows.
Every process does the same with the same figures.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor

from rocm.algorithms.budget import GROWTH, Budget, started, trouble
from rocm.algorithms.sequential import looked, renewed
from rocm.errors import TrainingError
from rocm.models.lora import scaled
from rocm.prompts.split import noise_seed, training_item
from rocm.rewards.base import Scale
from rocm.storage.numbers import number
from rocm.training.beta_control import BetaControl
from rocm.training.setup import Setup

FIRST_LOOK = 2**40  # pictures with such numbers are trained on by no run
TOLERANCE = 0.05  # of the judge's fall, in its deviations over the base model's pictures
REACHED = 0.8
STRENGTHS = (0.25, 0.5, 0.75, 1.0)
Scores = dict[str, Tensor]
Scales = Mapping[str, Scale]
Told = dict[str, str]
"""Sentences by kind."""


def steer(setup: Setup, scales: Scales, step: int) -> Told:
    """Begin or move the budget after update `step`; returns what there is to say."""
    return _steered(setup, scales, step)[0]


def finish(setup: Setup, scales: Scales, step: int) -> Told:
    """As `steer`, for the last update: the judge also chooses the adapter's strength."""
    control = _control(setup)
    told, own = _steered(setup, scales, step)
    if control.clean is None:
        return told
    own = own or look(setup, step)
    judge, unet = setup.config.judge, setup.model.pipeline.unet
    judged = {}
    for strength in (0.0, *STRENGTHS):
        with scaled(unet, setup.learner.parameters, strength):
            scores = own if strength == 1 else look(setup, step)
        judged[strength] = scores[judge]
    means = {strength: scores.mean().item() for strength, scores in judged.items()}
    best = max(STRENGTHS, key=lambda strength: means[strength])
    control.strength = best if _is_clear(judged[best] - judged[1.0]) else 1.0
    words = ", ".join(f"{strength:g}: {number(mean, 4)}" for strength, mean in means.items())
    message = f"{judge} chose the adapter's strength {control.strength:g} ({words})."
    if means[best] <= means[0.0]:
        told["nothing-to-gain"] = (
            f"Nothing to gain with this reward: at no strength does the adapter raise {judge} "
            f"above the base model ({words}). Train on another reward."
        )
    return told | {"strength": message}


def look(setup: Setup, step: int) -> Scores:
    """Raw scores (P,), trained rewards and judge, of the pictures that a look after `step` takes.

    Nothing else draws them: training prompts, under numbers from `FIRST_LOOK` on.
    """
    config, num = setup.config, -(-setup.config.num_eval_prompts // 2)
    numbers = [FIRST_LOOK + step * num + index for index in setup.ranks.share(num)]
    prompts = [training_item(setup.data.prompts.train, config.seed, index) for index in numbers]
    seeds = [noise_seed(config.seed, index) for index in numbers]
    names = dict.fromkeys([*setup.rewards.weights, *([config.judge] if config.judge else [])])
    rewards = {name: setup.rewards.by_name[name] for name in names}
    parts = setup.scored(prompts, seeds, rewards)
    return {name: torch.cat([part.scores[name] for part in parts]) for name in names}


def _is_clear(changes: Tensor) -> bool:
    """Whether the mean of paired changes (P,) lies above twice its standard error."""
    return changes.mean().item() > 2 * changes.std().item() / len(changes) ** 0.5


def _steered(setup: Setup, scales: Scales, step: int) -> tuple[Told, Scores | None]:
    control, own, before = _control(setup), None, None
    told: Told = {}
    if control.budget.is_start_over:
        own, before = look(setup, step), _look_at_clean(setup, step)
        control.budget = _begun(control.budget, _change(setup, scales, own, before))
    if control.clean is not None and control.budget.beta0:
        own = look(setup, step) if own is None else own
        before = _look_at_clean(setup, step) if before is None else before
        told, own = _ratcheted(setup, scales, step, own, before)
    kind, sentence = trouble(control.budget)
    return (told | {kind: sentence} if kind and _is_new(control, kind) else told), own


def _begun(budget: Budget, change: Tensor) -> Budget:
    if not (budget.nats > 0 and budget.divergence > 0):
        raise TrainingError(
            "beta=auto: after the first updates the policy still equals the base model, so the "
            "divergence has nothing to measure. Raise learning_rate, or take another reward."
        )
    # A rise that the noise hides is taken to be as large as the noise.
    noise = (change.std() / len(change) ** 0.5).item()
    return started(budget, max(change.mean().item(), noise, 1e-6))


def _ratcheted(
    setup: Setup, scales: Scales, step: int, own: Scores, before: Scores
) -> tuple[Told, Scores]:
    """Grow, hold or step back; returns what to say and the scores of the adapter that stands."""
    control, judge = _control(setup), setup.config.judge
    budget, clean = control.budget, control.clean_budget
    assert clean is not None, "kept together with the adapter"
    changes = (own[judge] - before[judge]) / scales[judge].deviation
    control.watch = looked(control.watch, changes.tolist(), TOLERANCE)
    if control.watch.has_fallen:
        sentence = _back(setup, changes.mean().item())
        return {"step-back": sentence}, before
    if changes.mean() >= 0:
        is_rising = _change(setup, scales, own, before).mean() > 0
        if control.is_growing and is_rising and budget.nats >= REACHED * budget.target:
            control.budget = replace(budget, target=GROWTH * budget.target)
        control.clean, control.clean_budget = setup.learner.snapshot(), budget
        control.clean_step, control.watch = step, renewed(control.watch)
    return {}, own


def _back(setup: Setup, change: float) -> str:
    """Go on from the clean adapter at its KL; returns the reason."""
    control = _control(setup)
    assert control.clean is not None, "there is something to go back to"
    assert control.clean_budget is not None, "kept together with the adapter"
    clean, watch = control.clean_budget, control.watch
    # The base model's own KL is 0, which is no budget.
    target = clean.nats or control.budget.target / GROWTH**2
    known = clean if clean.beta0 else replace(clean, beta0=control.budget.beta0)
    # The controller starts anew at the clean adapter, whose KL stands still.
    control.budget = replace(known, target=target, slope=0.0, error=0.0, errors=())
    control.is_growing, control.watch = False, renewed(watch)
    setup.learner.restore(deepcopy(control.clean))
    setup.execution.recorded.clear()  # it holds the optimizer's earlier tensors
    return (
        f"Stepped back to the adapter after update {control.clean_step}: the judge "
        f"{setup.config.judge} has fallen by {number(-change, 2)} standard deviations on new "
        f"pictures (evidence {number(watch.evidence, 0)} to 1). The KL is held at "
        f"{number(target, 1)} nats from here."
    )


def _look_at_clean(setup: Setup, step: int) -> Scores:
    clean = _control(setup).clean
    if clean is None:  # no judge steers: the start is compared with the base model
        with scaled(setup.model.pipeline.unet, setup.learner.parameters, 0.0):
            return look(setup, step)
    with setup.learner.lent(clean["parameters"]):
        return look(setup, step)


def _change(setup: Setup, scales: Scales, own: Scores, before: Scores) -> Tensor:
    """Change (P,) of the trained reward."""
    mixture = setup.rewards.mixture(scales)
    return mixture.combine(own) - mixture.combine(before)


def _is_new(control: BetaControl, kind: str) -> bool:
    is_new = kind not in control.said
    if is_new:
        control.said.append(kind)
    return is_new


def _control(setup: Setup) -> BetaControl:
    assert setup.learner.control is not None, "asked with beta=auto only"
    return setup.learner.control
