"""Settings by which a few small updates use every part of each algorithm, and runs of them."""

import pytest
import torch
from safetensors.torch import load_file

from rocm.models.lora import WEIGHTS
from rocm.runs.run_dir import RunDir
from rocm.training.loop import train

# Two prompts share their pictures between updates, so that a resumed run needs the old rewards.
RLCM = {"algorithm": "rlcm", "pictures_per_prompt": 4, "prompt_min_count": 2}
RLCM |= {"inner_epochs": 2, "clip_range": 1e-3}
REBEL = {**RLCM, "policy_loss": "rebel", "rebel_eta": 2.0}
D3PO = {"algorithm": "d3po", "pictures_per_prompt": 2, "inner_epochs": 2, "clip_range": 0.1}
DPOK = {"algorithm": "dpok", "inner_epochs": 2, "clip_range": 1e-3, "value_epochs": 2}
HYBRID = {"algorithm": "hybrid", "pictures_per_prompt": 2}
HYBRID |= {"reward": "colorfulness+0.01*incompressibility"}
ALGORITHMS: dict[str, dict] = {"rocm": {}, "rlcm": RLCM, "rebel": REBEL}
ALGORITHMS |= {"d3po": D3PO, "dpok": DPOK, "hybrid": HYBRID}
each_algorithm = pytest.mark.parametrize("settings", ALGORITHMS.values(), ids=ALGORITHMS)
CLOCK = ("time", "seconds", "images_per_s", "memory_mb")


def timeless(row: dict) -> dict:
    """A row of metrics without what the clock decides."""
    return {name: value for name, value in row.items() if name not in CLOCK}


def measured(run: RunDir) -> list[dict]:
    return [timeless(row) for row in run.metrics()]


def adapter(run: RunDir) -> dict[str, torch.Tensor]:
    return load_file(run.path / "adapter" / WEIGHTS)


def train_in_two(run: RunDir, stop_at: int) -> None:
    """Train a run that is stopped after an update, and resumed."""
    for progress in train(run):
        if progress.step == stop_at:
            run.request("stop")
    assert (run.status().state, run.status().step) == ("stopped", stop_at)
    list(train(run, resume=True))


def assert_same(run: RunDir, other: RunDir) -> None:
    """Bit for bit the same measurements and adapter."""
    assert measured(run) == measured(other)
    for name, weights in adapter(other).items():
        assert torch.equal(adapter(run)[name], weights), name
