"""An ordinary diffusion model in diffusers' layout, sampled by DDIM, as the same kind of network.

Its networks, latents and adapter are used as a consistency model's are. What differs: guidance is
classifier-free (the U-Net sees each state twice, with the prompt and with the empty one), and the
schedule is DDIM's with eta = 1.
"""

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from torch import Tensor

from rocm.errors import ConfigError
from rocm.models.consistency import (
    DTYPES,
    ConsistencyModel,
    freeze,
    load_pipeline,
    resolve_device,
)
from rocm.schedule import Step, ddim_schedule
from rocm.trajectory import Network


class DiffusionModel(ConsistencyModel):
    """A Stable Diffusion pipeline, frozen, whose f is the clean estimate of its U-Net."""

    def schedule(self, num_inference_steps: int, grid: str = "current") -> tuple[Step, ...]:
        """The N-step DDIM schedule on the timesteps of the model's own scheduler; no other grid."""
        scheduler = DDIMScheduler.from_config(self.pipeline.scheduler.config)
        scheduler.set_timesteps(num_inference_steps)
        return ddim_schedule(
            scheduler.alphas_cumprod.double().tolist(), scheduler.timesteps.tolist()
        )

    def guided(self, context: Tensor, guidance_scale: float) -> Network:
        r"""Classifier-free guidance, u + g (c - u); with g = 1 the prompt alone.

        Args:
            context: text features (B, L, D).
            guidance_scale: g, in diffusers' convention.

        Returns:
            The U-Net with its guidance, whatever the adapter.
        """
        empty = self.encode([""])

        def call(state: Tensor, timesteps: Tensor) -> Tensor:
            state, num = state.to(context.dtype), len(state)
            own = context.repeat(num // len(context), 1, 1)
            if guidance_scale == 1:
                return self.counted_unet(state, timesteps, own)
            both = torch.cat([empty.expand(num, -1, -1), own])
            output = self.counted_unet(state.repeat(2, 1, 1, 1), timesteps.repeat(2), both)
            plain, prompted = output.float().chunk(2)
            return plain + guidance_scale * (prompted - plain)

        return call


def load_diffusion(
    model: str, device: str = "auto", precision: str = "fp32", use_checkpointing: bool = False
) -> DiffusionModel:
    """Load an ordinary diffusion model and freeze it; arguments as in `consistency.load_model`.

    Args:
        model: folder of a Stable Diffusion pipeline in diffusers' layout.
        device: `auto`, `cpu` or `cuda`.
        precision: `fp32`, `bf16` or `fp16`.
        use_checkpointing: recompute network passes in backward.

    Returns:
        The model, without adapter.

    Raises:
        MissingFile: no such folder, or a file in it is missing.
        ConfigError: it is a consistency model, or a file is damaged.
    """
    parts = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipeline = load_pipeline(StableDiffusionPipeline, model, precision, **parts)
    if pipeline.unet.config.time_cond_proj_dim is not None:
        raise ConfigError(
            f"model={model} has a guidance embedding, so it is a consistency model and no "
            "ordinary diffusion model. Set sampler=lcm, or give a Stable Diffusion folder."
        )
    target, dtype = resolve_device(device), DTYPES[precision]
    freeze(pipeline, target, dtype)
    return DiffusionModel(pipeline, target, dtype, use_checkpointing)
