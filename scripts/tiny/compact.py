"""Stored weights: matrices in 8 bits (float8 e4m3), everything else in half precision.

`from_pretrained` of diffusers and transformers reads both into float32.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

MAX_CHANGE = 0.05


def is_kept_in_8_bits(weight: Tensor) -> bool:
    """Whether a weight is a matrix whose norm 8 bits change by at most `MAX_CHANGE` of it."""
    if weight.ndim < 2 or not weight.is_floating_point():
        return False
    values = weight.float()
    change = values.to(torch.float8_e4m3fn).float() - values
    return (change.norm() <= MAX_CHANGE * values.norm()).item()


def compact(states: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights as they are stored, of the same names and shapes.

    A matrix that 8 bits would change by more than 5 % stays in half precision; so do vectors.
    Integers stay as they are.
    """
    stored = {}
    for name, value in states.items():
        kind = torch.float8_e4m3fn if is_kept_in_8_bits(value) else torch.float16
        stored[name] = (value.to(kind) if value.is_floating_point() else value).contiguous()
    return stored


def compact_folder(folder: Path) -> None:
    """Rewrites every safetensors file below a folder."""
    for file in folder.rglob("*.safetensors"):
        save_file(compact(load_file(file)), file, metadata={"format": "pt"})
