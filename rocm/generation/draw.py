"""Pictures from prompts and seeds, the same by app, command line and stock diffusers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rocm.algorithms.divergences import Penalty, step_divergences
from rocm.algorithms.trajectory import Trajectory, batch_noise, denoised_along, rollout
from rocm.models.consistency import ConsistencyModel

JOINT_KL = Penalty(beta=0, divergence="kl", reduction="joint")


@dataclass(frozen=True)
class Sampling:
    """How pictures are drawn; the fields are the settings of the same names."""

    num_inference_steps: int = 4
    guidance_scale: float = 8.5
    grid: str = "current"
    batch_size: int = 8


@torch.no_grad()
def draw(
    model: ConsistencyModel, prompts: Sequence[str], seeds: Sequence[int], sampling: Sampling
) -> Iterator[Tensor]:
    """Draw one picture per prompt and seed, (b, 3, H, W) a batch, on the CPU, not clamped.

    A picture depends on its prompt, seed and the sampling alone, up to float rounding.
    """
    for trajectory, _ in _rollouts(model, prompts, seeds, sampling):
        yield model.decode(trajectory.latents).cpu()


@torch.no_grad()
def draw_with_divergence(
    model: ConsistencyModel, prompts: Sequence[str], seeds: Sequence[int], sampling: Sampling
) -> Iterator[tuple[Tensor, Tensor]]:
    """As `draw`, with each picture's divergence from the reference: (b,) in nats.

    The KL is taken at the policy's own states, summed over latent elements and steps; the last step
    has the noise level of its timestep (`last_step: smooth`).
    """
    schedule = model.schedule(sampling.num_inference_steps, sampling.grid)
    for trajectory, context in _rollouts(model, prompts, seeds, sampling):
        network = model.reference(context, sampling.guidance_scale)
        reference = denoised_along(network, trajectory.states, schedule, model.prediction_type)
        divergences, _ = step_divergences(trajectory.denoised, reference, schedule, JOINT_KL)
        yield model.decode(trajectory.latents).cpu(), divergences.sum(0).cpu()


def _rollouts(
    model: ConsistencyModel, prompts: Sequence[str], seeds: Sequence[int], sampling: Sampling
) -> Iterator[tuple[Trajectory, Tensor]]:
    """Trajectory and text features of each batch."""
    schedule = model.schedule(sampling.num_inference_steps, sampling.grid)
    for start in range(0, len(prompts), sampling.batch_size):
        chosen = slice(start, start + sampling.batch_size)
        context = model.encode(prompts[chosen])
        network = model.policy(context, sampling.guidance_scale)
        noise = batch_noise(seeds[chosen], sampling.num_inference_steps, model.latent_shape)
        noise = noise.to(model.device)
        yield rollout(network, noise, schedule, model.prediction_type), context
