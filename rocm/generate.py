"""Pictures from prompts and seeds, the same by app, command line and stock diffusers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from rocm.models.consistency import ConsistencyModel
from rocm.trajectory import batch_noise, rollout


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
    """Draw one picture per prompt and seed, a batch at a time.

    A picture depends on its prompt, seed and the sampling alone, up to float rounding.

    Args:
        model: with or without adapter.
        prompts: M prompts.
        seeds: M noise seeds.
        sampling: steps, guidance, grid, batch size.

    Yields:
        (b, 3, H, W) on the CPU, nominally in [0, 1], not clamped.
    """
    schedule = model.schedule(sampling.num_inference_steps, sampling.grid)
    for start in range(0, len(prompts), sampling.batch_size):
        chosen = slice(start, start + sampling.batch_size)
        network = model.policy(model.encode(prompts[chosen]), sampling.guidance_scale)
        noise = batch_noise(seeds[chosen], sampling.num_inference_steps, model.latent_shape)
        trajectory = rollout(network, noise.to(model.device), schedule, model.prediction_type)
        yield model.decode(trajectory.latents).cpu()


def to_pil(image: Tensor) -> Image.Image:
    """A PIL picture from (3, H, W), rounded as diffusers does."""
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
