"""One run in several processes; threads stand for them where only their messages count."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from rocm.cli import train as cli_train
from rocm.cli.main import main
from rocm.distributed import ALONE, Parted, Ranks, joined, merged, parting
from rocm.errors import ConfigError
from rocm.evaluation.plan import PLAN
from rocm.generation.picture import png_bytes
from rocm.generation.sampler import Sampler
from rocm.models.lora import WEIGHTS
from rocm.rewards.base import Scale
from rocm.runs.run_dir import RunDir
from rocm.storage.files import read_json_lines
from rocm.storage.paths import ROOT
from rocm.training import loop
from rocm.training.checkpoint import Learner
from rocm.training.loop import follow, train
from rocm.training.setup import Setup, set_up
from rocm.training.update import update
from tests.generation.conftest import wait_until
from tests.training.choices import ALGORITHMS, D3PO, each_algorithm, timeless
from tests.training.threads import PATIENCE_S, by_both, pair, set_up_pair

# Adam alone would turn the sign of a gradient that is 0 but for rounding into a whole step.
PROPORTIONAL = {"adam_epsilon": 1.0, "learning_rate": 0.1}
ACCELERATE = {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "29500"}


@pytest.fixture
def in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads load models one after the other: loading changes what a whole process shares."""
    lock = Lock()

    def loaded(*arguments: Any) -> Setup:
        with lock:
            return set_up(*arguments)

    monkeypatch.setattr(loop, "set_up", loaded)


Parameters = list[torch.Tensor]


def trained(setup: Setup, num_updates: int = 2) -> tuple[list[dict], Parameters, Parameters]:
    """Rows of a few updates, the adapter after them, and the value where there is one."""
    mixture = setup.rewards.mixture({name: Scale(0.5, 0.1) for name in setup.rewards.weights})
    with parting(setup.ranks):
        rows = [update(setup, mixture, step) for step in range(1, num_updates + 1)]
    critic = setup.learner.critic
    value = [] if critic is None else list(critic.value.parameters())
    return rows, setup.learner.parameters, value


@pytest.mark.slow
@each_algorithm
def test_a_batch_split_over_two_processes_gives_the_update_of_one(small_config, settings):
    config = small_config(batch_size=4, **PROPORTIONAL, **settings)
    rows, expected, _ = trained(set_up(config))
    (shared, parameters, value), (_, *others) = by_both(trained, set_up_pair(config))
    for one, other in zip([*parameters, *value], [*others[0], *others[1]], strict=True):
        assert torch.equal(one, other)
    for one, alone in zip(parameters, expected, strict=True):
        torch.testing.assert_close(one, alone, rtol=1e-4, atol=2e-6)
    for row, alone in zip(shared, rows, strict=True):
        assert timeless(row) == pytest.approx(timeless(alone), rel=2e-3, abs=1e-5)


@dataclass(frozen=True)
class Crowded(Learner):
    """One whose memory is full after its first optimizer steps."""

    full: list[int] = field(default_factory=list)

    def descend(self, max_grad_norm: float) -> float:
        norm = super().descend(max_grad_norm)
        if self.full:
            self.full.pop()
            raise torch.OutOfMemoryError("CUDA out of memory")
        return norm


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, ALGORITHMS["dpok"]], ids=["rocm", "dpok"])
def test_a_memory_that_is_full_in_one_process_makes_all_of_them_step_down(small_config, settings):
    config = small_config(batch_size=4, **PROPORTIONAL, **settings)
    _, expected, _ = trained(set_up(config), 1)
    first, second = set_up_pair(config)
    learner = Crowded(**vars(second.learner), full=[1, 2, 3])
    setups = [first, replace(second, learner=learner)]
    (_, parameters, _), (_, others, _) = by_both(trained, setups, 1)
    economies = [setup.execution.economy for setup in setups]
    assert [(one.lean, one.checkpointing, one.parts) for one in economies] == [(True, True, 2)] * 2
    ways = ("lean", "checkpointing", "batches")
    assert list(economies[0].sentences) == [f"memory-{way}" for way in ways]
    for one, other, alone in zip(parameters, others, expected, strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, alone, rtol=1e-4, atol=2e-6)


def test_an_evaluation_split_over_two_processes_is_that_of_one(small_config):
    config = small_config(num_eval_prompts=5)
    alone = set_up(config).evaluate()
    for one in by_both(Setup.evaluate, set_up_pair(config)):
        torch.testing.assert_close(one.images, alone.images)
        torch.testing.assert_close(one.scores, alone.scores)
        assert one.statistics == pytest.approx(alone.statistics)


def followed(ranks: Ranks) -> None:
    with parting(ranks):
        follow(ranks)


@pytest.mark.usefixtures("in_turn")
def test_a_process_that_fails_ends_the_leading_one_with_its_words(new_run, monkeypatch):
    def failing(setup: Setup, mixture: Any, step: int) -> dict[str, Any]:
        if setup.ranks.rank == 1 and step == 2:
            raise ValueError("a fault of the second process")
        return update(setup, mixture, step)

    monkeypatch.setattr(loop, "update", failing)
    run, (leader, other) = new_run("run"), pair()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(followed, other)
        words = "Process 1 of 2 has failed: ValueError: a fault"
        with pytest.raises(Parted, match=words), parting(leader):
            list(train(run, ranks=leader))
        with pytest.raises(ValueError, match="a fault of the second process"):
            following.result(PATIENCE_S)
    assert run.status().state == "failed"
    assert "a fault of the second process" in run.status().error
    assert [row["step"] for row in run.metrics()] == [0, 1]


@pytest.mark.usefixtures("in_turn")
def test_a_stop_ends_both_processes_after_the_same_update(new_run):
    run, (leader, other) = new_run("run", num_steps=50), pair()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(followed, other)
        with parting(leader):
            for progress in train(run, ranks=leader):
                if progress.step == 2:
                    run.request("stop")
        following.result(PATIENCE_S)
    assert run.status().state == "stopped"
    assert run.metrics()[-1]["step"] == 2


def test_shares_are_disjoint_whole_and_even():
    shares = [Ranks(rank, 3).share(8) for rank in range(3)]
    assert [index for share in shares for index in share] == list(range(8))
    assert {len(share) for share in shares} == {2, 3}
    assert ALONE.share(8) == range(8)


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "local"),
    [(4, 1, (2, 1)), (1, 4, (1, 2)), (4, 3, (2, 3)), (4, 2, (4, 1))],
)
def test_no_batch_of_a_process_is_larger_than_before(small_config, batch_size, accumulation, local):
    config = small_config(batch_size=batch_size, gradient_accumulation=accumulation)
    own = Ranks(1, 2).local(config)
    assert (own.batch_size, own.gradient_accumulation) == local
    assert ALONE.local(config) is config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 3}, "2 processes cannot share an update of 3 pictures"),
        ({**D3PO, "batch_size": 2}, "Shared by 2 processes: batch_size=1 is odd"),
    ],
)
def test_an_update_that_cannot_be_shared_is_refused(small_config, settings, message):
    with pytest.raises(ConfigError, match=message):
        Ranks(0, 2).local(small_config(**settings))


@pytest.mark.parametrize("begin", ["config", "--resume"])
def test_a_run_that_cannot_be_shared_is_refused_before_anything_is_written(
    new_run, tmp_path, monkeypatch, capsys, begin
):
    monkeypatch.setattr(cli_train, "joined", lambda: nullcontext(Ranks(0, 2)))
    given, path = new_run("given", batch_size=3), tmp_path / "never"
    before = given.state_file.read_bytes()
    source = str(given.path / "config.yaml")
    new = ["train", source, "--run-dir", str(path)]
    assert main(new if begin == "config" else ["train", begin, str(given.path)]) == 2
    assert "2 processes cannot share an update of 3 pictures" in capsys.readouterr().err
    assert not path.exists()
    assert given.state_file.read_bytes() == before


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two', not a number"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "LOCAL_RANK is '', not a number"),
        (ACCELERATE, "accelerate was asked for several processes and has started this one"),
    ],
)
def test_what_a_launcher_has_left_out_is_named(environment, message):
    with pytest.raises(ConfigError, match=message), joined(environment):
        pass


def test_counts_add_up_and_times_do_not():
    rows = [
        {"reward": 1.0, "reward_queries": 2, "seconds": 3.0, "memory_mb": 5.0},
        {"reward": 2.0, "reward_queries": 2, "seconds": 4.0, "memory_mb": 4.0},
    ]
    assert merged(rows) == {"reward": 1.5, "reward_queries": 4, "seconds": 4.0, "memory_mb": 5.0}
    assert merged(rows[:1]) == rows[0]


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def trains(run: RunDir) -> list[str]:
    return ["train", "--resume", str(run.path)]


def launched(*commands: list[str]) -> list[subprocess.Popen[str]]:
    """Two processes of `python -m rocm`, as `accelerate launch` starts them for each command."""
    orders = [(free_port(), words) for words in commands]
    start = (
        f"import os, sys; from rocm.cli.main import main; given = dict(os.environ)\n"
        f"for port, words in {orders!r}:\n"
        "    os.environ.update(given, MASTER_PORT=port)\n"
        "    code = main(words)\n"
        "    code and sys.exit(code)"
    )
    return [
        subprocess.Popen(
            [sys.executable, "-c", start],
            env=os.environ
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
            | {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many as the processes have: sums are rounded in the same order."""
    num = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_two_processes_over_gloo_train_draw_and_evaluate_as_one(new_run, tmp_path, monkeypatch):
    monkeypatch.setenv("ROCM_HOME", str(tmp_path / "home"))
    settings = {"batch_size": 4, "num_steps": 2, **PROPORTIONAL}
    alone, shared = new_run("alone", **settings), new_run("shared", **settings)
    model, adapter = shared.config().model, str(shared.path / "adapter")
    short = ["--model", model, "--num-inference-steps", "1"]
    sample = ["sample", "a fox", "--num", "17", "--adapter", adapter, *short, "--out"]
    evaluate = ["evaluate", adapter, *short, "--num-prompts", "9", "--rewards", "saturation"]
    together = str(tmp_path / "together.png")
    processes = launched(trains(shared), [*sample, together], evaluate)
    list(train(alone))
    answers = [process.communicate(timeout=PATIENCE_S * 4) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert "Finished after 2 updates" in answers[0][0]
    assert answers[1][0] == ""
    assert shared.manifest()["num_processes"] == 2
    expected = load_file(alone.path / "adapter" / WEIGHTS)
    for name, value in load_file(shared.path / "adapter" / WEIGHTS).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=2e-6)
    for row, one in zip(shared.metrics()[1:], alone.metrics()[1:], strict=True):
        assert row["reward"] == pytest.approx(one["reward"], rel=1e-3, abs=1e-4)

    assert main([*sample, str(tmp_path / "single.png")]) == 0
    for seed in range(17):
        drawn = (tmp_path / f"single-{seed}.png").read_bytes()
        assert (tmp_path / f"together-{seed}.png").read_bytes() == drawn

    (record,) = (tmp_path / "home" / "comparisons").glob("*/comparison.json")
    plan, folder = PLAN.validate_python(json.loads(record.read_text())), record.parent
    assert len(plan.columns) * len(plan.prompts) == 18
    pictures = [plan.picture(index) for index in range(plan.num_pictures)]
    for one in Sampler("cpu").draw(pictures, plan.measures):
        file = folder / "pictures" / f"{one.index:05d}.png"
        assert file.read_bytes() == png_bytes(one.image, pictures[one.index])
        assert {"index": one.index, "scores": one.scores} in read_json_lines(
            folder / "results.jsonl"
        )


def rank_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("RANK")
    except psutil.Error:  # it has just ended
        return None


@pytest.mark.slow
def test_accelerate_launch_trains_and_a_killed_process_ends_the_other(new_run):
    run = new_run("run", num_steps=500)
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    alone = ["--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]
    plain = ["--mixed_precision", "no", "--dynamo_backend", "no", "-m", "rocm"]
    with subprocess.Popen(
        [*launcher, *alone, *plain, *trains(run)], stderr=subprocess.PIPE, text=True
    ) as started:
        wait_until(lambda: len(run.metrics()) > 2 or started.poll() is not None, PATIENCE_S * 4)
        for process in psutil.Process(started.pid).children(recursive=True):
            if rank_of(process) == "1":
                process.kill()
        _, said = started.communicate(timeout=PATIENCE_S)
    lost = "Another process of the run has died without a message"
    assert f"rocm: {lost}" in said
    assert str(ROOT / "rocm") not in said, "a traceback of ours"
    assert started.returncode == 1
    assert run.status().state == "failed"
    assert lost in run.status().error
    assert run.manifest()["num_processes"] == 2

    reached = run.metrics()[-1]["step"]
    run.extend(reached + 1)
    assert main(["train", "--resume", str(run.path)]) == 0
    assert [row["step"] for row in run.metrics()] == list(range(reached + 2))


@pytest.mark.slow
def test_two_machines_train_one_run_by_the_script_of_the_docs(new_run):
    run = new_run("run", batch_size=4, num_steps=2)
    own = {"PYTHON": sys.executable, "PORT": free_port(), "GLOO_SOCKET_IFNAME": "lo"}
    machines = [
        subprocess.Popen(
            ["scripts/machine.sh", rank, "2", "127.0.0.2", *trains(run)],
            **{"cwd": ROOT, "env": os.environ | own, "stdout": subprocess.PIPE, "text": True},
        )
        for rank in "01"
    ]
    said = [machine.communicate(timeout=PATIENCE_S * 4)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0]
    assert "Finished after 2 updates" in said[0]
    assert run.manifest()["num_processes"] == 2
