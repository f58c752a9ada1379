"""One update by policy gradient: draw, score, compare, then optimiser steps on what was drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rocm.algorithms.ppo import Judged, PolicyObjective, ppo_objective
from rocm.algorithms.problem import Problem
from rocm.mdp import Episode, decisions, play
from rocm.rewards import Mixture
from rocm.schedule import Step
from rocm.training.batch import (
    Batch,
    batch_generator,
    draw_batches,
    make_problem,
    measurements,
)
from rocm.training.setup import Setup
from rocm.trajectory import denoised_along


@dataclass(frozen=True)
class _Drawn:
    """A batch, its pictures' episode and rewards (B,), combined and by name."""

    batch: Batch
    problem: Problem
    episode: Episode
    reference: tuple[Tensor, ...]
    rewards: Tensor
    scores: dict[str, Tensor]


def policy_update(setup: Setup, mixture: Mixture, step: int) -> dict[str, float]:
    """Draw the update's pictures once and take `inner_epochs` optimiser steps on them.

    Args:
        setup: the run's parts; adapter, optimiser and prompt statistics change.
        mixture: the trained reward.
        step: number of this update, from 1.

    Returns:
        Measurements: of the pictures and their policy at the first optimiser step,
        `clip_fraction` at the last, `grad_norm` averaged over them.
    """
    config, statistics = setup.config, setup.learner.statistics
    schedule = setup.model.schedule(config.num_inference_steps, config.grid)
    drawn = [_draw(setup, mixture, batch, schedule) for batch in draw_batches(setup, step)]
    prompts = [prompt for one in drawn for prompt in one.batch.prompts]
    rewards = torch.cat([one.rewards for one in drawn])
    advantages = statistics.advantages(prompts, rewards, config.advantage_clip)
    judged = [
        Judged(one.episode, own, one.reference)
        for one, own in zip(drawn, advantages.split(config.batch_size), strict=True)
    ]
    row, norms, clip_fraction = {}, [], 0.0
    for epoch in range(config.inner_epochs):
        objectives, grad_norm = _descend(setup, drawn, judged, schedule)
        if epoch == 0:
            row = _measurements(drawn, objectives, config.num_inference_steps)
            row["reward_queries"] = len(rewards)
            judged = [
                replace(one, old_log_probs=objective.log_probs)
                for one, objective in zip(judged, objectives, strict=True)
            ]
        norms.append(grad_norm)
        clip_fraction = torch.stack([one.clip_fraction for one in objectives]).mean().item()
        if not math.isfinite(grad_norm) and not setup.learner.scaler.is_enabled():
            break
    return row | {"clip_fraction": clip_fraction, "grad_norm": sum(norms) / len(norms)}


@torch.no_grad()
def _draw(setup: Setup, mixture: Mixture, batch: Batch, schedule: Sequence[Step]) -> _Drawn:
    config, scores = setup.config, {}
    problem = make_problem(setup, mixture, batch, scores)
    gaussians = decisions(schedule, config.last_step, config.sigma_floor)
    episode = play(problem.policy, batch.noise, schedule, problem.prediction_type, gaussians)
    steps = schedule[: len(gaussians)]
    reference = denoised_along(problem.reference, episode.states, steps, problem.prediction_type)
    rewards = problem.reward(problem.decode(episode.latents))
    return _Drawn(batch, problem, episode, reference, rewards, scores)


def _descend(
    setup: Setup, drawn: Sequence[_Drawn], judged: Sequence[Judged], schedule: Sequence[Step]
) -> tuple[list[PolicyObjective], float]:
    """One optimiser step on all pictures; returns the objectives and the gradient's norm."""
    config, learner = setup.config, setup.learner
    learner.optimizer.zero_grad(set_to_none=True)
    objectives = []
    for one, known in zip(drawn, judged, strict=True):
        generator = batch_generator(setup, one.batch)
        objective = ppo_objective(
            one.problem, known, schedule, config.clip_range, setup.penalty, generator
        )
        learner.scaler.scale(objective.loss / len(drawn)).backward()
        objectives.append(objective)
    return objectives, learner.descend(config.max_grad_norm)


def _measurements(
    drawn: Sequence[_Drawn], objectives: Sequence[PolicyObjective], num_inference_steps: int
) -> dict[str, float]:
    row = measurements(
        [one.rewards for one in drawn],
        [one.scores for one in drawn],
        [one.divergences for one in objectives],
        num_inference_steps,
    )
    row["kl_nats"] = torch.stack([one.kl_nats for one in objectives]).mean().item()
    row["loss"] = torch.stack([one.loss.detach() for one in objectives]).mean().item()
    return row
