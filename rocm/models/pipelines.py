"""Stock pipelines from disk, of every family that is trained: safetensors only, no network.

Families: a latent consistency model (guidance as an embedding), Stable Diffusion 1.x or 2.x or
Stable Diffusion XL with an LCM-LoRA or an LCM U-Net, and turbo models, which are trained by the
same chain but are no consistency models.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from rocm.errors import ConfigError, MissingFile
from rocm.models.files import LORA_FILE, PARTS, find_model
from rocm.storage.networks import MISFIT, first_line, load_network, read_object

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NETWORKS = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}
LOCAL: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
VOCABULARIES = ("vocab.json", "tokenizer.json")
PREDICTIONS = ("epsilon", "v_prediction", "sample")
TURBO = "not a consistency model, not in the paper"
UNUSED: dict[str, Any] = {"feature_extractor": None, "image_encoder": None}
NO_CHECKER: dict[str, Any] = {"safety_checker": None, "requires_safety_checker": False}


def load_pipeline(
    kind: type[DiffusionPipeline], model: str, precision: str, **parts: Any
) -> DiffusionPipeline:
    """A stock pipeline from the base's folder, on the CPU; `parts` replace those of the folder.

    Raises `MissingFile` without the folder or a file, `ConfigError` if a file is damaged, a pickle,
    or of another pipeline.
    """
    base = find_model(model).base
    _check_layout(model, base)
    names = PARTS if kind is StableDiffusionXLPipeline else PARTS[:3]
    for name in names:
        if name not in parts:
            parts[name] = _network(model, name, base / name, precision)
    try:
        pipeline = kind.from_pretrained(base, dtype=DTYPES[precision], **LOCAL, **parts)
    except OSError as error:
        raise MissingFile(f"model={model} cannot be loaded: {first_line(error)}.") from error
    except MISFIT as error:
        reason = first_line(error)
        raise ConfigError(f"model={model} has a damaged or misfit file: {reason}.") from error
    _check_tokenizers(model, base, pipeline)
    _check_numbers(model, pipeline)
    return pipeline


def load_few_step(model: str, precision: str) -> tuple[DiffusionPipeline, str]:
    """A pipeline for a few steps, on the CPU, and a remark if it is no consistency model.

    An LCM-LoRA is merged into its U-Net. Raises as `load_pipeline`, and `ConfigError` for an
    ordinary diffusion model or a scheduler that clamps.
    """
    files = find_model(model)
    _check_layout(model, files.base)
    kind = _kind(model, files.base)
    parts = UNUSED if kind is StableDiffusionXLPipeline else {**UNUSED, **NO_CHECKER}
    if files.part and (files.part / "config.json").is_file():
        parts = {**parts, "unet": _network(model, "unet", files.part, precision)}
    pipeline = load_pipeline(kind, model, precision, **parts)
    if files.part and "unet" not in parts:
        _merge_lora(model, pipeline, files.part)
    note = _give_scheduler(model, pipeline, has_part=files.part is not None)
    _check_fit(model, pipeline)
    return pipeline, note


def freeze(pipeline: DiffusionPipeline, device: torch.device, dtype: torch.dtype) -> None:
    """Move a pipeline to its device and freeze it; with float16 the autoencoder in float32."""
    pipeline.to(device)
    if dtype == torch.float16:
        pipeline.vae.float()
    for name in PARTS:
        network = pipeline.components.get(name)
        if network is not None:
            network.requires_grad_(False).eval()
    order_channels(pipeline, device.type == "cpu")
    pipeline.set_progress_bar_config(disable=True)


def order_channels(pipeline: DiffusionPipeline, is_last: bool) -> None:
    """Lay out U-Net and autoencoder in memory, which may change the rounding.

    On a CPU channels that lie last are faster; on CUDA torch's group norm moves them back each
    time.
    """
    order = torch.channels_last if is_last else torch.contiguous_format
    for network in (pipeline.unet, pipeline.vae):
        network.to(memory_format=order)


def _check_layout(model: str, base: Path) -> None:
    if not (base / "model_index.json").is_file():
        raise MissingFile(
            f"model={model} is not a model in diffusers' layout: {base} has no model_index.json. "
            "A single checkpoint file has to be converted to that layout first."
        )


def _kind(model: str, base: Path) -> type[DiffusionPipeline]:
    setting = f"model={model}"
    if read_object(base / "model_index.json", setting).get("text_encoder_2"):
        return StableDiffusionXLPipeline
    is_guided = (
        read_object(base / "unet" / "config.json", setting).get("time_cond_proj_dim") is not None
    )
    return LatentConsistencyModelPipeline if is_guided else StableDiffusionPipeline


def _network(model: str, name: str, folder: Path, precision: str) -> torch.nn.Module:
    return load_network(NETWORKS[name], folder, f"model={model}", DTYPES[precision])


def _check_tokenizers(model: str, base: Path, pipeline: DiffusionPipeline) -> None:
    """Refuse a tokenizer without its words: the stock one would take every word for the same."""
    for name, network in (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")):
        tokenizer = pipeline.components.get(name)
        if tokenizer is None:
            continue
        folder, size = base / name, pipeline.components[network].config.vocab_size
        if not any((folder / file).is_file() for file in VOCABULARIES):
            raise MissingFile(
                f"model={model}: {folder} has no vocabulary ({' or '.join(VOCABULARIES)}). "
                "Download the model again, or give another one."
            )
        if len(tokenizer) > size:
            raise ConfigError(
                f"model={model}: {folder} has {len(tokenizer)} words, and the text encoder knows "
                f"{size}. Give it the tokenizer that it was trained with."
            )


def _check_numbers(model: str, pipeline: DiffusionPipeline) -> None:
    """Refuse numbers of the configuration that nothing can be computed with."""
    side, factor = pipeline.unet.config.sample_size, pipeline.vae.config.scaling_factor
    kind = pipeline.scheduler.config.get("prediction_type", "epsilon")
    if not isinstance(side, int) or side < 1:
        raise ConfigError(
            f"model={model}: sample_size={side} in unet/config.json is not a whole number above 0. "
            "Set it to the latents' width, such as 64 for pictures of 512 pixels."
        )
    if not isinstance(factor, int | float):
        raise ConfigError(f"model={model}: vae/config.json has no number as scaling_factor.")
    if kind not in PREDICTIONS:
        raise ConfigError(
            f"model={model}: prediction_type={kind} in scheduler/scheduler_config.json is not "
            f"supported. Supported: {', '.join(PREDICTIONS)}."
        )


def _merge_lora(model: str, pipeline: DiffusionPipeline, part: Path) -> None:
    """Fold an LCM-LoRA into the weights; training starts from the sum."""
    path = part / LORA_FILE
    if not path.is_file():
        raise MissingFile(
            f"model={model}: {part} holds neither an LCM-LoRA ({LORA_FILE}) nor an LCM U-Net "
            "(config.json)."
        )
    try:
        pipeline.load_lora_weights(str(part), weight_name=LORA_FILE, adapter_name="lcm")
        loaded = pipeline.get_list_adapters().get("unet")
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            f"model={model}: {path} is damaged or incomplete ({first_line(error)}). Delete it and "
            "download it again."
        ) from error
    except MISFIT as error:
        raise _wrong_lora(model, path) from error
    if not loaded:
        raise _wrong_lora(model, path)


def _wrong_lora(model: str, path: Path) -> ConfigError:
    return ConfigError(
        f"model={model}: the LCM-LoRA {path} does not fit the base. Take the one that was made for "
        "it: lcm-lora-sdv1-5 for Stable Diffusion 1.5, lcm-lora-sdxl for Stable Diffusion XL."
    )


def _give_scheduler(model: str, pipeline: DiffusionPipeline, has_part: bool) -> str:
    """Make the scheduler an `LCMScheduler` where that is right; returns what must be said."""
    scheduler, name = pipeline.scheduler, type(pipeline.scheduler).__name__
    is_lcm = isinstance(scheduler, LCMScheduler)
    is_guided = pipeline.unet.config.time_cond_proj_dim is not None
    # With an LCMScheduler it is one of our own exports.
    is_turbo = (
        (is_lcm or name.startswith("Euler"))
        and scheduler.config.timestep_spacing == "trailing"
        and not is_guided
    )
    if is_guided and not is_lcm and not has_part:
        raise ConfigError(
            f"model={model} has a {name}. "
            "Give it the LCMScheduler of its distillation in model_index.json."
        )
    if not (is_lcm or is_turbo or has_part):
        raise ConfigError(
            f"model={model} has no guidance embedding (time_cond_proj_dim) and no LCMScheduler: it "
            "is an ordinary diffusion model. Add an LCM-LoRA, as in "
            f"{model}+latent-consistency/lcm-lora-sdv1-5, or set sampler=ddim."
        )
    if not is_lcm:
        # The spacing, which it does not use, tells a turbo model of ours from others.
        spacing = "trailing" if is_turbo and not has_part else "leading"
        pipeline.scheduler = LCMScheduler.from_config(scheduler.config, timestep_spacing=spacing)
    config = pipeline.scheduler.config
    if config.clip_sample or config.thresholding:
        raise ConfigError(
            f"model={model} clamps its prediction (clip_sample or thresholding), which stops the "
            "gradient. Set both to false in its scheduler/scheduler_config.json."
        )
    if not 1 <= config.original_inference_steps <= config.num_train_timesteps:
        raise ConfigError(
            f"model={model}: original_inference_steps={config.original_inference_steps} in "
            f"scheduler/scheduler_config.json is outside 1 to {config.num_train_timesteps}."
        )
    return TURBO if is_turbo and not has_part else ""


def _check_fit(model: str, pipeline: DiffusionPipeline) -> None:
    """Refuse a U-Net for text features of another width than the encoders'."""
    encoders = [pipeline.components.get(name) for name in ("text_encoder", "text_encoder_2")]
    given = sum(encoder.config.hidden_size for encoder in encoders if encoder is not None)
    taken = pipeline.unet.config.cross_attention_dim
    if given != taken:
        raise ConfigError(
            f"model={model}: the U-Net takes text features of width {taken}, and the text encoder "
            f"gives {given}. Join a U-Net and a base of the same family."
        )
