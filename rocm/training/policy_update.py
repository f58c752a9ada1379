"""One update by policy gradient: draw, score, compare, then optimizer steps on the pictures."""

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
from rocm.algorithms.trajectory import denoised_along
from rocm.config import RunConfig
from rocm.models.lora import other_adapter
from rocm.rewards.base import Mixture
from rocm.training.batch import Batch, draw_batches, make_problem, measurements, picture_generators
from rocm.training.preferences import BASE
from rocm.training.setup import Setup


@dataclass(frozen=True)
class Drawn:
    """A batch, its pictures' episode and rewards (B,), combined and by name."""

    batch: Batch
    problem: Problem
    episode: Episode
    reference: tuple[Tensor, ...] | None
    rewards: Tensor
    scores: dict[str, Tensor]


Advantages = Callable[[Setup, Sequence[Drawn]], tuple[list[Tensor], dict[str, float]]]
"""(setup, batches) -> advantages of each batch, (B,) or (K, B), and measurements."""


def policy_update(setup: Setup, mixture: Mixture, step: int) -> dict[str, float]:
    """Draw the pictures of update `step` once and take `inner_epochs` optimizer steps on them.

    Measures them at the first step, `clip_fraction` at the last; `grad_norm` is averaged.
    """
    config = setup.config
    drawn = [draw_episode(setup, mixture, batch) for batch in draw_batches(setup, step)]
    advantages, fitted = ADVANTAGES[config.method.advantages](setup, drawn)
    scored = [
        ScoredEpisode(draw.episode, own, draw.reference)
        for draw, own in zip(drawn, advantages, strict=True)
    ]
    row, norms = {}, []
    for epoch in range(config.inner_epochs):
        objectives, grad_norm = _descend(setup, drawn, scored)
        if epoch == 0:
            rewards = [draw.rewards for draw in drawn]
            scores = [draw.scores for draw in drawn]
            row = measurements(rewards, scores, objectives, config.num_inference_steps)
            row["reward_queries"] = sum(map(len, rewards))
            scored = [
                replace(episode, old_log_probs=objective.log_probs)
                for episode, objective in zip(scored, objectives, strict=True)
            ]
        norms.append(grad_norm)
        clipped = [one.clip_fraction for one in objectives if one.clip_fraction is not None]
        if clipped:
            row["clip_fraction"] = torch.stack(clipped).mean().item()
        if not math.isfinite(grad_norm) and not setup.learner.scaler.is_enabled():
            break
    return row | fitted | {"grad_norm": sum(norms) / len(norms)}


@torch.no_grad()
def draw_episode(setup: Setup, mixture: Mixture, batch: Batch) -> Drawn:
    """Draw and score the pictures of a batch."""
    config, schedule = setup.config, setup.schedule
    scores: dict[str, Tensor] = {}
    problem = make_problem(setup, mixture, batch, scores)
    gaussians = decisions(schedule, config.last_step, config.sigma_floor)
    if batch.arms:
        episode = _play_arms(setup, batch, gaussians)
    else:
        episode = play(problem.policy, batch.noise, schedule, problem.prediction_type, gaussians)
    reference = None
    if config.has_penalty or config.method.needs_reference:
        steps = schedule[: len(gaussians)]
        reference = denoised_along(
            problem.reference, episode.states, steps, problem.prediction_type
        )
    _, rewards = problem.scored(episode.latents)
    return Drawn(batch, problem, episode, reference, rewards, scores)


def _play_arms(setup: Setup, batch: Batch, gaussians: Gaussians) -> Episode:
    """The pictures of a table again, each drawn by the adapter that drew it then."""
    config, model = setup.config, setup.model
    played: dict[int, tuple[Episode, int]] = {}
    for arm in sorted(set(batch.arms)):
        chosen = [number for number, other in enumerate(batch.arms) if other == arm]
        context = model.encode([batch.prompts[number] for number in chosen])
        network = (model.reference if arm == BASE else model.policy)(context, config.guidance_scale)
        noise, unet = batch.noise[:, chosen], model.pipeline.unet
        with nullcontext() if arm == BASE else other_adapter(unet, setup.data.adapters[arm]):
            episode = play(network, noise, setup.schedule, model.prediction_type, gaussians)
        played |= {number: (episode, place) for place, number in enumerate(chosen)}
    pictures = [played[number] for number in range(len(batch.arms))]
    num = len(gaussians)
    return Episode(
        tuple(torch.stack([episode.states[n][k] for episode, k in pictures]) for n in range(num)),
        tuple(torch.stack([episode.actions[n][k] for episode, k in pictures]) for n in range(num)),
        torch.stack([episode.latents[k] for episode, k in pictures]),
    )


def _by_preference(setup: Setup, drawn: Sequence[Drawn]) -> tuple[list[Tensor], dict[str, float]]:
    """+1 and -1 within each pair: by the table, whose winners come first, or by the reward."""
    values = [draw.rewards for draw in drawn]
    if setup.data.preferences:
        winner_first = torch.tensor([1.0, 0.0]).repeat(setup.config.batch_size // 2)
        values = [winner_first.to(rewards) for rewards in values]
    return [preferences(rewards) for rewards in values], {}


def _by_prompt(setup: Setup, drawn: Sequence[Drawn]) -> tuple[list[Tensor], dict[str, float]]:
    """Compare rewards with the prompt's usual reward, over the pictures of all processes."""
    config = setup.config
    own = [prompt for draw in drawn for prompt in draw.batch.prompts]
    rewards = torch.cat([draw.rewards for draw in drawn])
    known = setup.ranks.gather((own, rewards.cpu()))
    prompts = [prompt for prompts, _ in known for prompt in prompts]
    everywhere = torch.cat([values for _, values in known]).to(rewards)
    advantages = setup.learner.statistics.advantages(prompts, everywhere, config.advantage_clip)
    mine = advantages.chunk(setup.ranks.size)[setup.ranks.rank]
    return list(mine.split(config.batch_size)), {}


def _by_value(setup: Setup, drawn: Sequence[Drawn]) -> tuple[list[Tensor], dict[str, float]]:
    """Fit DPOK's value to the rewards of all pictures, then subtract it."""
    config, critic = setup.config, setup.learner.critic
    assert critic is not None, "the table of algorithms says has_value"
    num = len(drawn[0].episode.states)
    timesteps = [step.timestep for step in setup.schedule[:num]]
    states = [torch.cat([draw.episode.states[n] for draw in drawn]) for n in range(num)]
    context = setup.model.encode([prompt for draw in drawn for prompt in draw.batch.prompts])
    rewards = torch.cat([draw.rewards for draw in drawn])
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


ADVANTAGES: dict[str, Advantages] = {
    "preferences": _by_preference,
    "prompt": _by_prompt,
    "value": _by_value,
}


# The objective of (problem, scored, schedule, penalty, generators), by the name of the loss.
LOSSES: dict[str, Callable[[RunConfig], Callable[..., PolicyObjective]]] = {
    "ppo": lambda config: partial(ppo_objective, clip_range=config.clip_range),
    "rebel": lambda config: partial(rebel_objective, eta=config.rebel_eta),
    "d3po": lambda config: partial(
        d3po_objective, rule=PairRule(config.preference_beta, config.clip_range)
    ),
    "dpok": lambda config: partial(dpok_objective, clip_range=config.clip_range),
}


def _descend(
    setup: Setup, drawn: Sequence[Drawn], scored: Sequence[ScoredEpisode]
) -> tuple[list[PolicyObjective], float]:
    """One optimizer step on all pictures; returns the objectives and the gradient's norm."""
    config, learner = setup.config, setup.learner
    learner.optimizer.zero_grad(set_to_none=True)
    objective_of = LOSSES[config.method.loss](config)
    objectives = []
    for draw, known in zip(drawn, scored, strict=True):
        generators = picture_generators(setup, draw.batch)
        objective = objective_of(
            draw.problem, known, setup.schedule, penalty=setup.penalty, generators=generators
        )
        learner.scaler.scale(objective.loss / len(drawn)).backward()
        objectives.append(objective)
    setup.ranks.average_gradients(learner.parameters)
    return objectives, learner.descend(config.max_grad_norm)
