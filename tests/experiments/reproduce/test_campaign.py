"""The whole comparison in short, and its runs at an engine that starts a process for each."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from rocm.cli.main import main
from rocm.config import RunConfig
from rocm.errors import RunError
from rocm.experiments.reproduce import charts, plan, report, results
from rocm.experiments.reproduce.campaign import Afar
from rocm.experiments.reproduce.plan import METHODS, Job
from rocm.experiments.reproduce.runner import is_spent, write_budget
from rocm.runs.engines import base, dispatch
from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT

FEW = ("rocm-kl", "beta0", "rlcm", "dpok")


def data(folder):
    page = (folder / "report.html").read_text()
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


@pytest.fixture
def few_methods(monkeypatch):
    """One method of each kind, and a value network; all of them train in tests/golden."""
    few = tuple(method for method in plan.METHODS if method.key in FEW)
    for module in (charts, plan, report, results):
        monkeypatch.setattr(module, "METHODS", few)
    monkeypatch.setattr(plan, "BETAS", plan.BETAS[:2])


@pytest.mark.slow
@pytest.mark.usefixtures("few_methods")
def test_the_quick_comparison_runs_whole_and_goes_on_where_it_was(tmp_path, capsys):
    command = ["reproduce", "tiny", "--quick", "--out", str(tmp_path)]
    assert main(command) == 0
    assert "not evidence" in (tmp_path / "report.html").read_text()
    first = data(tmp_path)
    num_lines = len(capsys.readouterr().out.splitlines())
    gone = next(path for path in tmp_path.iterdir() if path.name.startswith("run-"))
    shutil.rmtree(gone)
    assert main(command) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 < num_lines
    again = data(tmp_path)
    for key in ("claims", "learning_rates", "betas", "budget"):
        assert again[key] == first[key]


class Here:
    """An engine whose jobs are processes of this machine."""

    name = "slurm"

    def __init__(self):
        self.processes, self.submitted = {}, []

    def reach(self):
        return ""

    def submit(self, runs, num_active):
        jobs = []
        for run in runs:
            self.submitted.append(run.path.name)
            command = [sys.executable, "-m", "rocm.cli.trainer", str(run.path)]
            self.processes[run.path.name] = subprocess.Popen(command, cwd=ROOT)
            jobs.append(base.Job(self.name, run.path.name, "running"))
        return jobs

    def words(self, jobs):
        codes = {job: self.processes[job].poll() for job in jobs}
        return {job: "running" if code is None else "done" for job, code in codes.items()}

    def cancel(self, job):
        self.processes[job].kill()

    def log(self, job):
        return ""


@pytest.mark.slow
def test_runs_spend_their_budget_at_an_engine_and_are_not_trained_again(
    small_config, tmp_path, monkeypatch
):
    engine, said = Here(), []
    monkeypatch.setattr(dispatch, "make_engine", lambda *_: engine)
    config = small_config(num_steps=1000, eval_every=1000)
    seeds = [RunConfig.load(config.model_dump(), seed=seed) for seed in (0, 1)]
    jobs = [Job(METHODS[0], one, "tuning") for one in seeds]
    budget = {"updates": 2}
    path = tmp_path / "runs" / jobs[0].name  # at work since an earlier call that was killed
    going = RunDir.create(path, seeds[0], place="slurm")
    write_budget(going, budget)
    engine.submit([going], 0)[0].write(going)
    Afar(tmp_path, "slurm").train(jobs, budget, tmp_path / "runs", said.append)
    first = list(said)
    Afar(tmp_path, "slurm").train(jobs, budget, tmp_path / "runs", said.append)
    for job in jobs:
        run = RunDir(tmp_path / "runs" / job.name)
        assert is_spent(run.metrics(), budget)
        assert [row["step"] for row in run.metrics()] == [0, 1, 2]
    assert engine.submitted == [job.name for job in jobs]
    assert "1 of 2 runs" in first[0]
    assert said == first, "nothing was left to do"


def test_a_run_that_did_not_spend_its_budget_ends_the_comparison(tmp_path, monkeypatch):
    engine = Here()
    monkeypatch.setattr(dispatch, "make_engine", lambda *_: engine)

    def refuse(runs, num_active):
        for run in runs:
            run.mark_ended("failed", "No GPU is free.")
        return []

    engine.submit = refuse
    jobs = [Job(METHODS[0], RunConfig(), "tuning")]
    with pytest.raises(RunError, match=r"is failed. No GPU is free."):
        Afar(tmp_path, "slurm").train(jobs, {"updates": 1}, tmp_path, print)
