"""What becomes of runs by an engine's word: the engine's commands and its HTTP are stubbed."""

import json
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from rocm.cli.engines import bring_here
from rocm.cli.main import main
from rocm.config import RunConfig
from rocm.errors import ConfigError, RunError
from rocm.runs.engines import ray, slurm
from rocm.runs.engines.base import EngineError, job_of, read_settings
from rocm.runs.engines.dispatch import Dispatcher
from rocm.runs.library import Runs
from rocm.runs.queue import Queue
from rocm.runs.run_dir import RunDir
from rocm.storage.files import write_atomic
from rocm.ui.access import Access
from rocm.ui.train.page import Seen, changed


class FakeSlurm:
    """Answers in place of Slurm's commands; `states` are of its jobs, by handle."""

    def __init__(self):
        self.states, self.asked, self.reason, self.accounts = {}, [], "", None
        self._arrays = 0

    def run(self, command, **_):
        self.asked.append(command[0])
        answer = None if self.reason else getattr(self, command[0])(command)
        why = self.reason or "Slurm accounting storage is disabled"
        return subprocess.CompletedProcess(command, int(answer is None), answer, why)

    def sbatch(self, command):
        self._arrays += 1
        last = re.search(r"--array=0-(\d+)", Path(command[-1]).read_text())[1]
        self.states |= {f"{self._arrays}_{k}": "PENDING" for k in range(int(last) + 1)}
        return f"{self._arrays}\n"

    def squeue(self, command):
        return "".join(f"{job}|{state}\n" for job, state in self.states.items())

    def scontrol(self, command):
        return "Slurmctld(primary) is UP"

    def sacct(self, command):
        return self.accounts

    def scancel(self, command):
        self.states[command[-1]] = "CANCELLED"
        return ""


@pytest.fixture
def cluster(monkeypatch):
    fake = FakeSlurm()
    monkeypatch.setattr(slurm.shutil, "which", lambda name: name)
    monkeypatch.setattr(slurm.subprocess, "run", fake.run)
    return fake


@pytest.fixture
def clock():
    return SimpleNamespace(now=0.0)


@pytest.fixture
def dispatcher(tmp_path, clock):
    return Dispatcher(tmp_path, ["trainer"], lambda: clock.now)


def make_runs(home, number, engine="slurm"):
    return [
        RunDir.create(home / "runs" / f"run-{k:04d}", RunConfig(), place=engine)
        for k in range(number)
    ]


@pytest.fixture
def look(dispatcher, clock):
    """Asks Slurm about runs, ten seconds later."""

    def later(*runs):
        clock.now += 10
        dispatcher.look({"slurm": runs})

    return later


@pytest.fixture
def run(cluster, dispatcher, tmp_path):
    """A run that waits in Slurm's queue as job 1_0."""
    (run,) = make_runs(tmp_path, 1)
    dispatcher.submit([run], "slurm")
    return run


@pytest.fixture
def library(cluster, tmp_path):
    """The runs of a home without a worker."""
    runs = Runs(tmp_path)
    runs.queue.ensure_worker = lambda: None
    return runs


def test_a_thousand_runs_cost_one_query_in_ten_seconds(
    cluster, dispatcher, clock, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "fsync", lambda file: None)  # thousands of files
    runs = make_runs(tmp_path, 1000)
    dispatcher.submit(runs, "slurm")
    assert cluster.asked == ["sbatch"]
    for second in range(300):
        clock.now = float(second)
        dispatcher.look({"slurm": runs})
        for k in (second, second + 300):  # some end, and Slurm forgets others
            if second % 2:
                cluster.states[f"1_{k}"] = "COMPLETED"
                runs[k].mark_ended("finished")
            else:
                cluster.states.pop(f"1_{k}", None)
    queries = [command for command in cluster.asked if command != "sbatch"]
    assert len(queries) == 30
    assert set(queries) == {"squeue", "sacct"}


def test_the_pages_list_reads_no_run_again_that_has_not_changed(library, tmp_path, monkeypatch):
    library.queue.submit(make_runs(tmp_path, 50), "slurm")
    access = Access(may_train=True, is_local=True)
    shown, _ = changed(library, access, ("",), Seen())
    assert len(json.loads(shown["runs"])["rows"]) == 50
    read = []
    monkeypatch.setattr(Runs, "_fresh_report", lambda self, run, config: read.append(run))
    changed(library, access, ("",), Seen())
    assert read == []


@pytest.mark.parametrize(
    ("answer", "state"),
    [("PENDING", "submitted"), ("CANCELLED by 0", "interrupted"), ("NODE_FAIL", "submitted")],
)
def test_a_job_that_never_began(cluster, look, run, answer, state):
    cluster.states["1_0"] = answer
    look(run)
    assert run.status().state == state
    assert job_of(run).job == ("2_0" if answer == "NODE_FAIL" else "1_0")


@pytest.mark.parametrize(("began", "state"), [(False, "interrupted"), (True, "submitted")])
def test_a_job_that_slurm_forgot_was_canceled_unless_it_began(cluster, look, run, began, state):
    if began:  # Slurm makes the file of a job's output
        Path(job_of(run).script).with_name("1_0.out").touch()
    cluster.states.clear()
    for _ in range(2):
        look(run)
    assert run.status().state == state


def test_a_job_that_dies_again_and_again_is_given_up_with_the_end_of_its_log(cluster, look, run):
    (run.path / "log.txt").write_text("module: command not found\n")
    for _ in range(4):
        cluster.states = dict.fromkeys(cluster.states, "FAILED")
        look(run)
    assert cluster.asked.count("sbatch") == 3
    assert run.status().state == "interrupted"
    assert "module: command not found" in run.status().error


def test_a_sign_of_life_outranks_the_engine(cluster, look, run, monkeypatch):
    with run.acquire_lock():
        run.write_state("running")
        cluster.states["1_0"] = "FAILED"
        look(run)
        assert run.status().state == "running"
    monkeypatch.setattr("rocm.runs.engines.dispatch.SILENT_S", 0.0)
    look(run)
    assert (run.status().state, job_of(run).job) == ("submitted", "2_0")


def test_a_requeued_job_waits_again(cluster, look, run, monkeypatch):
    monkeypatch.setattr("rocm.runs.engines.dispatch.SILENT_S", 0.0)
    with run.acquire_lock():
        run.write_state("running", step=5)
    look(run)
    assert (run.status().state, run.status().step) == ("submitted", 5)
    assert cluster.asked.count("sbatch") == 1


def test_a_silent_engine_loses_only_runs_without_a_sign_of_life(
    cluster, dispatcher, look, tmp_path
):
    waiting, training, silent = runs = make_runs(tmp_path, 3)
    dispatcher.submit(runs, "slurm")
    silent.write_state("running")
    with training.acquire_lock():
        training.write_state("running")
        cluster.reason = "slurm_load_jobs error: Unable to contact slurm controller"
        for _ in range(12):
            look(*runs)
        states = [run.status().state for run in runs]
        assert states == ["submitted", "running", "lost"]
        assert "does not answer" in silent.status().error
        assert "Unable to contact" in waiting.status().error
        cluster.reason = ""
        cluster.states |= {"1_1": "RUNNING", "1_2": "RUNNING"}
        look(*runs)
        assert silent.status().state == "running"
        assert (waiting.status().state, waiting.status().error) == ("submitted", "")


def test_a_run_whose_engine_is_away_is_canceled_and_stays_so_until_it_is_trained_here(
    cluster, library, run
):
    cluster.reason = "Unable to contact slurm controller"
    with pytest.raises(EngineError, match=r"is canceled, but its job .* Unable to contact"):
        library.stop(run.path.name)
    with pytest.raises(EngineError, match=f"Unable to contact .* --resume {run.path}"):
        library.resume(run.path.name)
    assert (run.status().state, run.status().error) == ("cancelled", "")
    bring_here(run)
    assert (run.status().state, run.engine) == ("starting", "")


def test_what_is_wrong_with_an_engine_is_printed_once(cluster, look, run, capsys):
    for cluster.reason in ("broken", "broken", "", "broken"):
        look(run)
    assert capsys.readouterr().err.count("broken") == 2


def test_a_foreign_engine_and_a_damaged_job_hold_up_no_other_run(
    cluster, dispatcher, clock, tmp_path
):
    runs = make_runs(tmp_path, 3)
    foreign = RunDir.create(tmp_path / "runs" / "foreign", RunConfig(), place="kubernetes")
    dispatcher.submit(runs, "slurm")
    write_atomic(runs[0].path / "engine.json", '{"engine": "slurm", "job": 7}')
    own = json.loads((runs[1].path / "engine.json").read_text())
    write_atomic(runs[1].path / "engine.json", json.dumps(own | {"note": "typed by hand"}))
    cluster.states |= dict.fromkeys(cluster.states, "CANCELLED")
    clock.now += 10
    dispatcher.look({"kubernetes": [foreign], "slurm": runs})
    assert [run.written_state() for run in runs] == ["submitted", "interrupted", "interrupted"]


def test_a_refusal_is_the_runs_error_and_is_raised(cluster, dispatcher, tmp_path):
    (run,) = make_runs(tmp_path, 1)
    cluster.reason = "sbatch: error: invalid partition specified: gpus"
    with pytest.raises(EngineError, match="invalid partition"):
        dispatcher.submit([run], "slurm")
    assert (run.status().state, run.status().is_resumable) == ("failed", True)
    assert "invalid partition" in run.status().error


def test_a_run_that_is_stopped_too_slowly_loses_its_job(cluster, look, run):
    run.write_state("running")
    run.request_stop(grace_s=0.0)
    cluster.states["1_0"] = "RUNNING"
    look(run)
    assert cluster.states["1_0"] == "CANCELLED"
    look(run)
    assert run.status().state == "stopped"


def test_runs_of_an_engine_do_not_hold_up_the_queue_of_this_machine(run, tmp_path):
    queue = Queue(tmp_path, ["true"])
    run.write_state("running")
    here = RunDir.create(tmp_path / "runs" / "here", RunConfig(), place=1.0)
    assert queue._start_next()
    assert here.written_state() == "starting"
    assert queue.afar() == {"slurm": [run]}


def test_a_run_at_an_engine_is_neither_deleted_nor_trained_here(
    cluster, library, run, capsys, monkeypatch
):
    with pytest.raises(RunError, match="cannot be deleted"):
        library.delete(run.path.name)
    monkeypatch.setenv("ROCM_HOME", str(library.queue.home))
    assert main(["train", "--resume", str(run.path)]) == 2
    assert "submitted at Slurm" in capsys.readouterr().err
    assert main(["queue"]) == 0
    assert run.path.name in capsys.readouterr().out
    library.stop(run.path.name)
    assert (run.status().state, cluster.states["1_0"]) == ("cancelled", "CANCELLED")
    library.resume(run.path.name)
    assert (run.status().state, job_of(run).job) == ("submitted", "2_0")


def test_settings_stand_in_the_script_and_no_run_has_them(cluster, dispatcher, tmp_path):
    settings = "slurm: {partition: gpu, gres: 'gpu:1', time: '04:00:00', memory: 16G, at_once: 3,"
    settings += " lines: ['#SBATCH --nice=9'], setup: ['module load cuda']}"
    write_atomic(tmp_path / "engines.yaml", settings)
    runs = make_runs(tmp_path, 5)
    dispatcher.submit(runs, "slurm")
    script = Path(job_of(runs[0]).script).read_text()
    for line in (
        *("partition=gpu", "gres=gpu:1", "time=04:00:00", "mem=16G", "array=0-4%3", "nice=9"),
        "requeue",
    ):
        assert f"#SBATCH --{line}\n" in script
    assert script.index("module load cuda") < script.index('trainer "$run"')
    assert "gpu" not in runs[0].config().to_yaml()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("slurm: {partitoin: gpu}", "slurm.partitoin"),
        ("slurm: {partition: 'gpu; rm -rf /'}", "slurm.partition"),
        ("ray: {gpus: -1}", "ray.gpus"),
        ("ray: 5", "ray"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, text, named):
    write_atomic(tmp_path / "engines.yaml", text)
    with pytest.raises(ConfigError, match=rf"{named}="):
        read_settings(tmp_path)


def test_ray_gets_no_more_jobs_than_train_at_once(tmp_path, monkeypatch, dispatcher, clock):
    jobs = {}

    def answer(place, path, body=None, seconds=0.0):
        if body and path.endswith("/api/jobs/"):
            jobs[body["submission_id"]] = "PENDING"
            return {"submission_id": body["submission_id"]}
        return [{"submission_id": job, "status": state} for job, state in jobs.items()]

    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")
    monkeypatch.setattr(ray, "_answer", answer)
    write_atomic(tmp_path / "engines.yaml", "ray: {at_once: 2}")
    runs = make_runs(tmp_path, 5, "ray")
    dispatcher.submit(runs, "ray")
    assert len(jobs) == 2
    for done in range(1, 5):
        runs[done - 1].mark_ended("finished")
        jobs[job_of(runs[done - 1]).job] = "SUCCEEDED"
        clock.now += 10
        dispatcher.look({"ray": [run for run in runs if run.written_state() != "finished"]})
        assert len(jobs) == min(5, done + 2)
    assert len({job_of(run).job for run in runs}) == 5


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("", EngineError, "RAY_ADDRESS is not set"),
        ("http://127.0.0.1:9", EngineError, "does not answer at"),
        ("ray://head:10001", ConfigError, "http://HEAD:8265"),
    ],
)
def test_a_ray_that_cannot_be_used_is_one_sentence(tmp_path, monkeypatch, address, error, words):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(error, match=words):
        Dispatcher(tmp_path, ["trainer"]).check("ray")


def test_without_slurm_it_is_said_where_to_go(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    with pytest.raises(EngineError, match="login node"):
        Dispatcher(tmp_path, ["trainer"]).check("slurm")
