"""Starting, stopping, resuming and reading runs, with a trainer that needs no model."""

import errno
import os
import signal
import sys
import time

import psutil
import pytest

from rocm.config import RunConfig
from rocm.errors import MissingFile, RunError
from rocm.runs.reports import seconds_per_step
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


def test_runs_wait_for_one_another_and_each_gets_its_turn(service):
    studio = service()
    ids = [studio.start_run(RunConfig(num_steps=10), name) for name in ("one", "two", "three")]
    wait_for(studio, ids[0], "running")
    assert [report.run_id for report in studio.runs.waiting()] == ids[1:]
    studio.runs.queue.move(studio.runs.run(ids[2]), 0)
    assert [report.run_id for report in studio.runs.waiting()] == [ids[2], ids[1]]
    assert studio.runs.report(ids[2]).position == 0
    studio.runs.queue.cancel(studio.runs.run(ids[1]))
    assert [report.run_id for report in studio.runs.waiting()] == [ids[2]]
    wait_for(studio, ids[2], "running")
    assert studio.runs.report(ids[0]).status.state == "finished"
    studio.runs.resume(ids[1])
    wait_for(studio, ids[1], "finished")
    assert studio.runs.report(ids[2]).status.state == "finished"


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


def test_stop_of_a_dead_run_says_so_instead_of_waiting(service):
    studio = service()
    run_id = studio.start_run(RunConfig(num_steps=10_000))
    os.kill(wait_for(studio, run_id, "running", step=1).pid, signal.SIGKILL)
    assert wait_for(studio, run_id, "interrupted").is_resumable
    with pytest.raises(RunError, match="is interrupted: there is nothing to stop"):
        studio.runs.stop(run_id)


def test_a_trainer_that_dies_at_once_is_failed_with_its_last_line(service):
    studio = service("broken")
    run_id = studio.start_run(RunConfig())
    assert wait_for(studio, run_id, "failed").error == "There is no model at assets/none."
    studio.runs.resume(run_id)
    assert wait_for(studio, run_id, "failed").error == "There is no model at assets/none."


def test_a_run_survives_the_app_and_a_new_app_finds_it(service):
    first = service()
    run_id = first.start_run(RunConfig(num_steps=10_000))
    pid = wait_for(first, run_id, "running", step=1).pid
    second = service()
    second.runs.queue.reconcile()
    assert [report.run_id for report in second.runs.all()] == [run_id]
    assert second.runs.report(run_id).status.state == "running"
    os.kill(pid, signal.SIGKILL)
    wait_for(first, run_id, "interrupted")
    second.runs.queue.reconcile()
    assert '"interrupted"' in (second.runs.folder / run_id / "state.json").read_text()


def test_what_happened_in_words_and_numbers(service):
    studio = service()
    run_id = studio.start_run(RunConfig(num_steps=8, eval_every=4))
    wait_for(studio, run_id, "finished")
    pace = studio.runs.pace(run_id)
    assert [warning["step"] for warning in pace.warnings] == [4]
    assert (pace.images_per_s, pace.seconds_left) == (20, 0)


def test_the_pace_is_not_upset_by_a_pause():
    rows = [{"step": step, "time": 2.0 * step + (1000 if step > 5 else 0)} for step in range(1, 11)]
    assert seconds_per_step(rows) == 2.0
    assert seconds_per_step(rows[:1]) is None


def test_the_version_changes_with_the_run_and_only_then(service):
    studio = service()
    run_id = studio.start_run(RunConfig(num_steps=3))
    wait_for(studio, run_id, "finished")
    version = studio.runs.version(run_id)
    assert studio.runs.version(run_id) == version
    RunDir(studio.runs.folder / run_id).append_event("sample", step=3)
    assert studio.runs.version(run_id) != version


@pytest.mark.parametrize("run_id", ["", "..", "../..", "/etc", "a/b", "none", "a" * 10_000, "a\0"])
def test_a_run_id_from_outside_cannot_leave_the_runs_folder(tmp_path, run_id):
    with pytest.raises(MissingFile, match="There is no run") as refused:
        Studio(tmp_path).runs.report(run_id)
    assert str(tmp_path) not in str(refused.value)  # strangers read this where others come in


def test_a_preset_is_a_name_and_not_a_path(tmp_path):
    with pytest.raises(MissingFile, match="There is no preset"):
        Studio(tmp_path).presets.load("../presets/tiny-rocm-kl")


def test_no_zombie_is_left(service):
    studio = service()
    run_id = studio.start_run(RunConfig(num_steps=2))
    pid = wait_for(studio, run_id, "finished").pid
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        studio.runs.report(run_id)
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("state.json", "5"),
        ("state.json", '{"state": "running", "pid": "x"}'),
        ("launch.json", "{"),
        ("launch.json", "[1]"),
        ("about.json", "[1]"),
        ("about.json", '{"title": 5}'),
        ("metrics.jsonl", "5\n"),
        ("samples/step_000000/manifest.json", "{"),
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
    assert "is damaged" in reports["bad"].status.error


def test_a_run_deleted_while_it_is_listed_does_not_hide_the_others(service, monkeypatch):
    studio = service()
    gone = RunDir(studio.runs.folder / "gone")
    monkeypatch.setattr(studio.runs.queue, "all_runs", lambda: [gone])
    assert [report.run_id for report in studio.runs.all()] == ["gone"]


def test_a_full_disk_does_not_end_the_watch_over_the_queue(service, monkeypatch, capsys):
    studio = service()

    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(studio.runs.queue, "ensure_worker", full)
    studio.runs.queue.look_after()
    assert "No space left" in capsys.readouterr().err
