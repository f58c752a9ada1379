"""How runs of engines end, shared by the tests of all engines."""

import torch
from safetensors.torch import load_file

from rocm.runs.run_dir import RunDir
from rocm.training.loop import train
from tests.generation.conftest import wait_until

GRID = {"beta": ["0", "0.1", "1"]}
SHORT = {"num_steps": 40, "eval_every": 40, "checkpoint_every": 8}
WITHIN_S = 600
ADAPTER = "adapter/pytorch_lora_weights.safetensors"


def wait_for(queue, run, *states):
    """Until the run is in one of the states; the queue is looked after as by an app."""

    def is_there():
        queue.reconcile()
        return run.status().state in states

    wait_until(is_there, WITHIN_S)


def kinds(run):
    return [event["kind"] for event in run.events()]


def assert_ended_once(run, tmp_path):
    """Finished, no update twice, and bit for bit the adapter of a run without interruption."""
    config = run.config()
    assert run.status().state == "finished"
    assert [row["step"] for row in run.metrics()] == list(range(config.num_steps + 1))
    assert kinds(run).count("finished") == 1
    straight = RunDir.create(tmp_path / "straight" / run.path.name, config)
    list(train(straight))
    found, expected = (load_file(one.path / ADAPTER) for one in (run, straight))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
