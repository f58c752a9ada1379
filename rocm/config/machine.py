"""Where a run computes, and how it spends memory and time."""

from typing import Literal

from pydantic import BaseModel

from rocm.config.setting import setting


class MachineSettings(BaseModel):
    """Device, numbers, memory, speed."""

    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "Machine", "Where to compute; auto takes CUDA where present."
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
        "Frozen layers keep only what backward needs; results are the same. auto: where memory is "
        "short.",
    )
    flat_lora: bool = setting(
        True,
        "Machine",
        "The adapter as one vector, with fewer operations in its layers; files are the same.",
    )
    channels_last: Literal["auto", "on", "off"] = setting(
        "auto",
        "Machine",
        "Channels of pictures and states lie side by side in memory; results are the same. auto: "
        "on a CPU, where that is faster.",
    )
    reference_batch: int = setting(
        32,
        "Machine",
        "Most states that the reference sees in one call; at least one step's are. 1: a call for "
        "each step.",
        ge=1,
        le=4096,
    )
    keep_text: bool = setting(
        True, "Machine", "Encode a prompt once and keep its text features, up to 64 MB of them."
    )
    decode_batch: int = setting(
        0,
        "Machine",
        "Pictures that are decoded and scored at a time in an update, each with its gradient at "
        "once; 0: all together.",
        ge=0,
        le=1024,
    )
    compile_blocks: bool = setting(
        False,
        "Machine",
        "Compile the networks' repeated blocks, for which the first update takes minutes. Not yet "
        "run on a GPU.",
    )
    cuda_graph: bool = setting(
        False,
        "Machine",
        "Record ROCM's update on CUDA once and repeat it, which spares the launches. Not yet run "
        "on a GPU.",
    )
    decoder: str = setting(
        "",
        "Machine",
        "A tiny autoencoder (TAESD) that decodes what is trained on, so that updates are cheaper; "
        "evaluations keep the model's own, which an empty setting means. A folder with diffusers' "
        "AutoencoderTiny. Not the same gradient.",
    )
