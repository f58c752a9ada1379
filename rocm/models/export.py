"""An adapter in the formats of other programs, and merged into its model."""

import os
import shutil
from pathlib import Path

import torch
from diffusers.utils import convert_state_dict_to_kohya
from peft import LoraConfig
from safetensors.torch import save_file
from torch import Tensor

from rocm.errors import ConfigError, MissingFile
from rocm.models.lora import WEIGHTS, adapter_config, load_adapter, read_tensors
from rocm.models.pipelines import load_few_step

# What other programs go by to tell the families apart, by the width of the text features.
KOHYA_VERSIONS = {
    768: {"ss_base_model_version": "sd_v1"},
    1024: {"ss_base_model_version": "sd_v2", "ss_v2": "True"},
    2048: {"ss_base_model_version": "sdxl_base_v1-0"},
}


def export_diffusers(adapter: Path, out: Path) -> Path:
    """The adapter file for diffusers' `load_lora_weights`, a copy of training's file."""
    read_adapter(adapter)
    return Path(shutil.copy(adapter / WEIGHTS, out / WEIGHTS))


def export_peft(adapter: Path, out: Path) -> Path:
    """The adapter for `PeftModel.from_pretrained(unet, out)`; returns the file of weights."""
    state, config = read_adapter(adapter)
    path = out / "adapter_model.safetensors"
    save_file({f"base_model.model.{name}": value for name, value in state.items()}, path)
    config.inference_mode = True
    config.save_pretrained(str(out))
    return path


def export_kohya(adapter: Path, out: Path) -> Path:
    """One file that ComfyUI and A1111 read.

    Names are kohya's with diffusers' module names, as the published LCM-LoRAs have them for both
    Stable Diffusion 1.5 and XL. A, B and alpha are stored apart, so the strength stays adjustable.
    """
    state, config = read_adapter(adapter)
    named = convert_state_dict_to_kohya({f"unet.{name}": value for name, value in state.items()})
    for name in named:
        if name.endswith(".alpha"):  # diffusers takes alpha == rank
            named[name] = torch.tensor(float(config.lora_alpha))
    metadata = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(config.r),
        "ss_network_alpha": str(config.lora_alpha),
        **KOHYA_VERSIONS.get(text_width(state), {}),
    }
    path = out / "adapter.safetensors"
    save_file(named, path, {"format": "pt", **metadata})
    return path


def export_merged(adapter: Path, model: str, out: Path) -> Path:
    """The whole model with the adapter in its weights, in diffusers' layout, in float32."""
    pipeline, _ = load_few_step(model, "fp32")
    load_adapter(pipeline, adapter)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    pipeline.save_pretrained(out)
    return out


def read_adapter(folder: Path) -> tuple[dict[str, Tensor], LoraConfig]:
    """An adapter's tensors by PEFT's names, and its rank, alpha and targets."""
    path = folder / WEIGHTS
    if not os.path.isfile(path):
        raise MissingFile(f"No adapter at {path}. Give a run or the adapter folder of a run.")
    tensors = read_tensors(path)
    config = adapter_config(path)
    if config is None or not all(name.startswith("unet.") for name in tensors):
        raise ConfigError(
            f"{path} is not an adapter of this program: it lacks its rank and alpha, or changes "
            "more than the U-Net. Give a run or the adapter folder of a run."
        )
    return {_peft_name(name): value for name, value in tensors.items()}, config


def text_width(state: dict[str, Tensor]) -> int:
    """Width of the text features that an adapter's cross-attention takes; 0 if it has none."""
    names = (name for name in state if name.endswith("attn2.to_k.lora_A.weight"))
    return next((state[name].shape[1] for name in names), 0)


def _peft_name(name: str) -> str:
    name = name.removeprefix("unet.").replace(".lora.down.", ".lora_A.")
    return name.replace(".lora.up.", ".lora_B.")
