import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from rocm.algorithms.trajectory import rollout
from rocm.cli.main import main
from rocm.errors import RunError, TrainingError
from rocm.models.lora import WEIGHTS
from rocm.rewards import load
from rocm.rewards.base import limit_pixels
from rocm.runs.run_dir import RunDir
from rocm.training import batch as batches
from rocm.training.batch import draw_batch, make_problem
from rocm.training.estimate import FORWARD_SHARE, passes
from rocm.training.loop import train
from rocm.training.setup import set_up
from rocm.training.update import batch_objective, update
from tests.generation.conftest import wait_until
from tests.training.choices import (
    ALGORITHMS,
    D3PO,
    DPOK,
    HYBRID,
    REBEL,
    RLCM,
    adapter,
    assert_same,
    each_algorithm,
    measured,
    train_in_two,
)

MakeRun = Callable[..., RunDir]


def finish(run: RunDir, resume: bool = False) -> list[dict]:
    return [progress.row for progress in train(run, resume)]


def test_a_run_raises_its_reward_and_leaves_the_whole_contract(new_run):
    run = new_run("run", num_steps=10, eval_every=5)
    finish(run)
    rows = run.metrics()
    assert [row["step"] for row in rows] == list(range(11))
    assert rows[10]["eval/reward"] > rows[0]["eval/reward"] + 0.5
    assert rows[0]["eval/reward"] == pytest.approx(0, abs=1e-5)
    assert rows[1]["divergence"] == pytest.approx(0, abs=1e-6)
    assert rows[10]["divergence"] > 1e-4
    parts = rows[10]["divergence/step_0"] + rows[10]["divergence/step_1"]
    assert rows[10]["divergence"] == pytest.approx(parts)
    assert run.status().state == "finished"
    assert run.sample_steps() == [0, 5, 10]
    assert [folder.name for folder in run.checkpoints()][-1] == "step_000010"
    kinds = [event["kind"] for event in run.events()]
    assert (kinds[0], kinds[-1]) == ("started", "finished")
    assert run.manifest()["base_scores"]["colorfulness"]["deviation"] > 0
    assert run.manifest()["base_reward"]["deviation"] == pytest.approx(1, rel=1e-4)
    first, *later = (
        [(one["prompt"], one["seed"]) for one in run.pictures(step)] for step in (0, 5, 10)
    )
    assert later == [first, first]


def test_the_learning_rate_falls_evenly_towards_its_end(new_run):
    rows = finish(new_run("run", num_steps=4, lr_end_factor=0.2, learning_rate=0.01))
    assert [row["lr"] for row in rows[1:]] == pytest.approx([0.01, 0.008, 0.006, 0.004])


@pytest.mark.slow
@each_algorithm
def test_resumed_equals_straight_through_bit_for_bit(new_run, settings):
    settings = {"num_steps": 3, "lr_end_factor": 0.1, **settings}
    straight, broken = (new_run(name, **settings) for name in ("straight", "broken"))
    finish(straight)
    train_in_two(broken, stop_at=1)
    assert_same(broken, straight)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "forward", "backward", "queries"),
    [
        ({"ref_grad": "exact"}, 2 + 2, 2 + 1, 1),  # none comes back to the noise
        ({"ref_grad": "none"}, 2 + 2, 2, 1),
        ({"ref_grad": "detach"}, 2 + 2 + 2, 2 + 2, 1),
        ({"beta": 0}, 2 + 2, 2, 1),
        ({"beta": 0, "backprop": "last_k"}, 2 + 2, 1, 1),
        ({"beta": 0, "gradient_checkpointing": "on"}, 2 + 2 + 2, 2, 1),
        ({"algorithm": "rlcm"}, 2 + 2 + 2, 2, 1),
        ({"algorithm": "rlcm", "beta": 0}, 2 + 2, 2, 1),
        ({"algorithm": "dpok", "beta": 0}, 2 + 2, 2, 1),
        ({**D3PO, "beta": 0}, 2 + 2 + 2 * 2, 2 * 2, 1),
        ({**HYBRID, "ref_grad": "none"}, 2 + 2 + 1, 2 + 1, 1),
        ({**RLCM, "last_step": "skip"}, 2 + 1 + 2, 2, 1),
        ({"beta": 0, "backprop": "draft_lv", "backprop_steps": 3}, 4 + 3 * 2, 1 + 3, 4),
    ],
    ids=lambda value: str(value),
)
def test_network_passes_of_a_picture_are_counted(
    small_config, settings, forward, backward, queries
):
    first = {"gradient_checkpointing": "off", "track": "", **settings}
    config = small_config(gradient_accumulation=2, **first)
    setup = set_up(config)
    row = update(setup, setup.rewards.mixture(), 1)
    assert row["reward_queries"] == 4 * queries
    assert (row["unet_forward"], row["unet_backward"]) == (4 * forward, 4 * backward)
    assert 0 < row["seconds"] == pytest.approx(4 / row["images_per_s"])
    is_as_estimated = config.backprop == "full" and config.gradient_checkpointing == "off"
    if is_as_estimated and config.last_step == "smooth":
        decoding = 1.0 if config.algorithm in ("rocm", "hybrid") else FORWARD_SHARE
        estimated = backward + FORWARD_SHARE * (forward - backward) + decoding
        assert passes(config) == pytest.approx(estimated)


def test_more_updates_equal_a_longer_run(new_run):
    long, short = new_run("long", num_steps=4), new_run("short", num_steps=2)
    finish(long)
    finish(short)
    short.extend(4)
    short.mark_waiting()
    finish(short, resume=True)
    assert measured(short) == measured(long)
    assert (short.status().step, short.status().num_steps) == (4, 4)


def test_a_killed_run_resumes_to_the_same_result(new_run):
    straight, killed = new_run("straight", num_steps=6), new_run("killed", num_steps=6)
    finish(straight)
    steps = train(killed)
    for progress in steps:
        if progress.step == 5:
            break
    # What kill -9 leaves: a row without a checkpoint, and a line that was being written.
    steps.close()
    with open(killed.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 6, "rew')
    assert [row["step"] for row in killed.metrics()] == [0, 1, 2, 3, 4, 5]
    finish(killed, resume=True)
    assert measured(killed) == measured(straight)


def test_after_a_failure_before_the_first_checkpoint_resume_begins_anew(new_run, capsys):
    run, straight = new_run("run", num_steps=1), new_run("straight", num_steps=1)
    run.append_metrics({"step": 0, "eval/reward": 9.0})
    run.mark_ended("failed", "Cannot write step_000000: No space left on device. Then resume.")
    assert main(["train", "--resume", str(run.path)]) == 0
    assert "has no checkpoint yet: it begins anew" in capsys.readouterr().out
    finish(straight)
    assert measured(run) == measured(straight)


@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_checkpointed(new_run):
    run = new_run("run", num_steps=500, eval_every=5)
    command = [sys.executable, "-m", "rocm", "train", "--resume", str(run.path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_until(lambda: len(run.metrics()) >= 8, 120)
    process.kill()
    process.wait()
    status, rows = run.status(), measured(run)
    assert status.state == "interrupted"
    assert status.is_resumable
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_until(lambda: len(run.metrics()) >= len(rows) + 3, 120)
    process.terminate()
    assert process.wait(60) == 0
    assert measured(run)[: len(rows)] == rows
    steps = [row["step"] for row in run.metrics()]
    assert steps == list(range(len(steps)))
    assert run.status().state == "stopped"


SAMPLED = {"divergence": "js", "js_estimator": "sampled"}


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [{}, SAMPLED], ids=["closed", "sampled"])
@pytest.mark.parametrize(
    "settings", [*ALGORITHMS.values(), {"backprop": "draft_lv"}], ids=[*ALGORITHMS, "draft_lv"]
)
def test_a_batch_of_four_equals_two_of_two_accumulated(new_run, settings, estimator):
    settings = {"num_steps": 2, **settings, **estimator}
    whole = new_run("whole", batch_size=4, **settings)
    halves = new_run("halves", batch_size=2, gradient_accumulation=2, **settings)
    finish(whole)
    finish(halves)
    for one, other in zip(measured(whole), measured(halves), strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"divergence": "js"},
        SAMPLED,
        {"divergence": "hellinger", "reduction": "joint"},
        {"divergence": "fisher", "last_step": "skip"},
        {"divergence": "tv", "last_step": "floor", "reduction": "tempered"},
        {"divergence": "chi_square"},
        {"backprop": "random_k"},
        {"backprop": "drtune"},
        {"backprop": "refl"},
        {"precision": "bf16"},
        {"num_inference_steps": 1},
        {"reward": "0.7*saturation+0.3*colorfulness"},
        {"standardize": False, "reward": "saturation"},
        {**RLCM, "last_step": "skip", "beta": 0},
        {**RLCM, "reward": "0.5*compressibility+saturation"},
        {**RLCM, **SAMPLED},
        {**REBEL, "last_step": "skip", "beta": 0},
        {**DPOK, "reward": "compressibility", "beta": 0},
        {**HYBRID, "reward": "compressibility", "beta": 0},
        {**HYBRID, "backprop": "drtune"},
    ],
    ids=lambda settings: ",".join(f"{name}={value}" for name, value in settings.items()),
)
def test_every_choice_trains(new_run, settings):
    run = new_run("run", num_steps=2, **settings)
    rows = finish(run)
    before, after = (
        load_file(folder / WEIGHTS) for folder in (run.checkpoints()[0], run.checkpoints()[-1])
    )
    assert rows[-1]["grad_norm"] > 0
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_all_algorithms_begin_with_the_same_pictures(small_config, monkeypatch):
    drawn: dict[str, list[torch.Tensor]] = {}

    def recorded(images: torch.Tensor) -> torch.Tensor:
        drawn[name].append(images.detach().clone())
        return limit_pixels(images)

    monkeypatch.setattr(batches, "limit_pixels", recorded)
    for name, settings in ALGORITHMS.items():
        drawn[name] = []
        setup = set_up(small_config(**{**settings, "pictures_per_prompt": 2, "track": ""}))
        update(setup, setup.rewards.mixture(), 1)
    assert all(len(images) == 1 for images in drawn.values())
    assert all(torch.equal(images[0], drawn["rocm"][0]) for images in drawn.values())


def test_refl_scores_the_clean_estimate_where_its_chain_ends(small_config):
    setup = set_up(small_config(track="", backprop="refl", num_inference_steps=4, beta=0))
    mixture = setup.rewards.mixture()
    batch = draw_batch(setup, first=0)
    problem = make_problem(setup, mixture, batch, {})
    whole = rollout(problem.policy, batch.noise, setup.model.schedule(4), problem.prediction_type)
    ends = set()
    for step in range(1, 9):
        found = batch_objective(setup, problem, batch, step)
        end = len(found.divergences) - 1
        ends.add(end)
        assert torch.equal(found.latents, whole.denoised[end])
    assert ends == {2, 3}


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(new_run, monkeypatch):
    calls = []

    def broken(images: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 5:
            run.request("stop")  # as the launcher of several processes does
        return images.flatten(1).mean(1) * (torch.nan if len(calls) > 5 else 1.0)

    monkeypatch.setitem(load.PIXEL_REWARDS, "broken", broken)
    run = new_run("run", reward="broken", track="", num_steps=9, eval_every=1)
    with pytest.raises(TrainingError, match=r"The loss is not finite in update 3\. The adapter of"):
        finish(run)
    status = run.status()
    assert status.state == "failed"
    assert "Lower learning_rate" in status.error
    assert [row["step"] for row in run.metrics()] == [0, 1, 2]
    assert all(torch.isfinite(weights).all() for weights in adapter(run).values())
    assert not (run.path / "control" / "stop").exists(), "it would end the next attempt"


@pytest.mark.parametrize(("scale_after", "num_updates"), [(1024, 3), (0.5, 0)])
def test_an_update_beyond_float16_is_left_out_and_a_run_ends_when_scaling_does_not_help(
    new_run, monkeypatch, scale_after, num_updates
):
    first = 2.0**100  # the loss times it is within float32, its gradient beyond float16
    scaler = partial(torch.amp.GradScaler, init_scale=first, backoff_factor=scale_after / first)
    monkeypatch.setattr(torch.amp, "GradScaler", scaler)
    run = new_run("run", precision="fp16", num_steps=3, track="")
    if num_updates:
        finish(run)
    else:
        with pytest.raises(TrainingError, match=r"The grad_norm is not finite in update 1\."):
            finish(run)
    rows = run.metrics()[1:]
    assert [row["grad_norm"] is None for row in rows] == [True, False, False][:num_updates]
    if rows:  # the divergence is that of the policy before the update
        assert rows[0]["divergence"] == rows[1]["divergence"] < rows[2]["divergence"]


def test_a_damaged_checkpoint_is_named_and_nothing_is_overwritten(new_run):
    run = new_run("run", track="", num_steps=2, eval_every=1)
    finish(run)
    rows, folder = run.metrics(), run.checkpoints()[-1]
    state = (folder / "training.pt").read_bytes()
    for name, content in (
        ("training.pt", state[:1000]),
        ("training.pt", None),
        ("checkpoint.json", b"{}"),
        ("checkpoint.json", b"[1]"),
    ):
        whole = (folder / name).read_bytes()
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        with pytest.raises(RunError, match=r"step_000002 is damaged.*to resume from step_000001"):
            finish(run, resume=True)
        assert run.metrics() == rows
        assert run.status().state == "failed"
        (folder / name).write_bytes(whole)


def test_stop_on_warning_keeps_the_checkpoint_that_the_judge_liked_best(new_run, monkeypatch):
    # A judge that likes the third evaluation (step 2) best and hates everything after it.
    liking = iter([0.0, 1.0, 2.0, -5.0, -6.0])
    current = {}

    def judge(images: torch.Tensor) -> torch.Tensor:
        if len(images) == 4:
            current["value"] = next(liking)
        return torch.full((len(images),), current["value"]) + torch.arange(len(images)) * 1e-3

    monkeypatch.setitem(load.PIXEL_REWARDS, "judge", judge)
    run = new_run("run", judge="judge", eval_every=1, num_steps=9, stop_on_warning=True)
    finish(run)
    warned = [event for event in run.events() if event["kind"] == "warning"]
    assert [(event["step"], event["warning"]) for event in warned] == [(3, "hacking")]
    assert run.events()[-1]["adapter_step"] == 2
    assert run.status().state == "stopped"
    best = load_file(run.checkpoint_dir(2) / WEIGHTS)
    assert all(torch.equal(best[name], weights) for name, weights in adapter(run).items())
