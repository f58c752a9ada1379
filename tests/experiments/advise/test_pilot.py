"""A pilot over the queue: what it trains, what it repeats, and what it writes."""

import json

import numpy as np
import pytest

from rocm.cli.main import main
from rocm.errors import ConfigError, RunError
from rocm.experiments.advise.pilot import Pilot, Size, newest_advice, pilot_settings
from rocm.experiments.sweep import Sweeps
from rocm.runs.queue import Queue
from rocm.storage.files import replace_folder

SIZE = Size(seeds=2, fresh_seeds=2, fresh_prompts=6)
GIVEN = {"num_eval_prompts": 8, "kl_budget": 20.0}


class IdleQueue(Queue):
    """A queue that starts no process."""

    def ensure_worker(self) -> None:
        pass


def pilot_in(home, **changed) -> Pilot:
    config = pilot_settings("tiny-rocm-kl", {**GIVEN, **changed})
    return Pilot(Sweeps(home, IdleQueue(home)), "tiny-rocm-kl", config, SIZE)


def trainer(effects: dict[str, float], trained: list[str], nats: float = 20.0):
    """Finishes the waiting runs of a sweep with scores, as a judge sees the effects."""

    def wait(sweeps: Sweeps, sweep_id: str, words: str) -> None:
        for run in sweeps.queue.waiting():
            config = run.config()
            trained.append(run.path.name)
            base = {"tiny-judge": {"mean": 0.5, "deviation": 0.1}}
            run.write_manifest({"base_scores": base})
            run.append_metrics({"step": config.num_steps, "kl_nats": nats, "eval/reward": 1.0})
            noise = np.random.default_rng(config.seed).normal(0, 0.02, config.num_eval_prompts)
            scores = 0.5 + 0.1 * effects.get(config.divergence, 0.0) + noise
            with replace_folder(run.samples_dir(config.num_steps)) as folder:
                (folder / "scores.json").write_text(json.dumps({"tiny-judge": list(scores)}))
            run.write_state("finished", step=config.num_steps)

    return wait


def test_a_killed_pilot_goes_on_and_trains_nothing_twice(tmp_path):
    trained: list[str] = []
    good = trainer({"js": 1.0}, trained)

    def killed(sweeps: Sweeps, sweep_id: str, words: str) -> None:
        if len(trained) >= 6:
            raise KeyboardInterrupt
        good(sweeps, sweep_id, words)

    with pytest.raises(KeyboardInterrupt):
        pilot_in(tmp_path).carry_out(lambda: ["a hint"], killed)
    drawn: list[str] = []
    verdict = pilot_in(tmp_path).carry_out(lambda: drawn, good)
    assert verdict.advice == "js"
    assert drawn == []
    assert len(trained) == len(set(trained)) == 6 + 4 + 4
    pilot_in(tmp_path).carry_out(lambda: drawn, good)
    assert len(trained) == 14


def test_the_confirmation_is_fresh_and_its_arms_are_runs_of_kl_and_the_best(tmp_path):
    pilot = pilot_in(tmp_path)
    pilot.carry_out(lambda: ["a hint"], trainer({"js": 1.0}, []))
    runs = {run.path.name: run.config() for run in IdleQueue(tmp_path).all_runs()}
    assert {one.seed for one in runs.values() if one.num_eval_prompts == 8} == {0, 1}
    assert {one.seed for one in runs.values() if one.num_eval_prompts == 14} == {2, 3}
    shared = {(one.beta, one.kl_budget, one.num_steps) for one in runs.values()}
    assert shared == {("auto", 20.0, 40)}
    report = newest_advice(tmp_path)
    arms = [runs[run_id] for run_id in report.arms]
    assert [arm.divergence for arm in arms] == ["kl", "js"]
    assert arms[0].seed == arms[1].seed == 2
    record = json.loads((pilot.folder / "advice.json").read_text())
    assert (report.is_at_work, report.progress) == (False, record["sentence"])
    assert "a hint" in report.text
    assert record["advice"] == "js"
    assert record["sentence"] in report.text


def test_runs_that_fail_or_miss_the_budget_end_the_pilot(tmp_path):
    def wait(sweeps: Sweeps, sweep_id: str, words: str) -> None:
        for run in sweeps.queue.waiting():
            run.mark_ended("failed", "The loss is not finite.")

    trained: list[str] = []
    far = trainer({}, trained, nats=8.0)
    for one, words in ((wait, "The loss is not finite"), (far, "far below kl_budget=20")):
        with pytest.raises(RunError, match=words):
            pilot_in(tmp_path).carry_out(list, one)
    assert len(trained) == 6  # no further seed is tried


def test_settings_that_are_no_pilot_are_refused_before_anything_is_trained(tmp_path):
    for given, words in (
        ({"beta": 1}, "Leave beta out"),
        ({"divergence": "js"}, "Leave divergence out"),
        ({"judge": ""}, "Set judge"),
        ({"model": "elsewhere", "kl_budget": 0}, "needs kl_budget"),
        ({"num_eval_prompts": 1000}, "num_eval_prompts=1000"),
    ):
        with pytest.raises(ConfigError, match=words):
            pilot_in(tmp_path, **given)
    assert not (tmp_path / "runs").exists()


def test_the_command_says_what_it_costs_and_starts_nothing_unasked(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ROCM_HOME", str(tmp_path))
    assert main(["advise", "tiny-rocm-kl"]) == 2
    assert "13 runs of 40 updates at a KL of 40 nats, and 8 more" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
