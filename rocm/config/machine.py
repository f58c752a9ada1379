"""Settings of device, memory and speed."""

from typing import Literal

from pydantic import BaseModel

from rocm.config.setting import setting


class MachineSettings(BaseModel):
    """Device, number format, memory, speed."""

    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "Machine", "Where to compute; auto uses CUDA if present."
    )
    precision: Literal["fp32", "bf16", "fp16"] = setting(
        "fp32", "Machine", "Number format of the network passes; the mathematics stays in fp32."
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = setting(
        "auto",
        "Machine",
        "Recompute network passes in backward to save memory; auto decides by free memory.",
    )
    lean_layers: Literal["auto", "on", "off"] = setting(
        "auto",
        "Machine",
        "Frozen layers keep only what backward needs; results are the same. auto: if memory is "
        "short.",
    )
    flat_lora: bool = setting(
        True,
        "Machine",
        "Store the adapter as one vector, with fewer operations in its layers; files are the same.",
    )
    channels_last: Literal["auto", "on", "off"] = setting(
        "auto",
        "Machine",
        "Store a pixel's channels side by side in memory; results are the same. auto: on a CPU, "
        "where it is faster.",
    )
    reference_batch: int = setting(
        32,
        "Machine",
        "Maximum states in one call of the reference, at least those of one step. More states need "
        "more memory; 1: a call for each step.",
        ge=1,
        le=4096,
    )
    keep_text: bool = setting(
        True, "Machine", "Encode each prompt once and keep up to 64 MB of text features."
    )
    decode_batch: int = setting(
        0,
        "Machine",
        "Pictures that an update decodes and scores at a time. Fewer pictures need less memory; 0: "
        "all together.",
        ge=0,
        le=1024,
    )
    compile_blocks: bool = setting(
        False,
        "Machine",
        "Compile the networks' repeated blocks; the first update then takes minutes. Not yet run "
        "on a GPU.",
    )
    cuda_graph: bool = setting(
        False,
        "Machine",
        "Record ROCM's update on CUDA once and replay it, which saves kernel launches. Not yet run "
        "on a GPU.",
    )
    decoder: str = setting(
        "",
        "Machine",
        "A folder with diffusers' AutoencoderTiny (TAESD) that decodes the trained pictures: "
        "cheaper updates, another gradient. Evaluations use the model's own decoder. Empty: the "
        "model's own.",
    )
