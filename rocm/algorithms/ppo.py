r"""RLCM: proximal policy optimisation of a consistency model (arXiv 2404.03673), zeroth order.

.. math:: L(\theta) = \frac1{KB} \sum_{n,b} \max\big(-A_b\, r_{nb},\
          -A_b\, \mathrm{clip}(r_{nb}, 1 - \epsilon, 1 + \epsilon)\big)
          + \frac{\beta}{B} \sum_{n,b} D_{nb}, \qquad
          r_{nb} = \exp\big(\ell_\theta(a_n|x_n) - \ell_{old}(a_n|x_n)\big)

with l the mean log-density of `rocm.mdp.log_prob`. The reward is only ever a number, so any will
do. Departure: RLCM has no divergence; beta = 0 is RLCM. States are fixed, so the divergence sends
no gradient into them. Shapes: B pictures, N steps, K decisions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rocm.algorithms.problem import Problem
from rocm.divergences import Penalty, step_divergences
from rocm.mdp import Episode, decisions, log_probs
from rocm.schedule import Step
from rocm.trajectory import denoised_along


@dataclass(frozen=True)
class Judged:
    """Pictures that were drawn, and what came of them.

    Attributes:
        episode: states and actions.
        advantages: (B,).
        reference: K tensors (B, C, H, W), the reference's f at the episode's states.
        old_log_probs: (K, B), under the policy that drew them; None while that policy is the
            present one, whose ratio is then exactly 1.
    """

    episode: Episode
    advantages: Tensor
    reference: tuple[Tensor, ...]
    old_log_probs: Tensor | None = None


@dataclass(frozen=True)
class PolicyObjective:
    """The loss of one batch and what it is made of.

    Attributes:
        loss: 0-d, differentiable.
        log_probs: (K, B), without gradient.
        clip_fraction: 0-d, share of ratios outside the clip range.
        divergences: (K, B), reduced as the penalty says.
        kl_nats: 0-d, as in the pathwise objective.
    """

    loss: Tensor
    log_probs: Tensor
    clip_fraction: Tensor
    divergences: Tensor
    kl_nats: Tensor


def ppo_objective(
    problem: Problem,
    judged: Judged,
    schedule: Sequence[Step],
    clip_range: float,
    penalty: Penalty,
    generator: torch.Generator | None = None,
) -> PolicyObjective:
    """The clipped objective of one batch of pictures, all decisions in one call of the network.

    Args:
        problem: the policy; nothing else of it is used.
        judged: the pictures' episode, advantages and reference.
        schedule: N steps.
        clip_range: epsilon.
        penalty: weight and kind of the divergence, and the last step's Gaussian.
        generator: of the draws of the sampled Jensen-Shannon estimator; not used otherwise.

    Returns:
        The objective, averaged over decisions and pictures; the divergence summed over decisions.
    """
    gaussians = decisions(schedule, penalty.last_step, penalty.sigma_floor)
    states, steps = judged.episode.states, schedule[: len(gaussians)]
    policy = denoised_along(problem.policy, states, steps, problem.prediction_type)

    now = log_probs(policy, judged.episode, gaussians)
    old = now.detach() if judged.old_log_probs is None else judged.old_log_probs
    ratio = (now - old).exp()
    with torch.set_grad_enabled(penalty.beta > 0):
        divergences, kl_nats = step_divergences(
            policy, judged.reference, schedule, penalty, generator
        )

    loss = clipped_loss(ratio, judged.advantages, clip_range)
    if penalty.beta > 0:
        loss = loss + penalty.beta * divergences.sum(0).mean()
    is_clipped = (ratio.detach() - 1).abs() > clip_range
    return PolicyObjective(
        loss, now.detach(), is_clipped.float().mean(), divergences.detach(), kl_nats.detach()
    )


def clipped_loss(ratio: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """PPO's pessimistic loss, 0-d: the larger of the plain and the clipped one.

    Args:
        ratio: (K, B), 1 where the policy has not moved.
        advantages: (B,), positive for pictures better than usual.
        clip_range: epsilon.

    Returns:
        Mean over decisions and pictures.
    """
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return torch.maximum(-advantages * ratio, -advantages * clipped).mean()
