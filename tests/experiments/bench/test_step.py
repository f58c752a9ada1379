"""The table of timed updates: what it compares, and that a fast wrong step shows."""

import json

import pytest
import torch

from rocm.config import RunConfig
from rocm.experiments.bench import parts
from rocm.experiments.bench.pictures import bench_drawing, bench_scoring
from rocm.experiments.bench.random_model import SMALL
from rocm.experiments.bench.step import Work, bench_steps
from rocm.experiments.bench.timing import Report
from rocm.experiments.bench.variants import NAIVE, PLAIN, VARIANTS, Variant
from rocm.training.setup import set_up
from rocm.training.update import update

WRONG = Variant("wrong", {"beta": 9.0}, "another loss, as a mistake would be")


def work(**settings) -> Work:
    base = RunConfig.load("tiny-rocm-kl", num_inference_steps=2, device="cpu", **settings)
    return Work(base, SMALL, num_rounds=2)


def by_variant(report: Report) -> dict:
    return {row["variant"]: row for row in report.rows}


def test_recomputation_has_plains_gradient_and_a_wrong_loss_has_not():
    rows = by_variant(bench_steps(work(), [PLAIN, NAIVE, WRONG], ["exact"], [2]))
    assert rows["plain"]["gradient error"] == 0
    assert rows["naive"]["gradient error"] < 1e-5
    assert rows["naive"]["cosine"] > 0.99999
    assert rows["wrong"]["gradient error"] > 1e-2
    assert rows["plain"]["x plain"] == rows["naive"]["x naive"] == 1
    assert rows["naive"]["peak MiB"] < rows["plain"]["peak MiB"]
    work_done = [row["TFLOP/s"] * row["ms"] for row in rows.values()]
    assert work_done == pytest.approx([work_done[0]] * 3)  # the useful FLOPs are plain's for all


def test_drawing_and_scoring_give_a_row_for_each_case(tmp_path):
    drawn, scored = bench_drawing(work(), [1, 2]), bench_scoring(work(), [], [3])
    cases = [(row["model"], row["batch"]) for row in drawn.rows]
    assert cases == [(model, batch) for batch in (1, 2) for model in ("base", "adapter")]
    assert [row["what"] for row in scored.rows] == ["score", "gradient"]
    named = bench_scoring(Work(work().base, None, 1), ["clip:assets/tiny-clip"], [1])
    assert {row["reward"] for row in named.rows} == {"clip:assets/tiny-clip"}
    assert all(row["floors"] > 0 for row in drawn.rows + scored.rows)
    scored.save(tmp_path / "scored.json")
    assert json.loads((tmp_path / "scored.json").read_text())["rows"] == scored.rows


def test_an_update_timed_in_parts_is_the_one_that_training_does(small_config, monkeypatch):
    config, setups = small_config(adam_epsilon=1e-3), []
    monkeypatch.setattr(parts, "set_up", lambda given: setups.append(set_up(given)) or setups[0])
    (spent,) = parts.bench_parts(config, 1).rounds
    assert set(spent) == set(parts.PARTS)
    assert min(spent.values()) > 0
    other = set_up(config)
    for step in (1, 2):
        update(other, other.rewards.mixture(), step)
    for one, alone in zip(setups[0].learner.parameters, other.learner.parameters, strict=True):
        torch.testing.assert_close(one, alone)


@pytest.mark.gpu
def test_updates_are_timed_on_a_gpu():
    base = RunConfig.load("tiny-rocm-kl", num_inference_steps=2, precision="bf16", device="cuda")
    rows = bench_steps(Work(base, SMALL, 2), VARIANTS, ["exact"], [1]).rows
    assert all(row["cosine"] > 0.9 and row["peak MiB"] > row["weights MiB"] for row in rows)
