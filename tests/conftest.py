"""Every test is offline; under ROCM_REQUIRE_ALL=1 a skipped test fails the session.

`tiny_pipeline_dir` is the one model that tests may load: random weights, right in every other way.
"""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rocm.config import RunConfig
from rocm.runs.run_dir import RunDir

gc.disable()  # until the modules of all tests are imported: they make no garbage
# One thread for each of pytest-xdist's processes; must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(HF_HUB_OFFLINE="1", GRADIO_ANALYTICS_ENABLED="False", OMP_WAIT_POLICY="PASSIVE")
# Published rewards that this machine may hold would be measured by runs of the tests.
os.environ.update(ROCM_REWARDS=os.devnull, HF_HUB_CACHE=os.devnull)
# Folders and files that take long, the longest first.
LONG = "browser runs/engines training experiments scripts golden test_studio runs test_distributed"
LONG += " models study"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: at the end no worker of pytest-xdist waits for the other."""
    names = [f"tests/{name}" for name in LONG.split()]
    items.sort(key=lambda item: [item.nodeid.startswith(name) for name in names], reverse=True)


def pytest_collection_finish() -> None:
    """From here on garbage is collected, but not looked for in the modules of all tests."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    is_worker = reporter is None  # of pytest-xdist; the session that started it reports
    if is_worker or os.environ.get("ROCM_REQUIRE_ALL") != "1":
        return
    if reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def tiny_pipeline_dir(tmp_path_factory) -> Path:
    """A latent consistency model with random weights in diffusers' layout; treat it as read-only.

    Latents 4x8x8, pictures 3x16x16, 16 tokens of one byte each, a scheduler as LCM Dreamshaper's.
    """
    from tests.tiny_pipeline import random_pipeline  # noqa: PLC0415, imports torch and diffusers

    folder = tmp_path_factory.mktemp("tiny-pipeline")
    random_pipeline(seed=0).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def small_config(tiny_pipeline_dir: Path, tmp_path_factory) -> Callable[..., RunConfig]:
    """Settings of a run on the random pipeline that takes a second."""
    prompts = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    prompts.write_text("\n".join(f"picture {number}" for number in range(40)))

    def make(**settings: Any) -> RunConfig:
        values = {"model": str(tiny_pipeline_dir), "prompts": str(prompts), "device": "cpu"}
        values |= {"track": "saturation", "judge": "", "num_eval_prompts": 4, "num_samples": 2}
        values |= {"num_inference_steps": 2, "batch_size": 2, "num_steps": 4, "eval_every": 2}
        values |= {"learning_rate": 0.01, "reward": "colorfulness"}
        return RunConfig.load({**values, **settings})

    return make


@pytest.fixture
def new_run(small_config: Callable[..., RunConfig], tmp_path: Path) -> Callable[..., RunDir]:
    """A run directory of the given name and settings."""

    def make(name: str, **settings: Any) -> RunDir:
        return RunDir.create(tmp_path / name, small_config(**settings))

    return make
