"""A run is trained by one process at a time, on whatever machine: real processes, other names."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from rocm.config import RunConfig
from rocm.errors import RunError
from rocm.runs import lease
from rocm.runs.engines.base import Job
from rocm.runs.lease import Lease, LeaseLost, newest_claim
from rocm.runs.repair import repair
from rocm.runs.run_dir import RunDir
from rocm.storage.files import write_atomic
from tests.generation.conftest import wait_until

BEAT_S = 0.1
# Without flock, as on a storage that has none: the claims alone must keep others off.
HOLD = """
    import sys, time
    from pathlib import Path
    from rocm.errors import RunError
    from rocm.runs import lease
    from rocm.runs.run_dir import RunDir

    class NoLock:
        def __init__(self, *_, **__): pass
        def acquire(self, timeout): pass
        def release(self): pass

    lease.FileLock = NoLock
    run = RunDir(Path(sys.argv[1]))
    try:
        with run.acquire_lock():
            run.write_state("running", step=7, num_steps=80)
            print("holds", flush=True)
            for number in range(int(sys.argv[2])):
                time.sleep(0.01)
                run.append_metrics({"step": number})
        print("released", flush=True)
    except RunError as error:
        print(type(error).__name__, flush=True)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_S", BEAT_S)
    monkeypatch.setattr(lease, "SILENT_S", 9 * BEAT_S)
    return RunDir.create(tmp_path / "run", RunConfig())


@pytest.fixture
def on(run):
    """Starts a process that holds the run on the machine of a name, for `num` rows."""
    started = []

    def start(name, num=6000):
        own = {"SLURMD_NODENAME": name, "ROCM_HEARTBEAT_S": f"{BEAT_S}"}
        command = [sys.executable, "-c", textwrap.dedent(HOLD), str(run.path), str(num)]
        process = subprocess.Popen(command, env=os.environ | own, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def said(process):
    return process.stdout.readline().strip()


def test_of_many_processes_on_many_machines_one_trains(run, on):
    processes = [on(f"node{number}", num=300) for number in range(6)]
    words = sorted(said(process) for process in processes)
    assert words == ["RunError"] * 5 + ["holds"]
    assert newest_claim(run.path).number == 1


def test_a_released_run_can_be_taken_at_once_on_another_machine(run, on):
    first = on("node1", num=1)
    assert [said(first), said(first)] == ["holds", "released"]
    began = time.monotonic()
    with run.acquire_lock():
        assert newest_claim(run.path).number == 2
    assert not newest_claim(run.path).is_held
    assert time.monotonic() - began < lease.SILENT_S


def test_a_killed_holder_of_another_machine_is_waited_for_and_then_replaced(run, on):
    holder = on("node1")
    assert said(holder) == "holds"
    assert run.status().state == "running"
    holder.kill()
    holder.wait()
    began = time.monotonic()
    with Lease(run.path):
        assert time.monotonic() - began >= lease.SILENT_S
        assert newest_claim(run.path).number == 2


@pytest.mark.parametrize("skew_s", [-3600, 3600])
def test_a_living_holder_whose_clock_is_wrong_keeps_its_run(run, on, skew_s, monkeypatch):
    assert said(on("node1")) == "holds"
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + skew_s)
    with pytest.raises(RunError, match=r"in use by process \d+ on node1"):
        Lease(run.path)


def test_a_suspended_holder_that_comes_back_writes_nothing_more(run, on):
    holder = on("node1")
    assert said(holder) == "holds"
    wait_until(lambda: len(run.metrics()) > 3)
    holder.send_signal(signal.SIGSTOP)
    with Lease(run.path):
        run.write_state("running", step=1)
        before = len(run.metrics())
        holder.send_signal(signal.SIGCONT)
        assert said(holder) == "LeaseLost"
        assert len(run.metrics()) == before
        assert run.status().step == 1
        assert newest_claim(run.path).is_held


def test_a_run_of_another_machine_is_lost_only_when_its_sign_of_life_is_old(run, on):
    holder = on("node1")
    assert said(holder) == "holds"
    assert (run.status().state, run.status().error) == ("running", "")
    with pytest.raises(RunError, match="is training"):
        repair(run)
    os.truncate(run.state_file, 10)  # written anew only after the last of its rows
    assert run.status().state == "running"
    run.write_state("running", step=7)
    record = json.loads(run.state_file.read_text()) | {"host": "node1"}
    write_atomic(run.state_file, json.dumps(record))
    holder.kill()
    wait_until(lambda: run.status().state == "lost")
    assert "No sign of life from node1" in run.status().error
    assert run.status().is_resumable


@pytest.mark.parametrize(
    ("word", "state"),
    [("", "running"), ("running", "running"), ("failed", "running"), ("silent", "lost")],
)
def test_without_a_sign_of_life_an_engine_decides(run, word, state):
    run.mark_waiting("slurm")
    run.write_state("running")
    Job("slurm", "7_0", word).write(run)
    assert run.status().state == state
    with run.acquire_lock():
        run.write_state("running")
        assert (run.status().state, run.status().error) == ("running", "")


def test_a_time_to_come_does_not_keep_a_dead_run_alive(run):
    run.mark_waiting("slurm")
    run.write_state("running")
    claim = run.path / "lease" / "000001.json"
    claim.parent.mkdir()
    claim.write_text(json.dumps({"host": "node1", "pid": 7, "time": time.time() + 86_400}))
    Job("slurm", "7_0", "silent").write(run)
    assert run.status().state == "lost"


@pytest.mark.parametrize("text", ["[1]", "5", "null", '{"time": null}', '{"time": NaN}'])
def test_a_damaged_claim_counts_as_held(run, text):
    claim = run.path / "lease" / "000001.json"
    claim.parent.mkdir()
    claim.write_text(text)
    assert newest_claim(run.path).is_fresh


def test_a_claim_that_is_just_being_written_counts_as_held(run):
    with Lease(run.path):
        path = run.path / "lease" / "000002.json"
        path.touch()
        assert newest_claim(run.path).is_fresh
        with pytest.raises(LeaseLost):
            run.append_event("checkpoint")
        path.unlink()
        run.append_event("checkpoint")
    assert [event["kind"] for event in run.events()] == ["checkpoint"]
