"""Checkpoints that are whole or absent, and that resume bit for bit.

A checkpoint holds the adapter in diffusers' layout, the exact training state (`training.pt`) and
`checkpoint.json` with the size and hash of both. Prompts and noise are drawn by (seed, index), so
the step number is all the random state there is.
"""

import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from rocm.algorithms.advantages import PromptStatistics
from rocm.algorithms.dpok import Value
from rocm.errors import RunError
from rocm.models.consistency import ConsistencyModel
from rocm.models.flat_lora import FlatAdamW
from rocm.models.lora import save_adapter, scaled
from rocm.runs.run_dir import RunDir
from rocm.storage.files import read_json, replace_folder, write_atomic
from rocm.training.beta_control import BetaControl

TRAINING_STATE = "training.pt"
SUMMARY = "checkpoint.json"
NUM_RESUMABLE = 2


@dataclass(frozen=True)
class Critic:
    """DPOK's value network and its optimizer."""

    value: Value
    optimizer: Optimizer

    def state_dict(self) -> dict[str, Any]:
        """Both states."""
        return {"value": self.value.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from another object's `state_dict`."""
        self.value.load_state_dict(state["value"])
        self.optimizer.load_state_dict(state["optimizer"])


@dataclass(frozen=True)
class Learner:
    """The state that training changes: the adapter's parameters, in a fixed order, and the rest.

    The scaler is enabled for fp16 only; `statistics` are earlier rewards by prompt, if needed;
    `control` is there with beta=auto only.
    """

    parameters: list[torch.nn.Parameter]
    optimizer: Optimizer
    scaler: torch.amp.GradScaler
    statistics: PromptStatistics
    critic: Critic | None = None
    control: BetaControl | None = None

    def state_dict(self) -> dict[str, Any]:
        """Everything here as plain data and tensors, the parameters one by one on the CPU."""
        state = {
            "parameters": [parameter.detach().cpu().clone() for parameter in self.parameters],
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "statistics": self.statistics.state_dict(),
        }
        for name in ("critic", "control"):
            if (part := getattr(self, name)) is not None:
                state[name] = part.state_dict()
        return state

    def snapshot(self) -> dict[str, Any]:
        """A copy of everything but `control`, for `restore`."""
        return deepcopy(replace(self, control=None).state_dict())

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a `snapshot`, whose tensors the optimizer may take over."""
        replace(self, control=None).load_state_dict(snapshot)

    @contextmanager
    def lent(self, values: Sequence[Tensor]) -> Iterator[None]:
        """Inside, the adapter's parameters have other values."""
        own = [parameter.detach().clone() for parameter in self.parameters]
        try:
            self._put(values)
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from another object's `state_dict`."""
        self._put(state["parameters"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.statistics.load_state_dict(state.get("statistics", {}))  # none in older checkpoints
        if self.critic is not None:
            self.critic.load_state_dict(state["critic"])
        if self.control is not None:
            self.control.load_state_dict(state["control"])

    def set_learning_rate(self, rate: float) -> None:
        """Take steps of this learning rate from now on."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def descend(self, max_grad_norm: float) -> float:
        """One optimizer step along gradients scaled down to `max_grad_norm`; returns their norm.

        If the norm is not finite, no parameter was changed.
        """
        if isinstance(self.optimizer, FlatAdamW):
            self.optimizer.collect()
        self.scaler.unscale_(self.optimizer)
        descended = self.optimizer.param_groups[0]["params"]
        grad_norm = torch.nn.utils.clip_grad_norm_(descended, max_grad_norm)
        if torch.isfinite(grad_norm) or self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return grad_norm.item()


def save_checkpoint(run: RunDir, step: int, model: ConsistencyModel, learner: Learner) -> None:
    """Write the checkpoint after `step` updates, and make its adapter the run's newest."""
    folder = run.checkpoint_dir(step)
    with replace_folder(folder) as temporary:
        save_adapter(model.pipeline.unet, temporary)
        write_atomic(temporary / TRAINING_STATE, _training_state(learner))
        files = {path.name: _fingerprint(path) for path in sorted(temporary.iterdir())}
        write_atomic(temporary / SUMMARY, json.dumps({"step": step, "files": files}, indent=2))
    publish_adapter(run, step)
    for old in run.checkpoints()[:-NUM_RESUMABLE]:
        (old / TRAINING_STATE).unlink(missing_ok=True)
    run.append_event("checkpoint", step=step)


def load_checkpoint(run: RunDir, learner: Learner) -> int:
    """Restore the newest checkpoint; returns the number of updates done, or raises RunError."""
    folders = run.checkpoints()
    if not folders:
        raise RunError(f"{run.path} has no checkpoint to resume from. Start a new run.")
    folder = folders[-1]
    step = _verified_step(folder, folders[:-1])
    state = torch.load(folder / TRAINING_STATE, map_location="cpu", weights_only=True)
    shapes = [tuple(parameter.shape) for parameter in state["parameters"]]
    if shapes != [tuple(parameter.shape) for parameter in learner.parameters]:
        raise RunError(
            f"{folder} was made with other adapter settings (lora_rank, lora_targets or model). "
            "Resume with the settings in config.yaml."
        )
    learner.load_state_dict(state)
    return step


def publish_adapter(run: RunDir, step: int) -> None:
    """Copy a checkpoint's adapter to the run's `adapter` folder."""
    with replace_folder(run.path / "adapter") as temporary:
        for path in run.checkpoint_dir(step).glob("*.safetensors"):
            shutil.copy2(path, temporary)


def publish_scaled(run: RunDir, model: ConsistencyModel, strength: float) -> None:
    """Make the adapter, its update times `strength`, the run's `adapter`."""
    unet = model.pipeline.unet
    with scaled(unet, strength), replace_folder(run.path / "adapter") as temporary:
        save_adapter(unet, temporary)


def _training_state(learner: Learner) -> bytes:
    # To memory first: torch.save itself reports a full disk as a RuntimeError.
    buffer = io.BytesIO()
    torch.save(learner.state_dict(), buffer)
    return buffer.getvalue()


def _verified_step(folder: Path, older: list[Path]) -> int:
    summary = read_json(folder / SUMMARY)
    if isinstance(summary, dict) and {"step", "files"} <= summary.keys():
        files = {folder / name: expected for name, expected in summary["files"].items()}
        if all(path.is_file() and _fingerprint(path) == files[path] for path in files):
            return summary["step"]
    usable = [earlier.name for earlier in older if (earlier / TRAINING_STATE).is_file()]
    advice = "No older checkpoint can be resumed; start a new run."
    if usable:
        advice = f"Delete that folder to resume from {usable[-1]}."
    raise RunError(f"{folder} is damaged: a file is missing, cut short or changed. {advice}")


def _fingerprint(path: Path) -> dict[str, int | str]:
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
