"""A home with two runs of the random model, one of them with checkpoints."""

import shutil

import pytest

from rocm.config import RunConfig
from rocm.runs.run_dir import RunDir
from tests.generation.conftest import tiny_adapters  # noqa: F401, a fixture

BOTH = ("first", "second")


@pytest.fixture
def home(tmp_path, tiny_pipeline_dir, tiny_adapters):  # noqa: F811
    for name, folder in zip(BOTH, tiny_adapters, strict=True):
        config = RunConfig(model=str(tiny_pipeline_dir), reward="saturation", beta=0)
        run = RunDir.create(tmp_path / "runs" / name, config)
        run.mark_ended("finished")
        shutil.copytree(folder, run.path / "adapter")
    for step in (0, 20, 40):
        shutil.copytree(tiny_adapters[0], tmp_path / f"runs/first/checkpoints/step_{step:06d}")
    return tmp_path
