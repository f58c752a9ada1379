"""Starting, stopping, resuming and reading runs, with a trainer that needs no model."""

import errno
import os
import sys
import time

import pytest

from rocm.config import RunConfig
from rocm.errors import MissingFile
from rocm.runs.run_dir import RunDir
from rocm.studio import Studio

FAKE_TRAINER = (sys.executable, "-m", "tests.fake_trainer")


@pytest.fixture
def service(tmp_path):
    """Studio whose trainers behave as told; all of them are ended afterwards."""
    made = []

    def make(manner="good"):
        made.append(Studio(tmp_path, [*FAKE_TRAINER, manner]))
        return made[-1]

    yield make
    for studio in made:
        end_all(studio)


def end_all(studio):
    """End worker and trainers of a home, and wait until they are gone."""
    for run_id in [report.run_id for report in studio.runs.waiting()]:
        studio.runs.queue.cancel(studio.runs.run(run_id))
    for run in studio.runs.queue._unsettled():
        for process in run.processes():
            process.kill()
    for child in studio.runs.queue._children:
        child.wait(timeout=30)


def wait_for(studio, run_id, *states, step=0, within_s=30):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        status = studio.runs.report(run_id).status
        if status.state in states and status.step >= step:
            return status
        time.sleep(0.05)
    raise AssertionError(
        f"{status} instead of {states}; log: {studio.runs.run(run_id).log_tail(30)}"
    )


def measured_steps(studio, run_id):
    return [row["step"] for row in studio.runs.run(run_id).metrics() if "reward" in row]


def test_a_run_is_started_detached_and_finishes(service):
    studio = service()
    run_id = studio.start_run(RunConfig(num_steps=4, eval_every=2), "tiny-rocm-kl")
    assert run_id.startswith("tiny-rocm-kl-20")
    pid = wait_for(studio, run_id, "running").pid
    assert os.getsid(pid) == pid
    assert wait_for(studio, run_id, "finished").step == 4
    assert studio.runs.run(run_id).config().num_steps == 4
    assert studio.runs.run(run_id).sample_steps() == [0, 2, 4]


@pytest.mark.slow
def test_stop_ends_after_the_update_and_resume_goes_on_without_a_double_step(service):
    studio = service()
    run_id = studio.start_run(RunConfig(num_steps=40, eval_every=10))
    wait_for(studio, run_id, "running", step=5)
    studio.runs.stop(run_id)
    stopped = wait_for(studio, run_id, "stopped")
    assert stopped.is_resumable
    studio.runs.resume(run_id)
    assert studio.runs.report(run_id).status.state in ("queued", "starting", "running")
    wait_for(studio, run_id, "finished")
    assert measured_steps(studio, run_id) == list(range(1, 41))


@pytest.mark.slow
def test_a_deaf_trainer_is_ended_by_force(service):
    studio = service("deaf")
    run_id = studio.start_run(RunConfig(num_steps=10_000))
    pid = wait_for(studio, run_id, "running", step=1).pid
    studio.runs.stop(run_id, grace_s=0.5)
    assert studio.runs.report(run_id).status.state == "stopping"
    status = wait_for(studio, run_id, "stopped")
    assert "was killed" in status.error
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("name", ["", "..", "../..", "/etc", "a/b", "none", "a" * 10_000, "a\0"])
def test_a_name_from_outside_cannot_leave_the_folder(tmp_path, name):
    studio = Studio(tmp_path)
    with pytest.raises(MissingFile, match="There is no run") as refused:
        studio.runs.report(name)
    assert str(tmp_path) not in str(refused.value)  # strangers read this where others come in
    with pytest.raises(MissingFile, match="There is no preset"):
        studio.presets.load(f"../presets/{name}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("state.json", '{"state": "running", "pid": "x"}'),
        ("launch.json", "{"),
        ("about.json", '{"title": 5}'),
        ("samples/step_000000/manifest.json", "[1]"),
    ],
)
def test_a_damaged_run_is_listed_with_its_fault_and_stops_no_queue(service, file, text):
    studio = service()
    bad = RunDir.create(studio.runs.folder / "bad", RunConfig())
    if file != "launch.json":
        bad.mark_ended("stopped")
    (bad.path / "samples" / "step_000000").mkdir()
    (bad.path / file).write_text(text)
    studio.runs.queue.reconcile()
    run_id = studio.start_run(RunConfig(num_steps=2))
    wait_for(studio, run_id, "finished")
    reports = {report.run_id: report for report in studio.runs.all()}
    assert "damaged" in reports["bad"].status.error


def test_a_full_disk_does_not_end_the_watch_over_the_queue(service, monkeypatch, capsys):
    studio = service()

    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(studio.runs.queue, "ensure_worker", full)
    studio.runs.queue.look_after()
    assert "No space left" in capsys.readouterr().err
