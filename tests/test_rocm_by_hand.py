"""The tutorial file computes what the trainer computes: loss, reward, divergence and adapter.

The two sides round differently (the trainer evaluates the reference in one call, for example), and
Adam's first steps enlarge the rounding of gradients near 0: losses differed by 1e-6, divergences
and weights by 6e-6. A different `ref_grad`, `last_step`, divergence, beta, clipping norm, Adam beta
or Adam epsilon moves the weights by 5e-5 or more; a weight decay of 0 instead of 1e-4 does not
show.
"""

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from rocm.config import RunConfig
from rocm.runs.run_dir import RunDir
from rocm.training.loop import train

PATH = Path(__file__).resolve().parents[1] / "docs" / "rocm_by_hand.py"
NUM_UPDATES, BATCH_SIZE, NUM_BASE = 3, 2, 8
# What may differ from the preset: how much is computed, and what is measured besides.
SMALL = {"batch_size": BATCH_SIZE, "num_eval_prompts": NUM_BASE, "checkpoint_every": NUM_UPDATES}
SMALL |= {"num_samples": 1, "track": "", "judge": "", "device": "cpu"}


def by_hand() -> ModuleType:
    spec = importlib.util.spec_from_file_location(PATH.stem, PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_trainer(folder: Path) -> tuple[list[tuple[float, ...]], list[torch.Tensor]]:
    """Loss, reward and divergence of each update, and the adapter's weights after the last."""
    run = RunDir.create(folder, RunConfig.load("tiny-color-kl", **SMALL))
    updates = []
    for progress in train(run):
        if progress.step:
            row = progress.row
            updates.append((row["loss"], row["reward"], row["divergence"]))
        if progress.step == NUM_UPDATES:
            break
    state = torch.load(run.checkpoints()[-1] / "training.pt", weights_only=True)
    return updates, state["parameters"]


def flat(parameters: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


@pytest.mark.slow
def test_the_first_updates_are_those_of_the_trainer(tmp_path: Path) -> None:
    expected, expected_adapter = by_trainer(tmp_path / "run")
    updates, model = by_hand().train(NUM_UPDATES, BATCH_SIZE, NUM_BASE)
    assert len(updates) == len(expected) == NUM_UPDATES
    for ours, theirs in zip(updates, expected, strict=True):
        assert ours[:2] == pytest.approx(theirs[:2], rel=1e-5)
        # 0 at the first update, where policy and reference are the same.
        assert ours[2] == pytest.approx(theirs[2], rel=2e-5, abs=1e-11)
    assert expected[-1][2] > 1e-4
    adapter, expected_flat = flat(model.parameters), flat(expected_adapter)
    assert (adapter - expected_flat).norm() < 2e-5 * expected_flat.norm()


def test_it_is_short_and_imports_nothing_of_ours() -> None:
    text = PATH.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    modules = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            modules.add((node.module or ".").split(".")[0])
    assert modules == {"hashlib", "random", "pathlib", "torch", "diffusers", "peft"}
