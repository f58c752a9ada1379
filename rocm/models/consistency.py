"""A latent consistency model in diffusers' layout, seen as the networks that the mathematics needs.

The embedded model and LCM Dreamshaper go through this same file. Guidance is an embedding
(`timestep_cond`, w = guidance_scale - 1): one U-Net call per step.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import DiffusionPipeline, LatentConsistencyModelPipeline, LCMScheduler
from safetensors import SafetensorError
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rocm.config import find_folder
from rocm.errors import ConfigError, MissingFile
from rocm.models.lora import adapter_off
from rocm.schedule import Step, lcm_schedule, timestep_grid
from rocm.trajectory import Network

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Passes:
    """How many states the U-Net has seen, a call with M states counting M.

    Attributes:
        forward: by policy and reference, recomputation in backward included.
        backward: as often as a gradient came back through the network.
    """

    forward: int = 0
    backward: int = 0


@dataclass(frozen=True)
class ConsistencyModel:
    """A loaded pipeline, frozen, and how to call it.

    Attributes:
        pipeline: stock diffusers pipeline; its U-Net may carry an adapter.
        device: of all networks.
        dtype: of the network passes; inputs and outputs of the methods are float32.
        use_checkpointing: recompute network passes in backward.
        passes: counted since the model was loaded.
    """

    pipeline: LatentConsistencyModelPipeline
    device: torch.device
    dtype: torch.dtype = torch.float32
    use_checkpointing: bool = False
    passes: Passes = field(default_factory=Passes)

    @property
    def prediction_type(self) -> str:
        """What the network predicts, as in diffusers' scheduler config."""
        return self.pipeline.scheduler.config.prediction_type

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one picture's latent."""
        config = self.pipeline.unet.config
        return (config.in_channels, config.sample_size, config.sample_size)

    def schedule(self, num_inference_steps: int, grid: str = "current") -> tuple[Step, ...]:
        """The model's own N-step schedule."""
        config = self.pipeline.scheduler.config
        timesteps = timestep_grid(
            num_inference_steps, grid, config.original_inference_steps, config.num_train_timesteps
        )
        alphas_cumprod = self.pipeline.scheduler.alphas_cumprod.double().tolist()
        return lcm_schedule(alphas_cumprod, timesteps, config.timestep_scaling)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Text features (B, L, D) of B prompts, as the stock pipeline computes them."""
        features, _ = self.pipeline.encode_prompt(list(prompts), self.device, 1, False)
        return features

    def policy(self, context: Tensor, guidance_scale: float) -> Network:
        """The network with the adapter on.

        Args:
            context: text features (B, L, D); calls with M = n * B states repeat it n times.
            guidance_scale: in diffusers' convention.

        Returns:
            A network from float32 states to float32 outputs.
        """
        return self._network(context, guidance_scale, is_reference=False)

    def reference(self, context: Tensor, guidance_scale: float) -> Network:
        """The same network with the adapter off; arguments as in `policy`."""
        return self._network(context, guidance_scale, is_reference=True)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) from latents (B, C, h, w), nominally in [0, 1], not clamped."""
        vae = self.pipeline.vae
        scaled = latents / vae.config.scaling_factor
        pictures = vae.decode(scaled.to(vae.dtype), return_dict=False)[0]
        return pictures.float() / 2 + 0.5

    def guided(self, context: Tensor, guidance_scale: float) -> Network:
        """The U-Net itself with its guidance, whatever the adapter; arguments as in `policy`."""
        unet = self.pipeline.unet
        w = torch.tensor([guidance_scale - 1.0])
        guidance = self.pipeline.get_guidance_scale_embedding(w, unet.config.time_cond_proj_dim)
        guidance = guidance.to(self.device, context.dtype)

        def call(state: Tensor, timesteps: Tensor) -> Tensor:
            return self.counted_unet(
                state.to(context.dtype),
                timesteps,
                context.repeat(len(state) // len(context), 1, 1),
                timestep_cond=guidance.expand(len(state), -1),
            )

        return call

    def counted_unet(
        self,
        state: Tensor,
        timesteps: Tensor,
        context: Tensor,
        timestep_cond: Tensor | None = None,
    ) -> Tensor:
        """One call of the U-Net, counted in `passes`.

        Args:
            state: (M, C, H, W).
            timesteps: (M,).
            context: text features (M, L, D).
            timestep_cond: embedding of the guidance (M, E), where the model has one.

        Returns:
            (M, C, H, W).
        """

        def count_backward(gradient: Tensor) -> None:
            self.passes.backward += len(gradient)

        self.passes.forward += len(state)
        output = self.pipeline.unet(
            state,
            timesteps,
            encoder_hidden_states=context,
            timestep_cond=timestep_cond,
            return_dict=False,
        )[0]
        if output.requires_grad:
            output.register_hook(count_backward)
        return output

    def _network(self, context: Tensor, guidance_scale: float, is_reference: bool) -> Network:
        unet, guided = self.pipeline.unet, self.guided(context, guidance_scale)

        def call(state: Tensor, timesteps: Tensor) -> Tensor:
            # The adapter is switched here, inside the checkpointed function: see adapter_off.
            with adapter_off(unet) if is_reference else nullcontext(), self._autocast():
                return guided(state, timesteps).float()

        def checkpointed(state: Tensor, timesteps: Tensor) -> Tensor:
            # One batch at a time, so that backward holds the activations of one batch only.
            batches = zip(state.split(len(context)), timesteps.split(len(context)), strict=True)
            options = {"use_reentrant": False, "preserve_rng_state": False}
            return torch.cat([checkpoint(call, *batch, **options) for batch in batches])

        return checkpointed if self.use_checkpointing else call

    def _autocast(self) -> torch.autocast:
        enabled = self.dtype != torch.float32
        return torch.autocast(self.device.type, self.dtype, enabled=enabled)


def resolve_device(device: str) -> torch.device:
    """The device that a `device` setting names.

    Args:
        device: `auto` (CUDA where present), `cpu` or `cuda`.

    Returns:
        The device.

    Raises:
        ConfigError: cuda was asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda, but no CUDA device is visible. Use device=cpu or auto.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def load_model(
    model: str, device: str = "auto", precision: str = "fp32", use_checkpointing: bool = False
) -> ConsistencyModel:
    """Load a latent consistency model and freeze it.

    Args:
        model: folder in diffusers' layout, absolute, or relative to the working directory or to the
            project.
        device: `auto`, `cpu` or `cuda`.
        precision: `fp32`, `bf16` or `fp16`; with fp16 the autoencoder stays in fp32, as it must.
        use_checkpointing: recompute network passes in backward.

    Returns:
        The model, without adapter.

    Raises:
        MissingFile: no such folder, or a file in it is missing.
        ConfigError: not a consistency model with a guidance embedding, its scheduler clamps or is
            another one, or a file is damaged.
    """
    pipeline = load_pipeline(LatentConsistencyModelPipeline, model, precision)
    _check_scheduler(model, pipeline)
    target, dtype = resolve_device(device), DTYPES[precision]
    freeze(pipeline, target, dtype)
    return ConsistencyModel(pipeline, target, dtype, use_checkpointing)


def load_pipeline(
    kind: type[DiffusionPipeline], model: str, precision: str, **parts: Any
) -> DiffusionPipeline:
    """A stock pipeline from a folder.

    Args:
        kind: class of the pipeline.
        model: as in `load_model`.
        precision: as in `load_model`.
        **parts: of the pipeline, to be used instead of the folder's.

    Returns:
        The pipeline on the CPU.

    Raises:
        MissingFile: no such folder, or a file in it is missing.
        ConfigError: a file is damaged, or belongs to another pipeline.
    """
    try:
        return kind.from_pretrained(
            find_folder(model),
            dtype=DTYPES[precision],
            local_files_only=True,
            use_safetensors=True,
            **parts,
        )
    except OSError as error:
        raise MissingFile(f"model={model} cannot be loaded: {error}") from error
    except (SafetensorError, ValueError) as error:
        raise ConfigError(f"model={model} has a damaged or misfit file: {error}") from error


def freeze(pipeline: DiffusionPipeline, device: torch.device, dtype: torch.dtype) -> None:
    """Move a pipeline to its device, its networks fixed; with float16 the autoencoder in float32.

    Args:
        pipeline: with U-Net, autoencoder and text encoder.
        device: where to compute.
        dtype: of the network passes.
    """
    pipeline.to(device)
    if dtype == torch.float16:
        pipeline.vae.float()
    for network in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        network.requires_grad_(False).eval()
    pipeline.set_progress_bar_config(disable=True)


def _check_scheduler(model: str, pipeline: LatentConsistencyModelPipeline) -> None:
    config = pipeline.scheduler.config
    if pipeline.unet.config.time_cond_proj_dim is None:
        raise ConfigError(
            f"model={model} has no guidance embedding (time_cond_proj_dim), so it is not a latent "
            "consistency model. Use one that was distilled with guidance, such as assets/tiny-lcm, "
            "or sampler=ddim."
        )
    if not isinstance(pipeline.scheduler, LCMScheduler):
        raise ConfigError(
            f"model={model} has a {type(pipeline.scheduler).__name__}. "
            "Give it the LCMScheduler of its distillation in model_index.json."
        )
    if config.clip_sample or config.thresholding:
        raise ConfigError(
            f"model={model} clamps its prediction (clip_sample or thresholding), which stops the "
            "gradient. Set both to false in its scheduler/scheduler_config.json."
        )
