"""A real slurmctld with two real nodes: whatever is killed, every run ends once, bit for bit."""

import pytest

from rocm.experiments.sweep import Sweeps
from rocm.runs.engines.base import job_of
from rocm.runs.lease import newest_claim
from rocm.runs.queue import Queue
from rocm.runs.run_dir import RunDir
from tests.generation.conftest import wait_until
from tests.runs.engines.ends import GRID, SHORT, WITHIN_S, assert_ended_once, kinds, wait_for
from tests.runs.test_queue import workers

pytestmark = pytest.mark.slow


@pytest.fixture
def home(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("ROCM_HEARTBEAT_S", "1")
    monkeypatch.setattr("rocm.runs.lease.SILENT_S", 9)
    yield tmp_path / "home"
    for worker in workers(tmp_path / "home"):
        worker.kill()
    slurm.ask("scancel", "--user=root", "--state=PENDING")
    slurm.ask("scancel", "--user=root")


def configure(home, **settings):
    home.mkdir(exist_ok=True)
    lines = [f"  {name}: {value}" for name, value in settings.items()]
    (home / "engines.yaml").write_text("\n".join(["slurm:", *lines]))


def test_a_sweep_survives_scancel_a_dead_node_and_a_dead_worker(
    slurm, home, small_config, tmp_path
):
    configure(home, cpus=1, at_once=2)
    config = small_config(**SHORT)
    sweeps = Sweeps(home, Queue(home), "slurm")
    sweep_id = sweeps.start("tiny", config, GRID, 2)
    runs = sweeps.runs(sweep_id)
    handles = [job_of(run).job for run in runs]
    assert len({handle.partition("_")[0] for handle in handles}) == 1, "one array"
    first, second = runs[:2]
    wait_for(sweeps.queue, first, "running")
    slurm.ask("scancel", handles[0])
    wait_for(sweeps.queue, second, "running")
    node = newest_claim(second.path).host
    slurm.kill_node(node)
    for worker in workers(home):
        worker.kill()
    again = Sweeps(home, Queue(home), "slurm")
    wait_for(again.queue, first, "interrupted")
    assert "canceled" in first.status().error
    slurm.start_node(node)
    assert again.start("tiny", config, GRID, 2) == sweep_id
    for run in runs:
        wait_for(again.queue, run, "finished")
        assert_ended_once(run, tmp_path)
    assert newest_claim(second.path).number > 1


def test_a_time_limit_cuts_a_run_in_two(slurm, home, small_config, tmp_path):
    configure(home, cpus=1, time="'1'", signal_s=1)
    queue = Queue(home)
    config = small_config(num_steps=9000, eval_every=9000, checkpoint_every=9000)
    run = RunDir.create(home / "runs" / "long", config, place="slurm")
    queue.submit([run], "slurm")
    wait_until(lambda: run.status().step > 0 or "submitted" in kinds(run), WITHIN_S)
    # The limit, at least a minute, moves nearer; Slurm looks at limits every 30 s.
    slurm.ask("scontrol", "update", f"jobid={job_of(run).job}", "endtime=now+32")
    wait_until(lambda: "submitted" in kinds(run), WITHIN_S)
    reached = run.status().step
    assert run.checkpoint_dir(reached).is_dir()
    run.extend(reached + 1)
    wait_for(queue, run, "finished")
    assert "resumed" in kinds(run)
    assert_ended_once(run, tmp_path)
