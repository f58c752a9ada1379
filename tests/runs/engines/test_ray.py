"""A real Ray cluster of two nodes: whatever is killed, every run ends once, bit for bit."""

import psutil
import pytest

from rocm.experiments.sweep import Sweeps
from rocm.runs.engines.base import job_of
from rocm.runs.lease import newest_claim
from rocm.runs.queue import Queue
from tests.generation.conftest import wait_until
from tests.runs.engines.ends import GRID, SHORT, WITHIN_S, assert_ended_once, wait_for
from tests.runs.test_queue import workers

pytestmark = pytest.mark.slow


@pytest.fixture
def home(ray_cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("ROCM_HEARTBEAT_S", "1")
    monkeypatch.setattr("rocm.runs.lease.SILENT_S", 9)
    home = tmp_path / "home"
    home.mkdir()
    text = "ray: {cpus: 1, at_once: 2, setup: [export ROCM_HEARTBEAT_S=1]}"
    (home / "engines.yaml").write_text(text)
    yield home
    for worker in workers(home):
        worker.kill()


def trainers(run):
    """Processes that train a run, on whatever node."""
    words = ["rocm.cli.trainer", str(run.path)]
    found = psutil.process_iter(["cmdline"])
    return [one for one in found if (one.info["cmdline"] or [])[2:4] == words]


def test_a_sweep_survives_a_dead_trainer_a_dead_node_and_a_dead_worker(
    ray_cluster, home, small_config, tmp_path
):
    sweeps = Sweeps(home, Queue(home), "ray")
    sweep_id = sweeps.start("tiny", small_config(**SHORT), GRID, 2)
    runs = sweeps.runs(sweep_id)
    assert sum(bool(job_of(run).job) for run in runs) == 2, "no more at once"
    first, second = runs[:2]
    wait_until(lambda: first.status().step > 1, WITHIN_S)
    (trainer,) = trainers(first)
    trainer.kill()
    wait_until(lambda: second.status().step > 1, WITHIN_S)
    ray_cluster.kill_node()
    for one in trainers(second):  # on a real cluster it would have died with its node
        one.kill()
    for worker in workers(home):
        worker.kill()
    ray_cluster.start_node()
    again = Queue(home)
    for run in runs:
        wait_for(again, run, "finished")
        assert_ended_once(run, tmp_path)
    assert min(newest_claim(run.path).number for run in (first, second)) > 1
    assert min(job_of(run).attempt for run in (first, second)) > 0
