"""LoRA adapters on a U-Net: add, switch off, save and load in diffusers' format.

The reference model is the policy's own U-Net with the adapter off; there is no second copy.
"""

import errno
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import LatentConsistencyModelPipeline, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from rocm.errors import ConfigError, MissingFile
from rocm.storage.networks import MISFIT, first_line

WEIGHTS = "pytorch_lora_weights.safetensors"
NAME = "default"
METADATA = "lora_adapter_metadata"


def add_adapter(
    unet: UNet2DConditionModel, rank: int, alpha: float, targets: list[str], seed: int
) -> list[torch.nn.Parameter]:
    """Add a trainable adapter that changes nothing yet (B = 0); returns its float32 weights.

    The update is scaled by alpha / rank; `targets` are ends of module names, such as `to_q`, and
    `seed` is of the Gaussian initial values of A. Raises `ConfigError` if no module fits.
    """
    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=targets, init_lora_weights="gaussian"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            unet.add_adapter(config, adapter_name=NAME)
        except ValueError as error:
            raise ConfigError(
                f"lora_targets={','.join(targets)!r} matches no module of the U-Net. "
                "Give ends of module names, such as to_q,to_k,to_v,to_out.0."
            ) from error
    parameters = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.data = parameter.data.float()
    return parameters


@contextmanager
def adapter_off(unet: UNet2DConditionModel) -> Iterator[None]:
    """Inside, the U-Net computes the reference.

    Enter it inside a checkpointed function, not around it: the recomputation happens later, after a
    context around the call has been left.
    """
    layers = [
        module
        for module in unet.modules()
        if isinstance(module, BaseTunerLayer) and not module.disable_adapters
    ]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


@contextmanager
def other_adapter(unet: UNet2DConditionModel, name: str) -> Iterator[None]:
    """Inside, the U-Net computes with the loaded adapter `name` instead of the trained adapter."""
    unet.set_adapter(name)
    try:
        yield
    finally:
        unet.set_adapter(NAME)


@contextmanager
def scaled(unet: UNet2DConditionModel, strength: float) -> Iterator[None]:
    """Inside, the trained adapter's update is multiplied by `strength`: its B is."""
    of_b = f".lora_B.{NAME}."
    factors = [parameter for name, parameter in unet.named_parameters() if of_b in name]
    kept = [parameter.detach().clone() for parameter in factors]
    try:
        with torch.no_grad():
            for parameter in factors:
                parameter.mul_(strength)
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(factors, kept, strict=True):
                parameter.copy_(value)


def save_adapter(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write the adapter for a stock pipeline's `load_lora_weights(folder)`, or raise `OSError`.

    The alpha travels as metadata: without it diffusers would assume alpha == rank.
    """
    try:
        LatentConsistencyModelPipeline.save_lora_weights(
            folder,
            unet_lora_layers=convert_state_dict_to_diffusers(get_peft_model_state_dict(unet)),
            unet_lora_adapter_metadata=unet.peft_config[NAME].to_dict(),
            weight_name=WEIGHTS,
        )
    except SafetensorError as error:
        raise OSError(errno.EIO, str(error)) from error


def load_adapter(pipeline: LatentConsistencyModelPipeline, folder: Path, name: str = NAME) -> None:
    """Load an adapter in diffusers' format as `name` through the stock loader, and switch to it.

    Raises `MissingFile` without the file, `ConfigError` if it is damaged, empty, not finite, or
    made for another model.
    """
    path = Path(folder) / WEIGHTS
    if not os.path.isfile(path):
        raise MissingFile(f"No adapter at {path}. Give the adapter folder of a run.")
    tensors = read_tensors(path)
    _check_numbers(path, tensors)
    adapter_config(path)
    misfit = ConfigError(
        f"{path} does not fit this model: {_difference(tensors, pipeline.unet)}. "
        "Use the model that it was trained on."
    )
    try:
        pipeline.load_lora_weights(str(folder), weight_name=WEIGHTS, adapter_name=name)
    except MISFIT as error:
        raise misfit from error
    # The stock loader passes over layers that this U-Net does not have.
    names = [part for part, _ in pipeline.unet.named_parameters() if "lora_" in part]
    num_loaded = sum(f".{name}." in part for part in names)
    if num_loaded != len(tensors):
        raise misfit


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of an adapter's file, or ConfigError if it is damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path} is damaged ({error}). Take another checkpoint.") from error


def adapter_config(path: Path) -> LoraConfig | None:
    """Rank, alpha and targets in an adapter's file, None without them; ConfigError if damaged."""
    try:
        with safe_open(path, "pt") as file:
            entries = json.loads((file.metadata() or {}).get(METADATA, "{}"))
        settings = {
            name.removeprefix("unet."): value
            for name, value in entries.items()
            if name.startswith("unet.")
        }
        config = LoraConfig(**settings) if settings else None
        if config and not (isinstance(config.r, int) and 0 < config.lora_alpha < math.inf):
            raise ValueError(f"rank {config.r}, alpha {config.lora_alpha}")
    except (OSError, RecursionError, *MISFIT) as error:
        raise ConfigError(
            f"{path} is damaged: its rank and alpha cannot be read ({first_line(error)}). "
            "Take another checkpoint."
        ) from error
    return config


def _check_numbers(path: Path, tensors: dict[str, Tensor]) -> None:
    """ConfigError if one of the tensors is not finite or there are none."""
    if not tensors:
        raise ConfigError(f"{path} is empty: it holds no tensor. Take another checkpoint.")
    num_broken = sum(not tensor.isfinite().all() for tensor in tensors.values())
    if num_broken:
        raise ConfigError(
            f"{path} holds numbers that are not finite, in {num_broken} of {len(tensors)} tensors. "
            "Take an earlier checkpoint."
        )


def _difference(tensors: dict[str, Tensor], unet: UNet2DConditionModel) -> str:
    """The difference of an adapter and a U-Net: the family, if their text features differ."""
    names = [name for name in tensors if "attn2.to_k" in name and "down" in name]
    widths = [tensors[name].shape[-1] for name in names]
    taken = unet.config.cross_attention_dim
    if widths and widths[0] != taken:
        return (
            f"it was made for a model with text features of width {widths[0]}, this one of {taken} "
            "(Stable Diffusion 1.5 has 768, XL 2048)"
        )
    return "its layers have other names or shapes"
