"""Where a run computes, and how it spends memory and time."""

from typing import Literal

from pydantic import BaseModel

from rocm.settings.field import setting


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
