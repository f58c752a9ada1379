"""One update, by back-propagation or by policy gradient, and its measurements."""

import random
import time
from copy import deepcopy
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from rocm.algorithms.hybrid import hybrid_objective
from rocm.algorithms.problem import Problem
from rocm.algorithms.rocm import Objective, renoised_objectives, rocm_objective
from rocm.algorithms.trajectory import gradient_path
from rocm.distributed import OthersFull, merged
from rocm.errors import TrainingError
from rocm.models.memory import used_mb
from rocm.rewards.base import Mixture
from rocm.training.batch import Batch, draw_batches, make_problem, measurements, picture_generators
from rocm.training.cuda_graph import recorded_update
from rocm.training.memory import full_memory
from rocm.training.policy_update import policy_update
from rocm.training.setup import Setup


def update(setup: Setup, mixture: Mixture, step: int) -> dict[str, Any]:
    """Do update `step` (from 1) and measure it; with less memory and again if the memory is full.

    If `loss` is not finite, the adapter is not to be kept; if `grad_norm` is not, the optimizer
    left the step out. Raises `TrainingError` if no setting allows less memory.
    """
    # A policy gradient, and another process, may have learned before the memory is full here.
    is_kept = setup.ranks.size > 1 or not setup.config.method.is_backprop
    before = deepcopy(setup.learner.state_dict()) if is_kept else None
    while (row := _attempt(setup, mixture, step)) is None:
        if before is not None:
            # A copy, for optimizers go on in the tensors that they load.
            setup.learner.load_state_dict(deepcopy(before))
    control = setup.learner.control
    return row if control is None else row | control.follow(row)


def _attempt(setup: Setup, mixture: Mixture, step: int) -> dict[str, Any] | None:
    """One update; None if the memory was full and the economy has stepped down."""
    economy = setup.execution.economy
    model = replace(setup.model, use_checkpointing=economy.checkpointing)
    try:
        spent = replace(setup, model=model, config=economy.settings(setup.config))
        return _measured_update(spent, mixture, step)
    except torch.OutOfMemoryError as error:
        setup.ranks.tell_full()
        _step_down(setup, error)
    except OthersFull as error:
        _step_down(setup, error)
    return None


def _step_down(setup: Setup, reason: Exception) -> None:
    """Need less memory from now on, as every process does at once; TrainingError if none can."""
    economy = setup.execution.economy
    if not economy.step_down(setup.model, setup.config):
        size = economy.settings(setup.config).batch_size
        parts = (setup.model, setup.rewards.by_name, setup.learner)
        raise TrainingError(full_memory(*parts, size)) from reason


def _measured_update(setup: Setup, mixture: Mixture, step: int) -> dict[str, Any]:
    config, began, before = setup.config, time.perf_counter(), replace(setup.model.passes)
    change = backprop_update if config.method.is_backprop else policy_update
    row = change(setup, mixture, step)
    seconds = time.perf_counter() - began
    row |= {
        "lr": setup.learner.optimizer.param_groups[0]["lr"],
        "unet_forward": setup.model.passes.forward - before.forward,
        "unet_backward": setup.model.passes.backward - before.backward,
        "seconds": seconds,
        "images_per_s": config.batch_size * config.gradient_accumulation / seconds,
        "memory_mb": used_mb(setup.model.device),
    }
    return {"step": step} | merged(setup.ranks.gather(row))


def backprop_update(setup: Setup, mixture: Mixture, step: int) -> dict[str, float]:
    """Back-propagate ROCM's or the hybrid objective, take one optimizer step, and measure it."""
    config, learner, schedule = setup.config, setup.learner, setup.schedule
    if config.cuda_graph:
        return recorded_update(setup, mixture, step)
    learner.optimizer.zero_grad(set_to_none=True)
    num_draws = config.backprop_steps if config.backprop == "draft_lv" else 0
    share = config.gradient_accumulation * (1 + num_draws)
    objectives, parts, num_queries = [], [], 0
    for batch in draw_batches(setup, step):
        scores: dict[str, Tensor] = {}
        problem = make_problem(setup, mixture, batch, scores)
        objective = batch_objective(setup, problem, batch, step)
        if config.method.estimates_blind:
            blind, group_size = mixture.blind(scores), config.pictures_per_prompt
            objective = hybrid_objective(problem, objective, schedule, blind, group_size)
        objectives.append(objective)
        parts.append(dict(scores))
        generators = picture_generators(setup, batch)
        again = renoised_objectives(
            problem, objective.latents, schedule[-1], num_draws, setup.penalty, generators
        )
        for drawn in chain([objective], again):
            learner.scaler.scale(drawn.loss / share).backward()
            num_queries += len(drawn.rewards)
    rewards = [objective.rewards for objective in objectives]
    row = measurements(rewards, parts, objectives, config.num_inference_steps)
    setup.ranks.average_gradients(learner.parameters)
    return row | {"reward_queries": num_queries, "grad_norm": learner.descend(config.max_grad_norm)}


def batch_objective(setup: Setup, problem: Problem, batch: Batch, step: int) -> Objective:
    """ROCM's objective of a batch in update `step`; under ReFL its chain may end early."""
    config, drawn = setup.config, random.Random(f"{setup.config.seed}/{step}")
    num, num_trained = config.num_inference_steps, config.backprop_steps
    if config.backprop == "random_k":
        num_trained = drawn.randint(1, num)
    if config.backprop == "refl":
        num = 1 + drawn.randrange(num // 2, num)
    path = gradient_path(config.backprop, num, num_trained)
    generators = picture_generators(setup, batch)
    return rocm_objective(
        problem, batch.noise[:num], setup.schedule[:num], path, setup.penalty, generators
    )
