"""TRL's AlignProp (arXiv 2310.03739): reward back-propagation, as TRL had it up to version 0.23.

Run are the sampler with gradient that the user's TRL holds, and around it what its trainer does:
text features of every prompt anew, the reward read out, loss 10 - mean, clipping, AdamW. LoRA
weights are float32 and there is no autocast, as in its trainer. The chain is DDIM's with noise, not
LCM's: a U-Net call costs the same, and its value is another.
"""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from torch import Tensor

from rocm.errors import ConfigError
from rocm.models.pipelines import NO_CHECKER
from rocm.rewards.base import Mixture, limit_pixels
from rocm.training.batch import draw_batch
from rocm.training.setup import Setup

FILE = "trl/models/modeling_sd_base.py"
FUNCTION = "pipeline_step_with_grad"
# The number of steps is the run's; without guidance no state is seen twice.
OUR_WORK = {"guidance_scale": 1.0, "truncated_backprop": False}
KEPT_WORK = OUR_WORK | {"gradient_checkpoint": False}
# Defaults of TRL's AlignPropConfig.
OWN_WORK = {
    "num_inference_steps": 50,
    "guidance_scale": 5.0,
    "truncated_backprop": True,
    "truncated_backprop_rand": True,
    "truncated_rand_backprop_minmax": (0, 50),
}
ETA = 1.0


class _Pipeline(StableDiffusionPipeline):
    """Gives TRL its text features as diffusers did when TRL was written.

    Today's diffusers joins both features even without guidance, where TRL then fails.
    """

    def _encode_prompt(
        self,
        prompt: None,
        device: torch.device,
        num_images_per_prompt: int,
        do_classifier_free_guidance: bool,
        negative_prompt: None = None,
        **features: Tensor,
    ) -> Tensor:
        prompted, without = features["prompt_embeds"], features["negative_prompt_embeds"]
        return torch.cat([without, prompted]) if do_classifier_free_guidance else prompted


def starter(
    step: Callable[..., Any], options: dict[str, Any]
) -> Callable[[Setup], Callable[[int], object]]:
    """What makes TRL's update from a run's parts.

    Args:
        step: TRL's `pipeline_step_with_grad`.
        options: of it.

    Returns:
        A function of the parts, as in `Variant.start`.
    """

    def start(setup: Setup) -> Callable[[int], object]:
        return _start(
            setup, step, {"num_inference_steps": setup.config.num_inference_steps} | options
        )

    return start


def raw_mixture(setup: Setup) -> Mixture:
    """The trained reward, not standardized, as all rows of the benchmark have it."""
    return setup.rewards.mixture()


def _start(
    setup: Setup, step: Callable[..., Any], options: dict[str, Any]
) -> Callable[[int], object]:
    config, model, learner = setup.config, setup.model, setup.learner
    pipeline, mixture = _pipeline(setup), raw_mixture(setup)
    nothing = model.encode_nothing()

    def advance(number: int) -> None:
        batch = draw_batch(setup, (number - 1) * config.batch_size)
        context = model.encode(batch.prompts)
        learner.optimizer.zero_grad(set_to_none=True)
        images = step(
            pipeline,
            prompt_embeds=context,
            negative_prompt_embeds=nothing.expand(len(context), -1, -1),
            latents=batch.noise[0].to(context.dtype),
            eta=ETA,
            output_type="pt",
            **options,
        ).images
        rewards = mixture.combine(mixture.parts(limit_pixels(images.float()), batch.prompts))
        rewards.detach().cpu()
        loss = 10 - rewards.mean()
        loss.backward()
        learner.descend(config.max_grad_norm)

    return advance


def _pipeline(setup: Setup) -> _Pipeline:
    """The run's networks as the pipeline that TRL takes, with the DDIM sampler that it chooses."""
    parts = setup.model.pipeline.components
    if "text_encoder_2" in parts:
        raise ConfigError(
            f"TRL's AlignProp trains Stable Diffusion 1 and 2, and model={setup.config.model} is "
            "XL. Leave --peer out, or give a preset with another model."
        )
    names = ("vae", "text_encoder", "tokenizer", "unet")
    # Stable Diffusion's offset, which today's diffusers asks for.
    scheduler = DDIMScheduler.from_config(parts["scheduler"].config, steps_offset=1)
    pipeline = _Pipeline(
        **{name: parts[name] for name in names},
        scheduler=scheduler,
        feature_extractor=None,
        **NO_CHECKER,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
