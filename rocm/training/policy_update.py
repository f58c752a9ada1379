"""One update by policy gradient: draw, score, compare, then optimiser steps on what was drawn."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from rocm.algorithms.d3po import PairRule, d3po_objective, preferences
from rocm.algorithms.dpok import dpok_objective
from rocm.algorithms.mdp import Episode, Gaussians, decisions, play
from rocm.algorithms.policy_gradient import PolicyObjective, ScoredEpisode
from rocm.algorithms.problem import Problem
from rocm.algorithms.rlcm import ppo_objective, rebel_objective
from rocm.algorithms.schedule import Step
from rocm.algorithms.trajectory import denoised_along
from rocm.config import RunConfig
from rocm.models.lora import other_adapter
from rocm.rewards.base import Mixture
from rocm.training.batch import (
    Batch,
    batch_generator,
    draw_batches,
    make_problem,
    measurements,
)
from rocm.training.preferences import BASE
from rocm.training.setup import Setup


@dataclass(frozen=True)
class _Drawn:
    """A batch, its pictures' episode and rewards (B,), combined and by name."""

    batch: Batch
    problem: Problem
    episode: Episode
    reference: tuple[Tensor, ...] | None
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
    config = setup.config
    schedule = setup.model.schedule(config.num_inference_steps, config.grid)
    drawn = [_draw(setup, mixture, batch, schedule) for batch in draw_batches(setup, step)]
    advantages, fitted = _judge(setup, drawn, schedule)
    scored = [
        ScoredEpisode(one.episode, own, one.reference)
        for one, own in zip(drawn, advantages, strict=True)
    ]
    row, norms = {}, []
    for epoch in range(config.inner_epochs):
        objectives, grad_norm = _descend(setup, drawn, scored, schedule)
        if epoch == 0:
            row = _measurements(drawn, objectives, config.num_inference_steps)
            row["reward_queries"] = sum(len(one.rewards) for one in drawn)
            scored = [
                replace(one, old_log_probs=objective.log_probs)
                for one, objective in zip(scored, objectives, strict=True)
            ]
        norms.append(grad_norm)
        clipped = [one.clip_fraction for one in objectives if one.clip_fraction is not None]
        if clipped:
            row["clip_fraction"] = torch.stack(clipped).mean().item()
        if not math.isfinite(grad_norm) and not setup.learner.scaler.is_enabled():
            break
    return row | fitted | {"grad_norm": sum(norms) / len(norms)}


@torch.no_grad()
def _draw(setup: Setup, mixture: Mixture, batch: Batch, schedule: Sequence[Step]) -> _Drawn:
    config, scores = setup.config, {}
    problem = make_problem(setup, mixture, batch, scores)
    gaussians = decisions(schedule, config.last_step, config.sigma_floor)
    if batch.arms:
        episode = _play_arms(setup, batch, schedule, gaussians)
    else:
        episode = play(problem.policy, batch.noise, schedule, problem.prediction_type, gaussians)
    reference = None
    if config.beta > 0 or config.algorithm == "d3po":
        steps = schedule[: len(gaussians)]
        reference = denoised_along(
            problem.reference, episode.states, steps, problem.prediction_type
        )
    _, rewards = problem.scored(episode.latents)
    return _Drawn(batch, problem, episode, reference, rewards, scores)


def _play_arms(
    setup: Setup, batch: Batch, schedule: Sequence[Step], gaussians: Gaussians
) -> Episode:
    """The pictures of a table again, each drawn by the arm that drew it then."""
    config, model, played = setup.config, setup.model, {}
    for arm in sorted(set(batch.arms)):
        chosen = [number for number, other in enumerate(batch.arms) if other == arm]
        context = model.encode([batch.prompts[number] for number in chosen])
        switched = (
            nullcontext() if arm == BASE else other_adapter(model.pipeline.unet, setup.arms[arm])
        )
        network = (model.reference if arm == BASE else model.policy)(context, config.guidance_scale)
        noise = batch.noise[:, chosen]
        with switched:
            episode = play(network, noise, schedule, model.prediction_type, gaussians)
        played |= {number: (episode, place) for place, number in enumerate(chosen)}
    pictures = [played[number] for number in range(len(batch.arms))]
    num = len(gaussians)
    return Episode(
        tuple(torch.stack([one.states[n][k] for one, k in pictures]) for n in range(num)),
        tuple(torch.stack([one.actions[n][k] for one, k in pictures]) for n in range(num)),
        torch.stack([one.latents[k] for one, k in pictures]),
    )


def _judge(
    setup: Setup, drawn: Sequence[_Drawn], schedule: Sequence[Step]
) -> tuple[list[Tensor], dict[str, float]]:
    """What each picture of each batch is worth to the algorithm, and what that measured."""
    config = setup.config
    if config.algorithm == "d3po" and setup.preferences:
        winner_first = torch.tensor([1.0, 0.0]).repeat(config.batch_size // 2)
        return [preferences(winner_first.to(one.rewards)) for one in drawn], {}
    if config.algorithm == "d3po":
        return [preferences(one.rewards) for one in drawn], {}
    if config.algorithm == "dpok":
        return _judge_by_value(setup, drawn, schedule)
    # A prompt's usual reward is that of its pictures in all processes, so each takes in all.
    own = [prompt for one in drawn for prompt in one.batch.prompts]
    rewards = torch.cat([one.rewards for one in drawn])
    known = setup.ranks.gather((own, rewards.cpu()))
    prompts = [prompt for prompts, _ in known for prompt in prompts]
    everywhere = torch.cat([values for _, values in known]).to(rewards)
    advantages = setup.learner.statistics.advantages(prompts, everywhere, config.advantage_clip)
    mine = advantages.chunk(setup.ranks.size)[setup.ranks.rank]
    return list(mine.split(config.batch_size)), {}


def _judge_by_value(
    setup: Setup, drawn: Sequence[_Drawn], schedule: Sequence[Step]
) -> tuple[list[Tensor], dict[str, float]]:
    """Fit DPOK's value to the rewards of all pictures, then subtract it."""
    config, critic = setup.config, setup.learner.critic
    num = len(drawn[0].episode.states)
    timesteps = [step.timestep for step in schedule[:num]]
    states = [torch.cat([one.episode.states[n] for one in drawn]) for n in range(num)]
    context = setup.model.encode([prompt for one in drawn for prompt in one.batch.prompts])
    rewards = torch.cat([one.rewards for one in drawn])
    for _ in range(config.value_epochs):
        critic.optimizer.zero_grad(set_to_none=True)
        error = (critic.value(states, timesteps, context) - rewards).square().mean()
        error.backward()
        setup.ranks.average_gradients(list(critic.value.parameters()))
        critic.optimizer.step()
    with torch.no_grad():
        advantages = rewards - critic.value(states, timesteps, context)
    limited = advantages.clamp(-config.advantage_clip, config.advantage_clip)
    return list(limited.split(config.batch_size, dim=1)), {"value_loss": error.item()}


def _objective_of(config: RunConfig) -> Callable[..., PolicyObjective]:
    """The algorithm's objective of (problem, scored, schedule, penalty, generator)."""
    if config.algorithm == "d3po":
        return partial(d3po_objective, rule=PairRule(config.preference_beta, config.clip_range))
    if config.algorithm == "dpok":
        return partial(dpok_objective, clip_range=config.clip_range)
    if config.policy_loss == "rebel":
        return partial(rebel_objective, eta=config.rebel_eta)
    return partial(ppo_objective, clip_range=config.clip_range)


def _descend(
    setup: Setup, drawn: Sequence[_Drawn], scored: Sequence[ScoredEpisode], schedule: Sequence[Step]
) -> tuple[list[PolicyObjective], float]:
    """One optimiser step on all pictures; returns the objectives and the gradient's norm."""
    config, learner = setup.config, setup.learner
    learner.optimizer.zero_grad(set_to_none=True)
    objectives = []
    for one, known in zip(drawn, scored, strict=True):
        generator = batch_generator(setup, one.batch)
        objective = _objective_of(config)(
            one.problem, known, schedule, penalty=setup.penalty, generator=generator
        )
        learner.scaler.scale(objective.loss / len(drawn)).backward()
        objectives.append(objective)
    setup.ranks.average_gradients(learner.parameters)
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
    nats = [one.kl_nats for one in objectives if one.kl_nats is not None]
    if nats:
        row["kl_nats"] = torch.stack(nats).mean().item()
    row["loss"] = torch.stack([one.loss.detach() for one in objectives]).mean().item()
    return row
