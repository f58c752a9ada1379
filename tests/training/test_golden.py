"""Three updates of each algorithm against a committed run: nothing changes without being noticed.

`python -m tests.training.test_golden` writes them anew; say in the commit why they changed.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rocm.config import RunConfig
from rocm.training.loop import train
from rocm.training.run_dir import RunDir
from tests.tiny_pipeline import random_pipeline
from tests.training.choices import ALGORITHMS

GOLDEN = Path(__file__).parent / "golden.json"
MEASURED = ("reward", "loss", "grad_norm", "divergence", "kl_nats", "clip_fraction", "value_loss")
SETTINGS = {"num_steps": 3, "eval_every": 3, "beta": 0.5}


def measure(run: RunDir) -> list[dict[str, float]]:
    rows = [progress.row for progress in train(run)][1:]
    return [{name: row[name] for name in MEASURED if name in row} for row in rows]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_updates_are_those_of_the_committed_run(new_run: Callable[..., RunDir], name: str) -> None:
    expected = json.loads(GOLDEN.read_text())[name]
    found = measure(new_run("run", **SETTINGS, **ALGORITHMS[name]))
    for row, other in zip(found, expected, strict=True):
        assert row == pytest.approx(other, rel=2e-3, abs=1e-6)


def write() -> None:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        random_pipeline(seed=0).save_pretrained(model)
        prompts = Path(folder) / "prompts.txt"
        prompts.write_text("\n".join(f"picture {number}" for number in range(40)))
        for name, settings in ALGORITHMS.items():
            config = RunConfig(
                model=str(model),
                prompts=str(prompts),
                track="saturation",
                judge="",
                num_inference_steps=2,
                num_eval_prompts=4,
                num_samples=2,
                learning_rate=0.01,
                device="cpu",
                **{"batch_size": 2, **SETTINGS, **settings},
            )
            found[name] = measure(RunDir.create(Path(folder) / name, config))
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    write()
