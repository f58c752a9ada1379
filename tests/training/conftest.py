from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rocm.config import RunConfig
from rocm.training.run_dir import RunDir


@pytest.fixture
def small_config(tiny_pipeline_dir: Path, tmp_path: Path) -> Callable[..., RunConfig]:
    """Settings of a run on the random pipeline that takes a second."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(f"picture {number}" for number in range(40)))

    def make(**settings: Any) -> RunConfig:
        values = {
            "model": str(tiny_pipeline_dir),
            "prompts": str(prompts),
            "track": "saturation",
            "judge": "",
            "num_inference_steps": 2,
            "batch_size": 2,
            "num_steps": 4,
            "eval_every": 2,
            "num_eval_prompts": 4,
            "num_samples": 2,
            "learning_rate": 0.01,
            "device": "cpu",
            **settings,
        }
        return RunConfig.load(values)

    return make


@pytest.fixture
def new_run(small_config: Callable[..., RunConfig], tmp_path: Path) -> Callable[..., RunDir]:
    """A run directory of the given name and settings."""

    def make(name: str, **settings: Any) -> RunDir:
        return RunDir.create(tmp_path / name, small_config(**settings))

    return make
