"""Policy gradients on drawn pictures: their episodes, and the present policy at their states.

Policy gradients share this and nothing else. The states and actions of an episode are fixed:
nothing here sends a gradient into them. Shapes: B pictures, N steps, K decisions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rocm.algorithms.divergences import Generators, Penalty, step_divergences
from rocm.algorithms.mdp import Episode, decisions, log_probs
from rocm.algorithms.problem import Problem
from rocm.algorithms.schedule import Step
from rocm.algorithms.trajectory import denoised_along


@dataclass(frozen=True)
class ScoredEpisode:
    """Drawn pictures with advantages: (B,), or (K, B) where each decision has its own.

    `reference` is the reference's f at the K states, None where neither the algorithm nor a
    divergence asks for it; `old_log_probs` (K, B) are of the policy that drew the pictures, None
    while that is the present policy, whose ratio is then exactly 1.
    """

    episode: Episode
    advantages: Tensor
    reference: tuple[Tensor, ...] | None
    old_log_probs: Tensor | None = None


@dataclass(frozen=True)
class PolicyView:
    """The present policy at the states of an episode.

    `log_probs` (K, B) of the actions are differentiable, `old_log_probs` are of the policy that
    drew them. `penalty` (0-d) is beta times the divergence, summed over decisions, mean over
    pictures. `divergences` (K, B), reduced as the penalty says, and `kl_nats` (0-d) are None
    without reference.
    """

    log_probs: Tensor
    old_log_probs: Tensor
    penalty: Tensor
    divergences: Tensor | None
    kl_nats: Tensor | None


@dataclass(frozen=True)
class PolicyObjective:
    """The loss (0-d) of one batch, with gradient, and its parts, without, as in `PolicyView`.

    `clip_fraction` is the share of ratios outside the clip range; None where nothing is clipped.
    """

    loss: Tensor
    log_probs: Tensor
    divergences: Tensor | None
    kl_nats: Tensor | None
    clip_fraction: Tensor | None


def view(
    problem: Problem,
    scored: ScoredEpisode,
    schedule: Sequence[Step],
    penalty: Penalty,
    generators: Generators = (),
) -> PolicyView:
    """Evaluate the policy at the states of an episode, all decisions in one call of the network."""
    gaussians = decisions(schedule, penalty.last_step, penalty.sigma_floor)
    states, steps = scored.episode.states, schedule[: len(gaussians)]
    policy = denoised_along(problem.policy, states, steps, problem.prediction_type)
    now = log_probs(policy, scored.episode, gaussians)
    old = now.detach() if scored.old_log_probs is None else scored.old_log_probs
    if scored.reference is None:
        return PolicyView(now, old, now.new_zeros(()), None, None)
    with torch.set_grad_enabled(penalty.beta > 0):
        divergences, kl_nats = step_divergences(
            policy, scored.reference, schedule, penalty, generators
        )
        weighted = penalty.weight * divergences.sum(0).mean()
    return PolicyView(now, old, weighted, divergences.detach(), kl_nats.detach())


def objective_of(loss: Tensor, seen: PolicyView, is_clipped: Tensor | None) -> PolicyObjective:
    """A loss (0-d) with the penalty of `seen`; `is_clipped` (K, B) is None without clipping."""
    share = None if is_clipped is None else is_clipped.float().mean()
    return PolicyObjective(
        loss + seen.penalty, seen.log_probs.detach(), seen.divergences, seen.kl_nats, share
    )
