r"""The chain as a Markov decision process, for policy gradients (RLCM, arXiv 2404.03673).

.. math:: \pi_\theta(a_n \mid x_n) = N\big(\alpha_{s_n} f_\theta(x_n, t_n),\ \sigma_{s_n}^2 I\big),
          \qquad x_{n+1} = a_n

State: x_n, its timestep and the prompt; action: the next state; the reward comes at the end. The
last step of the sampler is deterministic, so its Gaussian is a choice (`last_step`): RLCM smooths
it with the noise level of its own timestep. The picture is decoded from f, not from that last
action, so that the same seed draws the same picture for every algorithm. Shapes: B pictures, N
steps of the sampler, K decisions (N, or N - 1 where the last step is left out), C x H x W latents.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rocm.algorithms.divergences import transition
from rocm.algorithms.schedule import Step
from rocm.algorithms.trajectory import Network, rollout

Gaussians = tuple[tuple[float, float], ...]
"""(alpha, sigma) of each of the K decisions."""


@dataclass(frozen=True)
class Episode:
    """K states, K actions and the clean latents of a chain, all (B, C, H, W), without gradient.

    Actions are the next states minus the part carried over from x_n, which is fixed and changes no
    density.
    """

    states: tuple[Tensor, ...]
    actions: tuple[Tensor, ...]
    latents: Tensor


def decisions(schedule: Sequence[Step], last_step: str, sigma_floor: float) -> Gaussians:
    """(alpha, sigma) of the steps that are decisions: all N, or N - 1 with last_step `skip`."""
    gaussians = [
        transition(step, n + 1 == len(schedule), last_step, sigma_floor)
        for n, step in enumerate(schedule)
    ]
    return tuple(gaussian for gaussian in gaussians if gaussian is not None)


@torch.no_grad()
def play(
    network: Network,
    noise: Tensor,
    schedule: Sequence[Step],
    prediction_type: str,
    gaussians: Gaussians,
) -> Episode:
    """Draw B pictures and keep states and actions; latents are `rollout`'s of the same noise.

    `noise` is (N + 1, B, C, H, W): as for `rollout`, then the draw of the last action.
    """
    trajectory = rollout(network, noise, schedule, prediction_type)
    last = noise[len(schedule)] if len(gaussians) == len(schedule) else None
    return episode_of(trajectory.states, trajectory.latents, schedule, gaussians, last)


def episode_of(
    states: Sequence[Tensor],
    latents: Tensor,
    schedule: Sequence[Step],
    gaussians: Gaussians,
    last_noise: Tensor | None = None,
) -> Episode:
    """The decisions of a chain that was drawn: x_0 .. x_{N-1} and x_N, without gradient.

    `last_noise` (B, C, H, W) is the draw of the last action if K = N.
    """
    actions = [
        following - step.carry * state if step.carry else following
        for following, state, step in zip(states[1:], states, schedule, strict=False)
    ]
    if last_noise is not None:
        alpha, sigma = gaussians[-1]
        actions.append(alpha * latents + sigma * last_noise)
    return Episode(tuple(states[: len(gaussians)]), tuple(actions), latents)


def log_prob(denoised: Tensor, action: Tensor, alpha: float, sigma: float) -> Tensor:
    r"""Log-density of an action, averaged over its D = C H W elements as RLCM and DDPO do, (B,).

    .. math:: \frac1D \sum_j \Big[-\frac{(a_j - \alpha f_j)^2}{2 \sigma^2}
              - \log\sigma - \tfrac12\log 2\pi\Big]

    `denoised` is f at the state and `action` a, both (B, C, H, W); sigma > 0. The joint log-density
    is D times it, and so is the joint log-ratio of two policies.
    """
    exponent = (action - alpha * denoised).square() / (2 * sigma**2)
    return -exponent.flatten(1).mean(1) - math.log(sigma) - math.log(2 * math.pi) / 2


def log_probs(denoised: Sequence[Tensor], episode: Episode, gaussians: Gaussians) -> Tensor:
    """`log_prob` of every decision of an episode, (K, B); `denoised` are f at its K states."""
    return torch.stack(
        [
            log_prob(f, action, alpha, sigma)
            for f, action, (alpha, sigma) in zip(denoised, episode.actions, gaussians, strict=True)
        ]
    )
