"""Settings of device, memory and speed."""

from functools import partial
from typing import Literal

from pydantic import BaseModel

from rocm.config.setting import setting

_setting = partial(setting, "Machine")


class MachineSettings(BaseModel):
    """Device, number format, memory, speed."""

    device: Literal["auto", "cpu", "cuda"] = _setting(
        "auto", "Where to compute; auto uses CUDA if present."
    )
    precision: Literal["fp32", "bf16", "fp16"] = _setting(
        "fp32", "Number format of the network passes; the mathematics stays in fp32."
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = _setting(
        "auto", "Recompute network passes in backward to save memory; auto decides by free memory."
    )
    lean_layers: Literal["auto", "on", "off"] = _setting(
        "auto",
        "Frozen layers keep only what backward needs; results are the same. auto: if memory is "
        "short.",
    )
    flat_lora: bool = _setting(
        True,
        "Store the adapter as one vector, with fewer operations in its layers; files are the same.",
    )
    channels_last: Literal["auto", "on", "off"] = _setting(
        "auto",
        "Store a pixel's channels side by side in memory; results are the same. auto: on a CPU, "
        "where it is faster.",
    )
    reference_batch: int = _setting(
        32,
        "Maximum states in one call of the reference, at least those of one step. More states need "
        "more memory; 1: a call for each step.",
        ge=1,
        le=4096,
    )
    keep_text: bool = _setting(
        True, "Encode each prompt once and keep up to 64 MB of text features."
    )
    decode_batch: int = _setting(
        0,
        "Pictures that an update decodes and scores at a time. Fewer pictures need less memory; 0: "
        "all together.",
        ge=0,
        le=1024,
    )
    compile_blocks: bool = _setting(
        False,
        "Compile the networks' repeated blocks; the first update then takes minutes. Not yet run "
        "on a GPU.",
    )
    cuda_graph: bool = _setting(
        False,
        "Record ROCM's update on CUDA once and replay it, which saves kernel launches. Not yet run "
        "on a GPU.",
    )
    decoder: str = _setting(
        "",
        "A folder with diffusers' AutoencoderTiny (TAESD) that decodes the trained pictures: "
        "cheaper updates, another gradient. Evaluations use the model's own decoder. Empty: the "
        "model's own.",
    )
