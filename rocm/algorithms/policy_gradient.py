"""Policy gradients on drawn pictures: their episodes, and the present policy at their states.

Policy gradients share this and nothing else. The states and actions of an episode are fixed:
nothing here sends a gradient into them. Shapes: B pictures, N steps, K decisions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rocm.algorithms.divergences import Penalty, step_divergences
from rocm.algorithms.mdp import Episode, decisions, log_probs
from rocm.algorithms.problem import Problem
from rocm.algorithms.schedule import Step
from rocm.algorithms.trajectory import denoised_along


@dataclass(frozen=True)
class ScoredEpisode:
    """Drawn pictures with their advantages.

    Attributes:
        episode: states and actions.
        advantages: (B,), or (K, B) where each decision has its own.
        reference: K tensors (B, C, H, W), the reference's f at the episode's states; None where
            neither the algorithm nor a divergence asks for it.
        old_log_probs: (K, B), under the policy that drew them; None while that policy is the
            present one, whose ratio is then exactly 1.
    """

    episode: Episode
    advantages: Tensor
    reference: tuple[Tensor, ...] | None
    old_log_probs: Tensor | None = None


@dataclass(frozen=True)
class PolicyView:
    """The present policy at the states of an episode.

    Attributes:
        log_probs: (K, B), of the actions, differentiable.
        old_log_probs: (K, B), without gradient; equal to log_probs while the policy is the one that
            drew the pictures.
        penalty: 0-d, beta times the divergence, summed over decisions, mean over pictures.
        divergences: (K, B), reduced as the penalty says; None without reference.
        kl_nats: 0-d, as in the pathwise objective; None without reference.
    """

    log_probs: Tensor
    old_log_probs: Tensor
    penalty: Tensor
    divergences: Tensor | None
    kl_nats: Tensor | None


@dataclass(frozen=True)
class PolicyObjective:
    """The loss of one batch and its parts; only the loss carries a gradient.

    Attributes:
        loss: 0-d.
        log_probs: (K, B).
        divergences: as in `PolicyView`.
        kl_nats: as in `PolicyView`.
        clip_fraction: 0-d, share of ratios outside the clip range; None where nothing is clipped.
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
    generator: torch.Generator | None = None,
) -> PolicyView:
    """Evaluate the policy at the states of an episode, all decisions in one call of the network.

    `penalty` gives the divergence and the last step's Gaussian, `generator` the draws of the
    sampled Jensen-Shannon estimator; of `problem` only the policy is used.
    """
    gaussians = decisions(schedule, penalty.last_step, penalty.sigma_floor)
    states, steps = scored.episode.states, schedule[: len(gaussians)]
    policy = denoised_along(problem.policy, states, steps, problem.prediction_type)
    now = log_probs(policy, scored.episode, gaussians)
    old = now.detach() if scored.old_log_probs is None else scored.old_log_probs
    if scored.reference is None:
        return PolicyView(now, old, now.new_zeros(()), None, None)
    with torch.set_grad_enabled(penalty.beta > 0):
        divergences, kl_nats = step_divergences(
            policy, scored.reference, schedule, penalty, generator
        )
        weighted = penalty.beta * divergences.sum(0).mean()
    return PolicyView(now, old, weighted, divergences.detach(), kl_nats.detach())


def objective_of(loss: Tensor, seen: PolicyView, is_clipped: Tensor | None) -> PolicyObjective:
    """A loss (0-d) with the penalty of `seen` added, and its measurements.

    `is_clipped` is (K, B), whether a ratio is outside the clip range; None without clipping.
    """
    share = None if is_clipped is None else is_clipped.float().mean()
    return PolicyObjective(
        loss + seen.penalty, seen.log_probs.detach(), seen.divergences, seen.kl_nats, share
    )
