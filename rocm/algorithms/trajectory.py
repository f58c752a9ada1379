r"""Differentiable multistep consistency sampling: the chain that ROCM back-propagates through.

.. math:: x_{n+1} = \sqrt{\bar\alpha_{s_n}} f_\theta(x_n, t_n) + \sqrt{1 - \bar\alpha_{s_n}} z_n,
          \qquad x_N = f_\theta(x_{N-1}, t_{N-1})

The noise z is an argument, drawn once per picture and held fixed (reparameterization). The network
is any function of (state, timesteps); models, adapters and checkpointing live elsewhere.
Shapes: B pictures, C x H x W latents, N steps.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from rocm.algorithms.schedule import Step

Network = Callable[[Tensor, Tensor], Tensor]
"""(state (M, C, H, W), timesteps (M,) int64) -> raw output (M, C, H, W)."""


@dataclass(frozen=True)
class GradientPath:
    """For each of the N steps, whether the network's parameters receive a gradient (`trained`).

    With `detach_input` the network sees its state without gradient, so that only the linear terms
    of the update carry the gradient back (DRTune, arXiv 2405.00760).
    """

    trained: tuple[bool, ...]
    detach_input: bool = False


@dataclass(frozen=True)
class Trajectory:
    """N states x_0 .. x_{N-1}, f_theta at each, and the latents x_N, all (B, C, H, W)."""

    states: tuple[Tensor, ...]
    denoised: tuple[Tensor, ...]
    latents: Tensor


def gradient_path(backprop: str, num_inference_steps: int, num_trained: int) -> GradientPath:
    """The gradient's path through the chain of N steps.

    `full` trains every step; `last_k` and `random_k` the last K = `num_trained` only (DRaFT-K,
    arXiv 2309.17400; AlignProp, arXiv 2310.03739), `refl` and `draft_lv` the last one, `drtune` K
    evenly spaced steps, the last one included. K is 1 to N.
    """
    num = num_inference_steps
    if backprop == "full":
        return GradientPath((True,) * num)
    if backprop == "drtune":
        chosen = {num - 1 - k * num // num_trained for k in range(num_trained)}
        return GradientPath(tuple(n in chosen for n in range(num)), detach_input=True)
    if backprop in ("refl", "draft_lv"):
        num_trained = 1
    return GradientPath(tuple(n >= num - num_trained for n in range(num)))


def picture_noise(seed: int, num_inference_steps: int, shape: Sequence[int]) -> Tensor:
    """All noise of one picture, (N, C, H, W), float32, in the order of diffusers' pipeline.

    The initial state, then one draw for each step but the last. It depends on the seed, 0 to 2**63
    - 1, only, never on batch, device, adapter or neighbors.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.cat(
        [torch.randn((1, *shape), generator=generator) for _ in range(num_inference_steps)]
    )


def batch_noise(seeds: Sequence[int], num_inference_steps: int, shape: Sequence[int]) -> Tensor:
    """`picture_noise` of several seeds, stacked to (N, B, C, H, W)."""
    return torch.stack([picture_noise(seed, num_inference_steps, shape) for seed in seeds], dim=1)


def clean_estimate(output: Tensor, state: Tensor, step: Step, prediction_type: str) -> Tensor:
    r"""The clean latent (B, C, H, W) that a raw network output stands for.

    .. math:: \epsilon:\ (x - \sigma_t \epsilon)/\alpha_t, \qquad v:\ \alpha_t x - \sigma_t v,
              \qquad sample:\ output

    `prediction_type` is `epsilon`, `v_prediction` or `sample`, as in diffusers' scheduler config.
    """
    if prediction_type == "epsilon":
        return (state - step.sigma * output) / step.alpha
    if prediction_type == "v_prediction":
        return step.alpha * state - step.sigma * output
    return output


def denoised_latent(output: Tensor, state: Tensor, step: Step, prediction_type: str) -> Tensor:
    r"""The consistency function f = c_out * clean_estimate + c_skip * state, (B, C, H, W)."""
    return step.c_out * clean_estimate(output, state, step, prediction_type) + step.c_skip * state


def next_state(denoised: Tensor, state: Tensor, noise: Tensor | None, step: Step) -> Tensor:
    """x_{n+1} = alpha_next * f + carry * x_n + sigma_next * z; without noise (last step), f."""
    if noise is None:
        return denoised
    following = step.alpha_next * denoised + step.sigma_next * noise
    return following + step.carry * state if step.carry else following


def rollout(
    network: Network,
    noise: Tensor,
    schedule: Sequence[Step],
    prediction_type: str,
    path: GradientPath | None = None,
) -> Trajectory:
    """Draw B pictures' latents in N steps; without a `path` the gradient flows through all.

    `noise` is (N, B, C, H, W): the initial state, then the draws after each step but the last.
    """
    path = path or GradientPath((True,) * len(schedule))
    state, states, denoised = noise[0], [], []
    for n, step in enumerate(schedule):
        seen = state.detach() if path.detach_input else state
        with nullcontext() if path.trained[n] else torch.no_grad():
            output = network(seen, seen.new_full((len(seen),), step.timestep, dtype=torch.long))
        states.append(state)
        denoised.append(denoised_latent(output, state, step, prediction_type))
        following = noise[n + 1] if n + 1 < len(schedule) else None
        state = next_state(denoised[-1], state, following, step)
    return Trajectory(tuple(states), tuple(denoised), latents=state)


def denoised_along(
    network: Network,
    states: Sequence[Tensor],
    schedule: Sequence[Step],
    prediction_type: str,
    detach_input: bool = False,
) -> tuple[Tensor, ...]:
    """f of a network at N known states (B, C, H, W), all steps in one call; N such tensors.

    The gradient into the states is kept unless `detach_input`, as in `GradientPath`.
    """
    seen = torch.cat([state.detach() if detach_input else state for state in states])
    repeats = [len(state) for state in states]
    # Filled on the device: a list that is copied there would have to be waited for.
    timesteps = [
        state.new_full((len(state),), step.timestep, dtype=torch.long)
        for state, step in zip(states, schedule, strict=True)
    ]
    outputs = network(seen, torch.cat(timesteps))
    return tuple(
        denoised_latent(output, state, step, prediction_type)
        for output, state, step in zip(outputs.split(repeats), states, schedule, strict=True)
    )
