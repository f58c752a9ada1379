"""One update, first order or by policy gradient, and its measurements."""

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
from rocm.algorithms.schedule import Step
from rocm.algorithms.trajectory import gradient_path
from rocm.distributed import OthersFull, merged
from rocm.errors import TrainingError
from rocm.models.memory import used_mb
from rocm.rewards.base import Mixture
from rocm.training.batch import Batch, batch_generator, draw_batches, make_problem, objective_row
from rocm.training.cuda_graph import recorded_update
from rocm.training.memory import full_memory
from rocm.training.policy_update import policy_update
from rocm.training.setup import Setup


def update(setup: Setup, mixture: Mixture, step: int) -> dict[str, Any]:
    """Do one update and measure it; when the memory is full, again in a way that needs less.

    Args:
        setup: the run's parts; its adapter and optimiser change, and maybe its economy.
        mixture: the trained reward.
        step: number of this update, from 1.

    Returns:
        The update's row of metrics. If `loss` is not finite, the adapter is not to be kept; if
        `grad_norm` is not, the optimiser left the step out.

    Raises:
        TrainingError: the memory is too small in every way that the settings allow.
    """
    # A policy gradient, and another process, may have learnt before the memory is full here.
    is_kept = setup.ranks.size > 1 or setup.config.algorithm not in ("rocm", "hybrid")
    before = deepcopy(setup.learner.state_dict()) if is_kept else None
    while (row := _attempt(setup, mixture, step)) is None:
        if before is not None:
            # A copy, for optimisers go on in the tensors that they load.
            setup.learner.load_state_dict(deepcopy(before))
    return row


def _attempt(setup: Setup, mixture: Mixture, step: int) -> dict[str, Any] | None:
    """One update; None if the memory was full and the economy has stepped down."""
    economy = setup.economy
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
    if not setup.economy.step_down(setup.model, setup.config):
        size = setup.economy.settings(setup.config).batch_size
        parts = (setup.model, setup.rewards, setup.learner)
        raise TrainingError(full_memory(*parts, size)) from reason


def _measured_update(setup: Setup, mixture: Mixture, step: int) -> dict[str, Any]:
    config, began, before = setup.config, time.perf_counter(), replace(setup.model.passes)
    change = pathwise_update if config.algorithm in ("rocm", "hybrid") else policy_update
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


def pathwise_update(setup: Setup, mixture: Mixture, step: int) -> dict[str, float]:
    """Back-propagate ROCM's or the hybrid objective, take one optimiser step, and measure it."""
    config, learner = setup.config, setup.learner
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
        if config.algorithm == "hybrid":
            blind, group_size = mixture.blind(scores), config.pictures_per_prompt
            objective = hybrid_objective(problem, objective, _schedule(setup), blind, group_size)
        objectives.append(objective)
        parts.append(dict(scores))
        last, generator = _schedule(setup)[-1], batch_generator(setup, batch)
        again = renoised_objectives(
            problem, objective.latents, last, num_draws, setup.penalty, generator
        )
        for one in chain([objective], again):
            learner.scaler.scale(one.loss / share).backward()
            num_queries += len(one.rewards)
    row = objective_row(objectives, parts, config.num_inference_steps)
    setup.ranks.average_gradients(learner.parameters)
    return row | {
        "reward_queries": num_queries,
        "grad_norm": learner.descend(config.max_grad_norm),
    }


def batch_objective(setup: Setup, problem: Problem, batch: Batch, step: int) -> Objective:
    """ROCM's objective of a batch in update `step`; under ReFL its chain may end early."""
    config, drawn = setup.config, random.Random(f"{setup.config.seed}/{step}")
    num, num_trained = config.num_inference_steps, config.backprop_steps
    if config.backprop == "random_k":
        num_trained = drawn.randint(1, num)
    if config.backprop == "refl":
        num = 1 + drawn.randrange(num // 2, num)
    path = gradient_path(config.backprop, num, num_trained)
    generator = batch_generator(setup, batch)
    schedule = _schedule(setup)[:num]
    return rocm_objective(problem, batch.noise[:num], schedule, path, setup.penalty, generator)


def _schedule(setup: Setup) -> tuple[Step, ...]:
    return setup.model.schedule(setup.config.num_inference_steps, setup.config.grid)
