r"""Hybrid: rewards with a gradient first order, those without by policy gradient (ours).

The paper's first open question is a reward that cannot be differentiated. With R = S + U, where S
has a gradient in the picture and U is only a number:

.. math:: L(\theta) = \frac1B \sum_b \Big[-S_b + \beta \sum_n D_{nb}
          - A_b \sum_{n < N-1} \log\pi_\theta\big(a_n \mid \mathrm{stop}(x_n)\big)\Big], \qquad
          A_b = U_b - \frac1{G-1} \sum_{b' \ne b} U_{b'}

The first two terms are `rocm_objective`; the sum over b' runs over the other pictures of the same
prompt (G of them in a batch, pictures_per_prompt). One rollout serves both: the actions are its
next states. Log-densities are joint (summed over latent elements) and A is not divided by a
deviation, so that the gradient is that of E[-R] + beta E[D] without bias, for all maps but the
last: that step draws no noise, so U reaches its map through shared parameters only. Shapes: B
pictures, N steps, C x H x W latents.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from rocm.algorithms.mdp import decisions, episode_of, log_probs
from rocm.algorithms.problem import Problem
from rocm.algorithms.rocm import Objective
from rocm.algorithms.schedule import Step
from rocm.algorithms.trajectory import denoised_along


def hybrid_objective(
    problem: Problem,
    first_order: Objective,
    schedule: Sequence[Step],
    blind: Tensor,
    group_size: int,
) -> Objective:
    """ROCM's objective of the whole reward R, in which U is a constant, with the third term.

    `blind` is U of its pictures, (B,); `group_size` is G >= 2, and B is a multiple of it.
    """
    gaussians = decisions(schedule, "skip", 0.0)
    episode = episode_of(first_order.states, first_order.latents, schedule, gaussians)
    steps = schedule[: len(gaussians)]
    policy = denoised_along(problem.policy, episode.states, steps, problem.prediction_type)
    joint = log_probs(policy, episode, gaussians).sum(0) * first_order.latents[0].numel()
    loss = first_order.loss + score_loss(joint, blind, group_size)
    return replace(first_order, loss=loss)


def score_loss(joint_log_prob: Tensor, rewards: Tensor, group_size: int) -> Tensor:
    """Minus the mean of advantage times log-density, whose gradient is the policy gradient's.

    Of (B,) log-densities and rewards; consecutive groups of `group_size` pictures are compared.
    """
    groups = rewards.detach().view(-1, group_size)
    others = (groups.sum(1, keepdim=True) - groups) / (group_size - 1)
    return -((groups - others).flatten() * joint_log_prob).mean()
