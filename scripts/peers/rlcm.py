"""RLCM's own loop (arXiv 2404.03673, github.com/Owen-Oertell/rlcm), one update a call.

Its code has no license: it is run where the user has it, and nothing of it is here. It trains in
minibatches, of two pictures by its own settings, one timestep at a time, at 768 pixels unless told
otherwise, as it is here. Every call begins with a new Adam and new statistics of the prompts, which
costs next to nothing.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from rocm.errors import ConfigError
from rocm.models.pipelines import NO_CHECKER
from rocm.rewards.base import limit_pixels
from rocm.training.batch import draw_batch
from rocm.training.setup import Setup
from scripts.peers.trl import raw_mixture

FILE = "lcm_rl_pytorch/core/ppo_training_loop.py"
FILES = (
    FILE,
    "lcm_rl_pytorch/diffusers_patch/pipeline.py",
    "lcm_rl_pytorch/diffusers_patch/lcm_scheduler.py",
)
MINIBATCH = 2
WHOLE = 0


class _Accelerator(Accelerator):
    """Without progress bars, and without the checkpoint that the loop writes at its end."""

    is_local_main_process = False

    def save_state(self, *arguments: object, **options: object) -> None:
        """Write nothing."""


@contextmanager
def without_wandb() -> Iterator[None]:
    """Inside, `import wandb` gives an empty module: RLCM imports it, and is told not to log."""
    known = sys.modules.get("wandb")
    sys.modules["wandb"] = ModuleType("wandb")
    sys.modules["wandb"].__spec__ = ModuleSpec("wandb", None)
    try:
        yield
    finally:
        del sys.modules["wandb"]
        if known:
            sys.modules["wandb"] = known


def starter(
    loop: ModuleType, patch: ModuleType, scheduling: ModuleType, minibatch: int
) -> Callable[[Setup], Callable[[int], object]]:
    """What makes RLCM's update from a run's parts.

    Args:
        loop: RLCM's module of that name, and so on.
        patch: its pipeline.
        scheduling: its scheduler.
        minibatch: pictures that are trained at a time, if the batch is a multiple of them; or
            `WHOLE`.

    Returns:
        A function of the parts, as in `Variant.start`.
    """

    def start(setup: Setup) -> Callable[[int], object]:
        pipeline = _pipeline(setup, patch, scheduling)
        return lambda step: _update(setup, loop, pipeline, step, minibatch)

    return start


def _pipeline(setup: Setup, patch: ModuleType, scheduling: ModuleType) -> Any:
    """The run's networks as RLCM's own pipeline."""
    parts = setup.model.pipeline.components
    width = parts["unet"].config.time_cond_proj_dim
    if width is None or parts.get("tokenizer") is None:
        raise ConfigError(
            "RLCM trains a latent consistency model with a text encoder, and "
            f"model={setup.config.model} at this --size has no guidance embedding or no encoder. "
            "Give --size embedded and a preset with such a model."
        )

    class Sized(patch.LatentConsistencyModelPipeline):
        """Of the run's sizes: RLCM's loop asks for 768 pixels and a guidance embedding of 256."""

        def __call__(self, **options: Any) -> Any:
            """Pictures of the size that the U-Net was made for."""
            return super().__call__(height=side, width=side, **options)

        def get_guidance_scale_embedding(
            self, w: Tensor, embedding_dim: int = 256, dtype: torch.dtype = torch.float32
        ) -> Tensor:
            """The embedding of w (B,) as wide as the U-Net has it, (B, width)."""
            return super().get_guidance_scale_embedding(w, width, dtype)

    side = setup.model.latent_shape[1] * setup.model.pipeline.vae_scale_factor
    names = ("vae", "text_encoder", "tokenizer", "unet")
    scheduler = scheduling.LCMScheduler.from_config(parts["scheduler"].config)
    pipeline = Sized(
        **{name: parts[name] for name in names},
        scheduler=scheduler,
        feature_extractor=None,
        **NO_CHECKER,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _update(setup: Setup, loop: ModuleType, pipeline: Any, step: int, minibatch: int) -> None:
    config, mixture = setup.config, raw_mixture(setup)
    minibatch = minibatch or config.batch_size
    minibatch = minibatch if config.batch_size % minibatch == 0 else 1
    accumulation = config.batch_size // minibatch
    accelerator = _Accelerator(
        gradient_accumulation_steps=accumulation * config.num_inference_steps,
        mixed_precision="no" if config.precision == "fp32" else config.precision,
        cpu=setup.model.device.type == "cpu",
    )
    training = SimpleNamespace(
        num_epochs=1,
        batches_per_epoch=1,
        num_sample_iters=1,
        num_inner_epochs=config.inner_epochs,
        num_inference_steps=config.num_inference_steps,
        train_batch_size_per_gpu=minibatch,
        gradient_accumulation_steps=accumulation,
        lr=config.learning_rate,
        max_grad_norm=config.max_grad_norm,
        clip_range=config.clip_range,
        adv_clip_max=config.advantage_clip,
        stat_buffer_size=config.prompt_window,
        stat_min_count=config.prompt_min_count,
    )
    sampling = SimpleNamespace(
        guidance_scale=config.guidance_scale,
        lcm_origin_steps=pipeline.scheduler.config.original_inference_steps,
        max_prompt_length=pipeline.tokenizer.model_max_length,
        save_interval=1,
    )
    settings = SimpleNamespace(training=sampling, wandb=SimpleNamespace(log=False))
    batch = draw_batch(setup, (step - 1) * config.batch_size)

    @torch.no_grad()
    def reward(images: Tensor, prompts: list[str]) -> Tensor:
        return mixture.combine(mixture.parts(limit_pixels(images.float()), prompts)).cpu()

    prompts = SimpleNamespace(sample=lambda: list(batch.prompts))
    loop.ppo_training_loop(accelerator, settings, training, pipeline, reward, prompts)
