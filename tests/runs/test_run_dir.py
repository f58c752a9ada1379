"""The run directory's contract, on real files and real processes."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from rocm.config import RunConfig
from rocm.errors import RunError, TrainingError
from rocm.runs.feed import Follower, last_rows
from rocm.runs.repair import repair
from rocm.runs.run_dir import RunDir
from rocm.storage.files import replace_folder, write_atomic

HOLD_LOCK = """
    import sys, time
    from pathlib import Path
    from rocm.runs.run_dir import RunDir
    run = RunDir(Path(sys.argv[1]))
    lock = run.acquire_lock()
    run.write_state("running", step=7, num_steps=80)
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path):
    return RunDir.create(tmp_path / "run", RunConfig())


@pytest.fixture
def trainer(run):
    """Another process that holds the run's lock and says that it runs."""
    code = [sys.executable, "-c", textwrap.dedent(HOLD_LOCK), str(run.path)]
    with subprocess.Popen(code, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_a_run_a_folder_with_other_files_and_a_file_are_not_overwritten(run, tmp_path):
    path = tmp_path / "thesis.tex"
    path.write_text("mine")
    reasons = {run.path: "already holds a run", tmp_path: "holds other files", path: "is a file"}
    for place, words in reasons.items():
        with pytest.raises(RunError, match=words):
            RunDir.create(place, RunConfig(beta=0.5))
    assert path.read_text() == "mine"
    assert run.config() == RunConfig()


def test_a_run_in_use_is_refused_and_names_the_process(run, trainer):
    with pytest.raises(RunError, match=f"in use by process {trainer.pid}"):
        run.acquire_lock()


def test_a_killed_trainer_reads_as_interrupted_at_once_even_as_a_zombie(run, trainer):
    assert run.status().state == "running"
    os.kill(trainer.pid, signal.SIGKILL)
    os.waitid(os.P_PID, trainer.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
    status = run.status()
    assert (status.state, status.step) == ("interrupted", 7)
    with run.acquire_lock():
        assert run.status().state == "starting"


def test_another_process_with_the_same_id_is_not_the_trainer(run):
    run.write_state("running")
    record = json.loads((run.path / "state.json").read_text())
    for name in ("start_ticks", "create_time"):
        other = record | {"start_ticks": None} | {name: record[name] - 3600}
        write_atomic(run.path / "state.json", json.dumps(other))
        assert run.status().state == "interrupted"


@pytest.mark.parametrize("changed", [{}, {"start_ticks": 1}])
def test_a_clock_set_back_does_not_kill_a_trainer(run, trainer, changed):
    record = json.loads((run.path / "state.json").read_text())
    record |= {"create_time": record["create_time"] + 3600, **changed}
    write_atomic(run.path / "state.json", json.dumps(record))
    assert run.status().state == "running"
    trainer.kill()
    trainer.wait()
    assert run.status().state == "interrupted"


def test_a_trainer_that_dies_before_it_begins_fails_with_its_last_words(run):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    (run.path / "log.txt").write_text("...\nNo model at assets/none.\n")
    run.write_launch(process.pid)
    assert run.status().state == "failed"
    assert run.status().error == "No model at assets/none."


def test_state_keeps_the_step_and_forgets_the_error_of_an_earlier_attempt(run):
    run.write_state("failed", step=12, error="NaN in the loss.")
    assert run.status().error == "NaN in the loss."
    run.write_state("running")
    assert (run.status().step, run.status().error) == (12, "")


def test_a_request_is_taken_once_and_reads_as_stopping(run):
    assert not run.take_control("stop")
    run.write_state("running")
    run.request("stop")
    assert run.status().state == "stopping"
    assert run.take_control("stop")
    assert not run.take_control("stop")


def test_a_request_older_than_the_trainer_is_dropped_and_a_younger_one_kept(run):
    run.request_stop(grace_s=1.0)
    run.request("save_now")
    for path in (run.path / "control" / "stop", run.path / "stop.json"):
        os.utime(path, (1, 1))
    with run.acquire_lock():
        assert run.stop_asked() is None
        assert not run.take_control("stop")
        assert run.take_control("save_now")


def test_previews_appear_only_when_complete_and_cannot_point_outside_their_folder(run):
    folder = run.samples_dir(20)
    folder.mkdir()
    assert run.sample_steps() == []
    pictures = [{"file": "../../../secret", "prompt": "a", "seed": 0}]
    write_atomic(folder / "manifest.json", json.dumps(pictures))
    assert run.sample_steps() == [20]
    assert run.pictures(20)[0]["path"] == folder / "secret"


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("metrics.jsonl", '{"time": 1.5}'),
        ("metrics.jsonl", '{"step": "1", "time": 1.5}'),
        ("metrics.jsonl", '{"step": 1, "time": 1.5, "reward": "much"}'),
        ("events.jsonl", '{"kind": "sample"}'),
        ("events.jsonl", '{"time": 1.5, "kind": "warning", "step": 3, "warning": "hacking"}'),
    ],
)
def test_a_damaged_line_is_left_out_and_repaired(run, file, line):
    good = '{"step": 1, "time": 1.5, "kind": "started", "reward": 0.5}\n'
    if file == "metrics.jsonl":
        good = good.replace('"kind": "started", ', "")
    write_atomic(run.path / file, f"{good}{line}\n\0\0{good}{good}")
    rows = run.metrics() if file == "metrics.jsonl" else run.events()
    assert len(rows) == 2
    follower = Follower(run.path / file)
    assert (len(follower.rows()), follower.num_damaged) == (2, 2)
    assert [len(last_rows(run.path / file)), len(repair(run))] == [2, 1]
    assert (run.path / file).read_text() == f"{good}{good}"
    assert repair(run) == []


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        (["started"], "interrupted"),
        (["started", "failed", "resumed"], "interrupted"),
        (["started", "stopped"], "stopped"),
        (["started", "finished", "sample"], "finished"),
    ],
)
@pytest.mark.parametrize("left", [0, 20, 30])
def test_a_cut_state_is_rebuilt_from_events_and_checkpoints(run, kinds, state, left):
    for kind in kinds:
        run.append_event(kind)
    run.append_metrics({"step": 7})
    with replace_folder(run.checkpoint_dir(5)) as folder:
        (folder / "adapter.safetensors").write_bytes(b"")
    run.write_state("running", step=7, num_steps=80)
    os.truncate(run.path / "state.json", left)
    status = run.status()
    assert (status.state, status.step, status.num_steps) == (state, 7, run.config().num_steps)
    assert "runs repair" in status.error
    assert len(repair(run)) == 1
    assert (run.status().state, run.status().error == status.error) == (state, False)


def test_a_cut_state_of_a_living_trainer_is_no_end(run, trainer):
    os.truncate(run.path / "state.json", 10)
    assert run.status().state == "running"
    with pytest.raises(RunError, match="is training"):
        repair(run)


def test_a_folders_files_are_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    synced = []
    sync = os.fsync

    def note(descriptor):
        synced.append((os.fstat(descriptor).st_ino, (tmp_path / "made").exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with replace_folder(tmp_path / "made") as folder:
        (folder / "inner").mkdir()
        for name in ("a", "inner/b"):
            (folder / name).write_text(name)
    files = [(tmp_path / "made" / name).stat().st_ino for name in ("a", "inner/b")]
    assert sorted(synced) == sorted((file, False) for file in files)


def write_in_folder(path, content):
    with replace_folder(path) as folder:
        (folder / "weights").write_text(content)


@pytest.mark.parametrize("write", [write_atomic, write_in_folder])
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(tmp_path, monkeypatch, write):
    path = tmp_path / "adapter"
    write(path, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"Cannot write .*adapter: No space left on device"):
        write(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["adapter"]
    assert (path / "weights" if path.is_dir() else path).read_text() == "old"


def test_what_a_killed_process_of_the_same_id_left_does_not_fail_the_next_one(tmp_path):
    folder = tmp_path / "step_000002"
    for end in ("tmp", "old"):
        left = tmp_path / f".{folder.name}.{os.getpid()}.{end}"
        left.mkdir()
        (left / "half").write_text("")
    folder.mkdir()
    with replace_folder(folder) as made:
        (made / "whole").write_text("")
    assert [path.name for path in tmp_path.iterdir()] == ["step_000002"]
    assert [path.name for path in folder.iterdir()] == ["whole"]
