"""Runs are named by what tells them apart, the same everywhere."""

from pathlib import Path

import pytest

from rocm.config import RunConfig
from rocm.runs.names import run_label, run_name

RUN = Path("home/runs/tiny-rocm-kl-20260101-120000-ab12")
SWEPT = Path("home/runs/tiny-rocm-kl-sweep-0a1b2c3d-004")
KL = {"preset": "tiny-rocm-kl"}
MANY = {"beta": 1, "divergence": "js", "learning_rate": 0.01, "seed": 3}


@pytest.mark.parametrize(
    ("path", "about", "changes", "label"),
    [
        (RUN, KL, {}, "tiny-rocm-kl (ab12)"),
        (RUN, KL, {"beta": 10, "seed": 1}, "tiny-rocm-kl beta 10 seed 1 (ab12)"),
        (SWEPT, KL, {"beta": 0}, "tiny-rocm-kl beta 0 (0a1b2c3d-004)"),
        (RUN, KL, MANY, "tiny-rocm-kl beta 1 divergence js learning rate 0.01 and 1 more (ab12)"),
        (RUN, KL, {"device": "cpu", "eval_every": 7}, "tiny-rocm-kl (ab12)"),
        (RUN, KL | {"title": "mine"}, {"beta": 3}, "mine (ab12)"),
        (RUN, {"preset": "gone"}, {"beta": 3}, "gone (ab12)"),
        (Path("home/runs/mine"), {}, {}, "mine"),
    ],
)
def test_a_run_is_called_by_its_title_or_by_preset_and_changes(path, about, changes, label):
    config = RunConfig.load("tiny-rocm-kl", **changes)
    assert run_label(path.name, run_name(path, about, config)) == label


def test_changes_of_a_saved_preset_are_told_too(tmp_path):
    file = tmp_path / "presets" / "own.yaml"
    file.parent.mkdir()
    file.write_text("beta: 2\n")
    path = tmp_path / "runs" / "own-20260101-120000-ab12"
    assert run_name(path, {"preset": "own"}, RunConfig(beta=4)) == "own beta 4"
    file.write_text("beta: nothing\n")
    assert run_name(path, {"preset": "own"}, RunConfig(beta=4)) == "own"
