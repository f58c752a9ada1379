"""The queue goes on whatever is killed: real processes, with a trainer that needs no model."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
from itertools import pairwise

import psutil
import pytest

from rocm.cli.main import main
from rocm.config import RunConfig
from rocm.errors import RunError
from rocm.storage.paths import ROOT
from rocm.studio import Studio
from tests.generation.conftest import wait_until
from tests.test_studio import FAKE_TRAINER, end_all, measured_steps, wait_for

APP = """
    import sys, time
    from pathlib import Path
    from rocm.config import RunConfig
    from rocm.studio import Studio
    studio = Studio(Path(sys.argv[1]), sys.argv[2:])
    studio.runs.queue.watch()
    for _ in range(2):
        print(studio.start_run(RunConfig(num_steps=8)), flush=True)
    time.sleep(60)
"""


@pytest.fixture
def studio(tmp_path):
    made = Studio(tmp_path, [*FAKE_TRAINER, "good"])
    yield made
    end_all(made)
    for process in workers(tmp_path):
        process.kill()
        process.wait(10)


@pytest.fixture
def app(studio):
    """Starts an app's process that queues two runs; gives the process and their ids."""
    apps = []

    def start():
        command = [sys.executable, "-c", textwrap.dedent(APP), str(studio.home)]
        command += [*FAKE_TRAINER, "good"]
        apps.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        return apps[-1], [apps[-1].stdout.readline().strip() for _ in range(2)]

    yield start
    for process in apps:
        process.kill()
        process.communicate()


def workers(home):
    """The processes that work on the queue of a home."""
    words = ["-m", "rocm.runs.queue", str(home.resolve())]
    processes = psutil.process_iter(["cmdline"])
    return [one for one in processes if (one.info["cmdline"] or [])[1:4] == words]


def waiting(studio):
    return [report.run_id for report in studio.runs.waiting()]


def span(studio, run_id):
    """When the first and the last row of a run were written."""
    rows = studio.runs.run(run_id).metrics()
    return rows[0]["time"], rows[-1]["time"]


def overlap(spans):
    ordered = sorted(spans)
    return any(before[1] > after[0] for before, after in pairwise(ordered))


@pytest.mark.slow
def test_a_killed_trainer_is_interrupted_and_the_next_run_starts(studio):
    first, second = (studio.start_run(RunConfig(num_steps=60)) for _ in range(2))
    os.kill(wait_for(studio, first, "running", step=3).pid, signal.SIGKILL)
    wait_for(studio, second, "running")
    assert '"interrupted"' in (studio.runs.folder / first / "state.json").read_text()
    studio.runs.resume(first)
    assert waiting(studio) == [first]
    wait_for(studio, second, "finished")
    wait_for(studio, first, "finished")
    assert measured_steps(studio, first) == list(range(1, 61))


@pytest.mark.slow
def test_without_the_worker_the_trainer_goes_on_and_any_reader_mends_the_queue(studio):
    first, second = (studio.start_run(RunConfig(num_steps=60)) for _ in range(2))
    pid = wait_for(studio, first, "running", step=1).pid
    (worker,) = workers(studio.home)
    worker.kill()
    worker.wait(10)
    assert waiting(studio) == [second]
    Studio(studio.home, [*FAKE_TRAINER, "good"]).runs.queue.reconcile()
    assert wait_for(studio, first, "running", step=10).pid == pid
    wait_for(studio, second, "finished")
    assert not overlap([span(studio, run_id) for run_id in (first, second)])


@pytest.mark.slow
def test_a_trainer_that_ends_starts_the_killed_worker_again(tmp_path, small_config):
    config = small_config(num_inference_steps=4, batch_size=4)
    studio = Studio(tmp_path / "home")  # real trainers, and nobody who watches the queue
    first, second = (studio.start_run(config) for _ in range(2))
    wait_for(studio, first, "running")
    (worker,) = workers(studio.home)
    worker.kill()
    worker.wait(10)
    wait_for(studio, first, "finished", within_s=120)
    wait_for(studio, second, "finished", within_s=120)
    assert not overlap([span(studio, run_id) for run_id in (first, second)])
    wait_until(lambda: not workers(studio.home))


@pytest.mark.slow
def test_two_apps_share_a_queue_that_outlives_them_and_trains_one_run_at_a_time(studio, app):
    (first_app, some), (second_app, others) = app(), app()
    wait_for(studio, some[0], "running", "finished")
    for process in (first_app, second_app):
        process.kill()
        process.wait()
    ids = [*some, *others]
    for run_id in ids:
        wait_for(studio, run_id, "finished")
    assert not overlap([span(studio, run_id) for run_id in ids])
    assert waiting(studio) == []


def test_a_failed_run_does_not_hold_up_the_next(studio):
    studio.runs.queue._command = (*FAKE_TRAINER, "nan")
    first, second = (studio.start_run(RunConfig(num_steps=9)) for _ in range(2))
    assert "not finite" in wait_for(studio, first, "failed").error
    assert "not finite" in wait_for(studio, second, "failed").error


def test_a_worker_that_cannot_write_waits_and_loses_no_run(studio):
    ensure, studio.runs.queue.ensure_worker = studio.runs.queue.ensure_worker, lambda: None
    run_id = studio.start_run(RunConfig(num_steps=2))

    def no_file_over_10_bytes():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

    command = [sys.executable, "-m", "rocm.runs.queue", str(studio.home), *FAKE_TRAINER, "good"]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=no_file_over_10_bytes
    ) as worker:
        assert "Cannot write" in worker.stderr.readline()
        assert waiting(studio) == [run_id]
        worker.kill()
    ensure()
    wait_for(studio, run_id, "finished")


def test_an_order_of_waiting_runs_can_be_changed_at_will(tmp_path):
    studio = Studio(tmp_path)
    studio.runs.queue.ensure_worker = lambda: None  # they shall go on waiting
    ids = [studio.start_run(RunConfig(), name) for name in "abcd"]
    assert waiting(studio) == ids
    studio.runs.queue.move(studio.runs.run(ids[3]), 1)
    assert waiting(studio) == [ids[0], ids[3], ids[1], ids[2]]
    studio.runs.queue.move(studio.runs.run(ids[0]), 99)
    assert waiting(studio) == [ids[3], ids[1], ids[2], ids[0]]
    studio.runs.queue.cancel(studio.runs.run(ids[1]))
    late = studio.start_run(RunConfig(), "late")
    assert waiting(studio) == [ids[3], ids[2], ids[0], late]
    assert [studio.runs.report(one).position for one in (*ids, late)] == [2, None, 1, 0, 3]
    with pytest.raises(RunError, match="does not wait: it is cancelled"):
        studio.runs.queue.move(studio.runs.run(ids[1]), 0)
    with pytest.raises(RunError, match="is cancelled: there is nothing to cancel"):
        studio.runs.queue.cancel(studio.runs.run(ids[1]))
    studio.runs.stop(late)
    assert studio.runs.report(late).status.state == "cancelled"


def test_the_command_line_lists_moves_and_cancels(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ROCM_HOME", str(tmp_path))
    studio = Studio(tmp_path)
    studio.runs.queue.ensure_worker = lambda: None
    ids = [studio.start_run(RunConfig(), name) for name in "ab"]
    assert main(["queue", "move", ids[1], "0"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == [ids[1], ids[0]]
    assert main(["queue", "cancel", ids[0]]) == 0
    assert waiting(studio) == [ids[1]]
    assert main(["queue", "cancel", ids[0]]) == 2
    assert "nothing to cancel" in capsys.readouterr().err
