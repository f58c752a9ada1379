"""An ordinary diffusion model in diffusers' layout, sampled by DDIM, as the same kind of network.

Its networks, latents and adapter are used as a consistency model's are. What differs: guidance is
classifier-free (the U-Net sees each state twice, with the prompt and with the empty one), and the
schedule is DDIM's with eta = 1.
"""

from diffusers import DDIMScheduler, StableDiffusionPipeline

from rocm.algorithms.schedule import Step, ddim_schedule
from rocm.errors import ConfigError
from rocm.models.consistency import ConsistencyModel, resolve_device
from rocm.models.pipelines import DTYPES, NO_CHECKER, UNUSED, freeze, load_pipeline


class DiffusionModel(ConsistencyModel):
    """A Stable Diffusion pipeline, frozen, whose f is the clean estimate of its U-Net."""

    def schedule(self, num_inference_steps: int, grid: str = "current") -> tuple[Step, ...]:
        """The N-step DDIM schedule on the timesteps of the model's own scheduler; no other grid."""
        scheduler = DDIMScheduler.from_config(self.pipeline.scheduler.config)
        scheduler.set_timesteps(num_inference_steps)
        return ddim_schedule(
            scheduler.alphas_cumprod.double().tolist(), scheduler.timesteps.tolist()
        )


def load_diffusion(model: str, device: str = "auto", precision: str = "fp32") -> DiffusionModel:
    """As `consistency.load_model`, of a Stable Diffusion pipeline; ConfigError for an LCM."""
    pipeline = load_pipeline(StableDiffusionPipeline, model, precision, **UNUSED, **NO_CHECKER)
    if pipeline.unet.config.time_cond_proj_dim is not None:
        raise ConfigError(
            f"model={model} has a guidance embedding, so it is a consistency model and no "
            "ordinary diffusion model. Set sampler=lcm, or give a Stable Diffusion folder."
        )
    target, dtype = resolve_device(device), DTYPES[precision]
    freeze(pipeline, target, dtype)
    return DiffusionModel(pipeline, target, dtype)
