"""The table of timed updates: what it compares, and that a fast wrong step shows."""

import json

import pytest
import torch

from rocm.config import RunConfig
from rocm.errors import RunError
from rocm.experiments.bench import parts
from rocm.experiments.bench.generation import bench_drawing
from rocm.experiments.bench.random_model import SMALL
from rocm.experiments.bench.scoring import bench_scoring
from rocm.experiments.bench.step import Work, bench_steps
from rocm.experiments.bench.table import Report
from rocm.experiments.bench.timing import interleaved, rates
from rocm.experiments.bench.variants import NAIVE, PLAIN, VARIANTS, Variant, chosen
from rocm.rewards.base import Scale
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


@pytest.mark.parametrize(("full", "known"), [("on", ["plain"]), ("off", [])])
def test_what_cannot_run_has_a_row_that_says_why(monkeypatch, full, known):
    def limited(setup, *arguments):
        if setup.config.gradient_checkpointing == full:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return update(setup, *arguments)

    monkeypatch.setattr("rocm.experiments.bench.step.update", limited)
    rows = bench_steps(work(), [PLAIN, NAIVE, *chosen(["graph"])[1:]], ["none"], [1]).rows
    assert [row["variant"] for row in rows] == ["plain", "naive", "graph"]
    assert [row["variant"] for row in rows if row["ms"] is not None] == known
    assert set(rows[0]) == set(rows[1]) == set(rows[2])
    assert sum(row["note"] == "The memory does not hold it." for row in rows) == 1
    assert "no CUDA device is used here" in rows[2]["note"]


def test_policy_gradient_and_bf16_are_timed_too():
    alone, two = bench_steps(work(algorithm="rlcm", beta=0), [PLAIN], ["none"], [1, 2]).rows
    assert two["gradient error"] == 0
    assert alone["gradient error"] is None  # one picture has no advantage over itself
    (row,) = bench_steps(work(precision="bf16"), [PLAIN], ["none"], [1]).rows
    assert 0 < row["gradient error"] < 0.5
    assert row["cosine"] > 0.9


def test_without_memory_for_the_true_gradient_updates_are_timed_all_the_same(monkeypatch):
    def limited(setup, *arguments):
        if setup.config.precision == "fp32":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return update(setup, *arguments)

    monkeypatch.setattr("rocm.experiments.bench.step.update", limited)
    (row,) = bench_steps(work(precision="bf16"), [PLAIN], ["none"], [1]).rows
    assert row["ms"] > 0
    assert row["gradient error"] is row["cosine"] is None


def test_drawing_and_scoring_give_a_row_for_each_case(tmp_path):
    drawn = bench_drawing(work(), [1, 2])
    assert [(row["model"], row["batch"]) for row in drawn.rows] == [
        ("base", 1),
        ("adapter", 1),
        ("base", 2),
        ("adapter", 2),
    ]
    scored = bench_scoring(work(), [], [3])
    assert [row["what"] for row in scored.rows] == ["score", "gradient"]
    assert all(row["floors"] > 0 for row in drawn.rows + scored.rows)
    scored.save(tmp_path / "scored.json")
    assert json.loads((tmp_path / "scored.json").read_text())["rows"] == scored.rows
    with pytest.raises(RunError, match="Choose another --json"):
        scored.save(tmp_path / "no" / "scored.json")


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


def test_rounds_are_interleaved_and_each_begins_with_another():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    spent = interleaved(calls, torch.device("cpu"), 3)
    assert "".join(order) == "abcbcacab"
    assert {name: len(values) for name, values in spent.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_time_of_twice_the_floor_has_half_the_rate():
    assert rates(3000, 2.0, 3e6) == {"TFLOP/s": 1.5e-6, "share": 0.5, "floors": 2.0}


def test_table_is_aligned_and_says_what_was_not_measured():
    rows = [{"variant": "plain", "ms": 1234.5, "x": None}, {"variant": "a", "ms": 0.5, "x": 7}]
    assert Report("Heading", rows, {"rounds": 2, "size": "small"}).text().splitlines() == [
        "Heading: rounds 2, size small",
        "variant     ms  x",
        "plain    1,234  -",
        "a          0.5  7",
    ]


@pytest.mark.gpu
def test_updates_are_timed_on_a_gpu():
    base = RunConfig.load("tiny-rocm-kl", num_inference_steps=2, precision="bf16", device="cuda")
    rows = bench_steps(Work(base, SMALL, 2), VARIANTS, ["exact"], [1]).rows
    assert all(row["cosine"] > 0.9 and row["peak MiB"] > row["weights MiB"] for row in rows)
