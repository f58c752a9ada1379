"""A grid of settings with seeds: what is planned, what is done once only, and what is reported."""

import csv
import json
import math
import shutil

import pytest

from rocm.algorithms.intervals import Interval, interval
from rocm.cli.main import main
from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.experiments.sweep import SweepCell, Sweeps, combinations, peak
from rocm.runs.queue import Queue
from rocm.storage.files import replace_folder
from rocm.studio import Studio


def test_every_combination_once_and_in_the_settings_own_types():
    cells = combinations(RunConfig(), {"beta": ["0", "0.0", "1"], "divergence": ["kl", "js"]})
    assert cells == [{"beta": b, "divergence": d} for b in (0.0, 1.0) for d in ("kl", "js")]


@pytest.mark.parametrize(
    ("grid", "seeds", "words"),
    [
        ({}, 1, "The grid is empty"),
        ({"betta": [1]}, 1, "Did you mean 'beta'"),
        ({"beta": [-1]}, 1, "beta=-1 is not allowed"),
        ({"seed": [1]}, 1, "seed cannot be in the grid"),
        ({"beta": [0, 1]}, 0, "2 combinations with num_seeds=0"),
        ({"beta": [0, 1]}, 501, "a sweep has 1 to 1000 runs"),
        ({"beta": [*range(100)], "learning_rate": [*range(100)]}, 1, "10,000 combinations"),
    ],
)
def test_a_bad_grid_is_one_sentence_and_plans_nothing(tmp_path, grid, seeds, words):
    studio = Studio(tmp_path)
    with pytest.raises(ConfigError, match=words):
        studio.start_sweep("tiny-rocm-kl", grid, seeds)
    assert studio.sweeps.ids() == []
    assert studio.runs.all() == []


def cell(*means: float | None) -> SweepCell:
    """With a reward and a judge."""
    return SweepCell({}, [], [], *(interval([one] if one else [], "seeds") for one in means), None)


def test_the_peak_is_where_the_judge_is_highest_and_the_reward_only_without_a_judge():
    assert peak([cell(9, 0.1), cell(1, 0.3), cell(None, None)]) == 1
    assert peak([cell(9, None), cell(1, None)]) == 0
    assert peak([cell(None, None)]) is None


def test_runs_share_the_settings_and_differ_by_cell_and_seed(tmp_path):
    sweeps = Sweeps(tmp_path, Queue(tmp_path))
    base = RunConfig.load("tiny-rocm-kl", seed=5)
    sweep_id = sweeps.plan("tiny-rocm-kl", base, {"beta": [0, 1]}, 2)
    planned = [(config.beta, config.seed) for _, config in sweeps.open_runs(sweep_id)]
    assert planned == [(0, 5), (0, 6), (1, 5), (1, 6)]
    assert sweeps.plan("tiny-rocm-kl", base, {"beta": ["0", "1"]}, 2) == sweep_id
    assert sweeps.plan("tiny-rocm-kl", base, {"beta": [0, 1]}, 3) != sweep_id


@pytest.fixture
def ended(tmp_path):
    """A sweep of two runs that are finished, and a function that writes a run's rows."""
    sweeps = Sweeps(tmp_path, Queue(tmp_path))
    sweep_id = sweeps.plan("tiny-rocm-kl", RunConfig.load("tiny-rocm-kl"), {"beta": [0, 1]}, 1)
    runs = [sweeps.create(sweep_id, run, config) for run, config in sweeps.open_runs(sweep_id)]

    def write(run, **last):
        run.append_metrics({"step": 0, "eval/reward": 0.0, "heldout/tiny-judge": 0.5})
        run.append_metrics({"step": 1, "reward": 1.0, "divergence": 4.0, **last})
        run.mark_ended("finished")

    write(runs[0], **{"eval/reward": 2.0, "heldout/tiny-judge": 0.75})
    return sweeps, sweep_id, runs[1], write


def test_a_measurement_that_was_not_finite_is_left_out(ended):
    sweeps, sweep_id, run, write = ended
    write(run, **{"eval/reward": math.nan, "heldout/tiny-judge": math.inf, "divergence": math.nan})
    whole, empty = sweeps.report(sweep_id).cells
    assert (whole.reward.mean, whole.judge.mean, whole.divergence.mean) == (2.0, 0.75, 4.0)
    assert empty.states == ["finished"]
    assert empty.reward is empty.judge is empty.divergence is None


def test_inline_a_sweep_trains_reports_and_makes_only_what_is_missing(
    tmp_path, tiny_pipeline_dir, monkeypatch
):
    monkeypatch.setenv("ROCM_HOME", str(tmp_path / "home"))
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(f"picture {number}" for number in range(9)))
    sets = {
        **{"model": tiny_pipeline_dir, "prompts": prompts, "track": "", "judge": "smoothness"},
        **{"num-inference-steps": 1, "batch-size": 1, "num-steps": 2, "eval-every": 2},
        **{"num-eval-prompts": 4, "num-samples": 1, "learning-rate": 0.01, "device": "cpu"},
    }
    words = [word for name, value in sets.items() for word in (f"--{name}", str(value))]
    command = ["sweep", "tiny-rocm-kl", "--grid", "beta=0,1", "--seeds", "2", "--inline", *words]
    assert main(command) == 0
    studio = Studio(tmp_path / "home")
    (sweep_id,) = studio.sweeps.ids()
    first = studio.sweeps.report(sweep_id)
    assert [one.states for one in first.cells] == [["finished"] * 2] * 2
    assert first.cells[0].reward.over == "seeds"
    values = [
        next(row for row in studio.runs.run(run_id).metrics() if row["step"] == 2)["eval/reward"]
        for run_id in first.cells[0].run_ids
    ]
    assert first.cells[0].reward.mean == pytest.approx(sum(values) / 2)
    assert first.cells[1].judge.low < first.cells[1].judge.mean < first.cells[1].judge.high

    shutil.rmtree(studio.runs.folder / first.cells[1].run_ids[1])
    kept = studio.runs.folder / first.cells[0].run_ids[0] / "metrics.jsonl"
    before = kept.stat().st_mtime_ns
    assert main(command) == 0
    assert kept.stat().st_mtime_ns == before
    assert studio.sweeps.report(sweep_id).cells == first.cells
    folder = tmp_path / "home" / "sweeps" / sweep_id
    rows = list(csv.DictReader((folder / "report.csv").open()))
    assert [row["beta"] for row in rows] == ["0.0", "1.0"]
    assert float(rows[0]["reward_mean"]) == first.cells[0].reward.mean
    assert json.loads((folder / "report.json").read_text())["peak"] == first.peak


def test_one_seed_gets_its_interval_over_prompts(ended):
    sweeps, sweep_id, *_ = ended
    with replace_folder(sweeps.runs(sweep_id)[0].samples_dir(1)) as folder:
        scores = {"reward": [1.0, 3.0], "tiny-judge": [0.25, 0.25]}
        (folder / "scores.json").write_text(json.dumps(scores))
    found = sweeps.report(sweep_id).cells[0]
    assert (found.reward.over, found.reward.num, found.reward.mean) == ("prompts", 2, 2.0)
    assert found.judge == Interval(0.25, 0.25, 0.25, 2, "prompts")
    assert found.divergence.low is None
