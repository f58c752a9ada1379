"""The resumable training loop that every stage shares.

A stage is a folder with one checkpoint, `state.pt`: the step and the state of every trained part.
Draws depend on (seed, step) alone, so a stage cut into slices sees the same batches as one that ran
straight through. The learning rate is constant after a warm-up and falls at the end, so that the
total can be changed between slices.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scripts.tiny.rounds import add_record

SAVE_EVERY_S = 90


@dataclass(frozen=True)
class Slice:
    """How long one call may train, and where: seconds (None: to the end), device, dtype."""

    seconds: float | None = None
    device: str = "cpu"
    bf16: bool = False

    def autocast(self) -> torch.autocast:
        """bfloat16 autocast if asked for, otherwise a context that changes nothing."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bf16)


class Average(nn.Module):
    """Exponential moving average of a model's parameters (and a copy of its buffers)."""

    def __init__(self, model: nn.Module, copy: nn.Module, decay: float):
        """Starts from `model`; `copy` has the same layout and is overwritten."""
        super().__init__()
        self.model, self.decay = copy.requires_grad_(False).eval(), decay
        self.model.load_state_dict(model.state_dict())

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """average <- decay * average + (1 - decay) * model, with a shorter memory at the start."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)


def learning_rate(
    step: int, total: int, peak: float, warmup: int = 100, tail: float = 0.3
) -> float:
    """Linear warm-up, constant, then 1 - sqrt decay to 2 % over the last `tail` of the updates."""
    left = max(0.0, (step - (1 - tail) * total) / (tail * total))
    return peak * min(1.0, (step + 1) / warmup) * max(0.02, 1 - left**0.5)


def generator(seed: int, step: int, device: str = "cpu") -> torch.Generator:
    """The random numbers of one update."""
    return torch.Generator(device).manual_seed(seed * 10_000_019 + step)


def save_atomically(values: dict[str, Any], path: Path) -> None:
    """Writes a torch file beside `path` and moves it over: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    torch.save(values, draft)
    os.replace(draft, path)


def load_step(path: Path, parts: dict[str, Any], device: str) -> int:
    """Loads a checkpoint into `parts` if there is one, and returns the updates already done."""
    if not path.exists():
        return 0
    values = torch.load(path, map_location=device, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(values[name])
    return values["step"]


def train(
    folder: Path,
    total: int,
    parts: dict[str, Any],
    update: Callable[[int], dict[str, float]],
    part: Slice,
) -> bool:
    """Runs updates from the last checkpoint up to `total`, or until the slice is over.

    Args:
        folder: the stage's folder; holds state.pt.
        total: updates in all.
        parts: whatever has a state_dict and belongs to the checkpoint.
        update: does one update and returns figures to print.
        part: the slice of this call.

    Returns:
        Whether the stage is complete.
    """
    path = folder / "state.pt"
    start = step = load_step(path, parts, part.device)
    begun = saved = printed = time.monotonic()
    sums: dict[str, float] = {}
    since = 0
    while step < total and (part.seconds is None or time.monotonic() - begun < part.seconds):
        for name, value in update(step).items():
            sums[name] = sums.get(name, 0.0) + value
        step, since, now = step + 1, since + 1, time.monotonic()
        if now - printed > 20 or step == total:
            rate = (step - start) / (now - begun)
            figures = " ".join(f"{name} {value / since:.4f}" for name, value in sums.items())
            print(f"{folder.name} {step}/{total} {figures} {rate:.2f} updates/s", flush=True)
            sums, since, printed = {}, 0, now
        if now - saved > SAVE_EVERY_S:
            save_checkpoint(path, step, parts)
            saved = now
    if step > start:
        save_checkpoint(path, step, parts)
        add_record(folder, updates=step, minutes=(time.monotonic() - begun) / 60)
    return step >= total


def save_checkpoint(path: Path, step: int, parts: dict[str, Any]) -> None:
    """Writes the step and the state of every part."""
    states = {name: part.state_dict() for name, part in parts.items()}
    save_atomically({"step": step, **states}, path)
