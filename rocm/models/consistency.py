"""A few-step model in diffusers' layout, seen as the networks that the mathematics needs.

Every family goes through this same file. Guidance is an embedding where the U-Net has one
(`timestep_cond`, w = guidance_scale - 1): one U-Net call per step. Without it, as with an LCM-LoRA,
guidance is classifier-free, as in stock diffusers: above 1 the U-Net sees each state twice.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rocm.algorithms.schedule import Step, lcm_schedule, timestep_grid
from rocm.algorithms.trajectory import Network
from rocm.errors import ConfigError
from rocm.models.flat_lora import Lender
from rocm.models.lean_layers import make_lean
from rocm.models.lora import adapter_off
from rocm.models.pipelines import DTYPES, freeze, load_few_step

KEPT_BYTES = 64_000_000


@dataclass
class Passes:
    """Numbers of states in the calls of the U-Net, recomputation in backward included."""

    forward: int = 0
    backward: int = 0


@dataclass(frozen=True)
class ConsistencyModel:
    """A loaded pipeline, frozen, and how to call it.

    The networks compute in `dtype`; inputs and outputs of the methods are float32. `passes` are
    counted since the model was loaded, `note` is a remark on a model that is no consistency model,
    `reference_batch` the most states of one call of the reference, and `features` are kept text
    features (1, L, D) by prompt, the oldest first.
    """

    pipeline: DiffusionPipeline
    device: torch.device
    dtype: torch.dtype = torch.float32
    use_checkpointing: bool = False
    passes: Passes = field(default_factory=Passes)
    note: str = ""
    reference_batch: int | None = None
    lender: Lender | None = None
    features: dict[str, Tensor] = field(default_factory=dict)

    @property
    def prediction_type(self) -> str:
        """The network's prediction, as in diffusers' scheduler config."""
        return self.pipeline.scheduler.config.prediction_type

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one picture's latent."""
        config = self.pipeline.unet.config
        return (config.in_channels, config.sample_size, config.sample_size)

    @property
    def picture_size(self) -> int:
        """Side of a picture in pixels."""
        return int(self.latent_shape[1] * self.pipeline.vae_scale_factor)

    def schedule(self, num_inference_steps: int, grid: str = "current") -> tuple[Step, ...]:
        """The model's own N-step schedule; ConfigError if it has fewer steps than that."""
        config = self.pipeline.scheduler.config
        if num_inference_steps > config.original_inference_steps:
            raise ConfigError(
                f"num_inference_steps={num_inference_steps} is more than the "
                f"{config.original_inference_steps} that the model was distilled on "
                "(original_inference_steps of its scheduler). Lower it."
            )
        timesteps = timestep_grid(
            num_inference_steps, grid, config.original_inference_steps, config.num_train_timesteps
        )
        alphas_cumprod = self.pipeline.scheduler.alphas_cumprod.double().tolist()
        return lcm_schedule(alphas_cumprod, timesteps, config.timestep_scaling)

    @property
    def has_guidance_embedding(self) -> bool:
        """Whether guidance is an input of the U-Net; otherwise it is classifier-free."""
        return self.pipeline.unet.config.time_cond_proj_dim is not None

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Text features (B, L, D) of B prompts, as the stock pipeline computes them.

        Stable Diffusion XL's pooled features stand in one more row, with zeros behind them.
        """
        return self._features(list(prompts), is_empty=False)

    def encode_each(self, prompts: Sequence[str]) -> Tensor:
        """As `encode`, each prompt by itself and once only: up to 64 MB of features are kept."""
        for prompt in prompts:
            if prompt not in self.features:
                self.features[prompt] = self.encode([prompt])
        features = [self.features[prompt] for prompt in prompts]
        while len(self.features) > KEPT_BYTES // features[0].nbytes:
            del self.features[next(iter(self.features))]
        return torch.cat(features)

    @torch.no_grad()
    def encode_nothing(self) -> Tensor:
        """Features (1, L, D) of the empty prompt; Stable Diffusion XL may take zeros instead."""
        return self._features([""], is_empty=True)

    def policy(self, context: Tensor, guidance_scale: float) -> Network:
        """The network with the adapter on, from float32 states to float32 outputs.

        Calls with M = n * B states repeat the text features `context`, (B, L, D), n times.
        """
        return self._network(context, guidance_scale, is_reference=False)

    def reference(self, context: Tensor, guidance_scale: float) -> Network:
        """The same network with the adapter off; arguments as in `policy`."""
        return self._network(context, guidance_scale, is_reference=True)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) from latents (B, C, h, w), nominally in [0, 1], not clamped."""
        return decoded(self.pipeline.vae, latents)

    def make_lean(self) -> None:
        """Let the frozen layers keep only what backward needs; results stay the same."""
        make_lean(self.pipeline.unet)
        make_lean(self.pipeline.vae)

    def guided(self, context: Tensor, guidance_scale: float) -> Network:
        r"""The U-Net itself with its guidance, whatever the adapter; arguments as in `policy`.

        Without a guidance embedding it is classifier-free, u + g (c - u) with u for the empty
        prompt, and with g <= 1 the prompt alone: two or one state per call and picture.
        """
        if self.has_guidance_embedding:
            return self._embedded_guidance(context, guidance_scale)
        if guidance_scale <= 1:
            return lambda state, timesteps: self.counted_unet(
                state.to(context.dtype), timesteps, _repeated(context, len(state))
            )
        nothing = self.encode_nothing()

        def call(state: Tensor, timesteps: Tensor) -> Tensor:
            num = len(state)
            both = torch.cat([nothing.expand(num, -1, -1), _repeated(context, num)])
            doubled = state.to(context.dtype).repeat(2, 1, 1, 1)
            output = self.counted_unet(doubled, timesteps.repeat(2), both).float()
            without, prompted = output.chunk(2)
            return without + guidance_scale * (prompted - without)

        return call

    def counted_unet(
        self, state: Tensor, timesteps: Tensor, context: Tensor, timestep_cond: Tensor | None = None
    ) -> Tensor:
        """One call of the U-Net, counted in `passes`; returns (M, C, H, W).

        `context` (M, L, D) is as `encode` gives it, `timestep_cond` (M, E) the embedding of the
        guidance.
        """

        def count_backward(gradient: Tensor) -> None:
            self.passes.backward += len(gradient)

        self.passes.forward += len(state)
        features, added = self._unpacked(context)
        output = self.pipeline.unet(
            state,
            timesteps,
            encoder_hidden_states=features,
            timestep_cond=timestep_cond,
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        if output.requires_grad:
            output.register_hook(count_backward)
        return output

    @property
    def _pooled_width(self) -> int:
        """Of Stable Diffusion XL's pooled text features; 0 in other families."""
        encoder = self.pipeline.components.get("text_encoder_2")
        return 0 if encoder is None else encoder.config.projection_dim

    def _features(self, prompts: list[str], is_empty: bool) -> Tensor:
        answer = self.pipeline.encode_prompt(
            prompts,
            device=self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=is_empty,
        )
        features, pooled = answer[int(is_empty)], answer[2 + int(is_empty) :]
        if not self._pooled_width:
            return features
        row = torch.nn.functional.pad(pooled[0], (0, features.shape[2] - self._pooled_width))
        return torch.cat([features, row[:, None]], 1)

    def _unpacked(self, context: Tensor) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Text features for the U-Net, and SDXL's added conditions, from `encode`'s answer."""
        width = self._pooled_width
        if not width:
            return context, None
        # Original size, crop and target size, as the stock pipeline's defaults: the whole picture.
        sizes = context.new_full((len(context), 6), self.picture_size)
        sizes[:, 2:4] = 0
        added = {"text_embeds": context[:, -1, :width], "time_ids": sizes}
        return context[:, :-1], added

    def _embedded_guidance(self, context: Tensor, guidance_scale: float) -> Network:
        w = torch.tensor([guidance_scale - 1.0])
        width = self.pipeline.unet.config.time_cond_proj_dim
        guidance = self.pipeline.get_guidance_scale_embedding(w, width)
        guidance = guidance.to(self.device, context.dtype)
        return lambda state, timesteps: self.counted_unet(
            state.to(context.dtype),
            timesteps,
            _repeated(context, len(state)),
            timestep_cond=guidance.expand(len(state), -1),
        )

    def _network(self, context: Tensor, guidance_scale: float, is_reference: bool) -> Network:
        unet, guided = self.pipeline.unet, self.guided(context, guidance_scale)

        def call(state: Tensor, timesteps: Tensor) -> Tensor:
            # The adapter is switched here, inside the checkpointed function: see adapter_off.
            lent = self.lender.lent() if self.lender else nullcontext()
            with adapter_off(unet) if is_reference else lent, self._autocast():
                return guided(state, timesteps).float()

        def checkpointed(state: Tensor, timesteps: Tensor) -> Tensor:
            # One batch at a time, so that backward holds the activations of one batch only.
            batches = zip(state.split(len(context)), timesteps.split(len(context)), strict=True)
            light = partial(checkpoint, call, use_reentrant=False, preserve_rng_state=False)
            return torch.cat([light(*batch) for batch in batches])

        def in_parts(state: Tensor, timesteps: Tensor) -> Tensor:
            size = max(1, (self.reference_batch or 0) // len(context)) * len(context)
            parts = zip(state.split(size), timesteps.split(size), strict=True)
            return torch.cat([call(*part) for part in parts])

        if self.use_checkpointing:
            return checkpointed
        return in_parts if is_reference and self.reference_batch else call

    def _autocast(self) -> torch.autocast:
        # Not for bfloat16, whose range is float32's: norms sum in float32 by themselves, and their
        # answers in float32 would cost casts and twice the memory.
        enabled = self.dtype == torch.float16
        return torch.autocast(self.device.type, self.dtype, enabled=enabled)


def decoded(decoder: Any, latents: Tensor) -> Tensor:
    """Pictures of `ConsistencyModel.decode` by an autoencoder of diffusers."""
    scaled = latents / decoder.config.scaling_factor
    pictures = decoder.decode(scaled.to(decoder.dtype), return_dict=False)[0]
    return pictures.float() / 2 + 0.5


def resolve_device(device: str) -> torch.device:
    """The device of a `device` setting; `auto` is CUDA if present, `cuda` raises without it."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda, but no CUDA device is visible. Use device=cpu or auto.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def load_model(model: str, device: str = "auto", precision: str = "fp32") -> ConsistencyModel:
    """Load a few-step model and freeze it; nothing is downloaded.

    With fp16 the autoencoder stays in fp32. Raises `MissingFile` if it is not on this disk, or a
    file is missing, `ConfigError` for a model of another kind, an unsuitable scheduler, a damaged
    file or a pickle.
    """
    target, dtype = resolve_device(device), DTYPES[precision]
    pipeline, note = load_few_step(model, precision)
    freeze(pipeline, target, dtype)
    return ConsistencyModel(pipeline, target, dtype, note=note)


def _repeated(context: Tensor, num_states: int) -> Tensor:
    return context.repeat(num_states // len(context), 1, 1)
