"""Settings of memory and speed: the same update, whatever they say; and what happens when full."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny

from rocm.config import RunConfig
from rocm.errors import TrainingError
from rocm.experiments.bench.counter import saved_bytes as counted_bytes
from rocm.models.consistency import ConsistencyModel
from rocm.runs.run_dir import RunDir
from rocm.training import memory
from rocm.training import update as updates
from rocm.training.checkpoint import load_checkpoint
from rocm.training.loop import train
from rocm.training.setup import Setup, set_up
from tests.training.choices import DPOK

PLAIN = {
    "flat_lora": False,
    "channels_last": "off",
    "reference_batch": 1,
    "lean_layers": "off",
    "gradient_checkpointing": "off",
    "keep_text": False,
}
ALL = {"flat_lora": True, "channels_last": "on", "reference_batch": 32, "lean_layers": "on"}
ALL |= {"keep_text": True}
MakeConfig = Callable[..., RunConfig]
MakeRun = Callable[..., RunDir]


def two_updates(setup: Setup) -> tuple[list[float], torch.Tensor]:
    """Loss, divergence and gradient norm of two updates, and the adapter after them."""
    mixture = setup.rewards.mixture()
    rows = [updates.update(setup, mixture, step) for step in (1, 2)]
    figures = [row[name] for row in rows for name in ("loss", "divergence", "grad_norm")]
    return figures, torch.cat([one.detach().flatten() for one in setup.learner.parameters])


# Adam divides by the gradient's size: a large epsilon keeps its noise from being blown up.
COMMON = {**PLAIN, "num_inference_steps": 3, "track": "", "reward": "saturation"}
COMMON |= {"adam_epsilon": 1e-3, "max_grad_norm": 1e6}


@pytest.fixture(scope="module")
def plain(small_config) -> tuple[list[float], torch.Tensor]:
    return two_updates(set_up(small_config(**COMMON)))


@pytest.mark.parametrize(
    "settings",
    [
        {"flat_lora": True},
        {"channels_last": "on"},
        {"reference_batch": 4},
        {"lean_layers": "on"},
        {"keep_text": True},
        {"decode_batch": 1},
        {"gradient_checkpointing": "on"},
        ALL,
    ],
    ids=lambda settings: ",".join(f"{name}={value}" for name, value in settings.items()),
)
def test_a_setting_of_speed_or_memory_changes_no_update(small_config, plain, settings):
    wanted, before = plain
    found, after = two_updates(set_up(small_config(**{**COMMON, **settings})))
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert wanted[4] > 1e-6  # the policy has left the reference
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-6)


def test_a_run_goes_on_with_and_without_one_vector_from_the_same_checkpoint(new_run, small_config):
    for is_flat in (True, False):
        run = new_run(f"{is_flat}", num_steps=1, flat_lora=is_flat)
        list(train(run))
        setups = [set_up(small_config(flat_lora=other)) for other in (True, False)]
        for setup in setups:
            assert load_checkpoint(run, setup.learner) == 1
        first, second = (setup.learner.state_dict() for setup in setups)
        for one, other in zip(first["parameters"], second["parameters"], strict=True):
            assert torch.equal(one, other)
        for n, state in second["optimizer"]["state"].items():
            assert torch.equal(first["optimizer"]["state"][n]["exp_avg"], state["exp_avg"])


def full_at(monkeypatch: pytest.MonkeyPatch, num: int) -> list[Setup]:
    """The memory is full at the end of `num` backward passes of the second update."""
    real, attempts = updates._measured_update, []

    def measured(setup: Setup, mixture: Any, step: int) -> dict[str, Any]:
        attempts.append(setup)
        if not 1 < len(attempts) <= 1 + num:
            return real(setup, mixture, step)
        with monkeypatch.context() as patch:
            full = torch.OutOfMemoryError("CUDA out of memory")
            patch.setattr(type(setup.learner), "descend", lambda *_: (_ for _ in ()).throw(full))
            return real(setup, mixture, step)

    monkeypatch.setattr(updates, "_measured_update", measured)
    return attempts


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, DPOK], ids=["rocm", "dpok"])
def test_a_full_memory_steps_down_with_a_sentence_each_and_the_same_result(
    new_run, monkeypatch, settings
):
    fixed = {"num_steps": 2, "batch_size": 4, "adam_epsilon": 1e-3, **settings}
    calm, full = new_run("calm", **fixed), new_run("full", **fixed)
    list(train(calm))
    attempts = full_at(monkeypatch, num=4)
    list(train(full))
    ways = [(one.model.use_checkpointing, one.config.batch_size) for one in attempts]
    assert ways == [(False, 4)] * 3 + [(True, 4), (True, 2), (True, 1)]
    assert attempts[-1].config.gradient_accumulation == 4
    told = [event for event in full.events() if event["kind"] == "warning"]
    ways = [f"memory-{way}" for way in ("lean", "checkpointing", "batches")]
    assert [event["warning"] for event in told] == ways
    assert all(event["step"] == 2 for event in told)
    assert "batch_size=1, gradient_accumulation=4" in told[-1]["message"]
    for one, other in zip(full.metrics()[1:], calm.metrics()[1:], strict=True):
        for name in {"loss", "reward", "grad_norm", "value_loss"} & set(other):
            assert one[name] == pytest.approx(other[name], rel=1e-4, abs=1e-6), name


def test_a_memory_that_is_full_in_every_allowed_way_fails_with_what_to_do(new_run, monkeypatch):
    run = new_run("run", lean_layers="off", gradient_checkpointing="off", batch_size=2)
    attempts = full_at(monkeypatch, num=9)
    monkeypatch.setattr(memory, "total_bytes", lambda device: 12_000_000)
    with pytest.raises(TrainingError, match="gradient_checkpointing at auto, lower batch_size"):
        list(train(run))
    assert "Of 12 MB the model's weights take" in run.status().error
    assert "too few for batch_size=1 with latents 8 wide" in run.status().error
    assert [one.config.batch_size for one in attempts] == [2, 2, 1]
    assert not any(one.execution.economy.lean or one.model.use_checkpointing for one in attempts)
    assert run.status().state == "failed"


def test_batches_that_an_algorithm_compares_within_are_not_divided(small_config):
    config = small_config(algorithm="d3po", pictures_per_prompt=2, batch_size=6)
    economy = memory.Economy(lean=True, checkpointing=True)
    assert economy.step_down(None, config)
    assert economy.settings(config).batch_size == 2
    assert not economy.step_down(None, config)


@pytest.mark.parametrize(
    ("free", "settings", "way"),
    [
        (1e12, {}, (False, False)),
        (1e12, {"gradient_checkpointing": "on"}, (True, True)),
        (1e12, {"lean_layers": "on"}, (True, False)),
        (0, {}, (True, True)),
        (0, {"lean_layers": "off", "gradient_checkpointing": "off"}, (False, False)),
        ("between", {}, (True, False)),
    ],
)
def test_the_first_way_that_fits_is_taken(small_config, monkeypatch, free, settings, way):
    lean: list[ConsistencyModel] = []
    make_lean = ConsistencyModel.make_lean
    monkeypatch.setattr(
        ConsistencyModel, "make_lean", lambda self: (lean.append(self), make_lean(self))
    )
    if free == "between":  # too little until the layers are lean
        monkeypatch.setattr(memory, "free_bytes", lambda device: 1e12 if lean else 0)
    else:
        monkeypatch.setattr(memory, "free_bytes", lambda device: free)
    economy = set_up(small_config(track="", **settings)).execution.economy
    assert (economy.lean, economy.checkpointing) == way
    by_itself = way[0] and "lean_layers" not in settings
    assert economy.decode_batch == (1 if by_itself else None)
    assert bool(lean) == way[0]


def test_memory_is_planned_for_what_an_update_keeps_and_not_for_weights(small_config, monkeypatch):
    config = small_config(track="", lean_layers="off", gradient_checkpointing="off")
    model = replace(set_up(config).model, lender=None)  # memory is planned before there is one
    state = torch.zeros((1, *model.latent_shape), requires_grad=True)
    network = model.policy(model.encode([""]), config.guidance_scale)
    step = torch.zeros(1, dtype=torch.long)
    per_call = counted_bytes(lambda: network(state, step))
    per_decode = counted_bytes(lambda: model.decode(state))
    calls = 2 * config.num_inference_steps - 1  # the reference keeps nothing at the noise
    needed = config.batch_size * (calls * per_call + per_decode)
    for factor, too_little in ((0.97, True), (1.03, False)):
        free = factor * needed / memory.SHARE_OF_FREE
        monkeypatch.setattr(memory, "free_bytes", lambda device, free=free: free)
        assert memory.needs_checkpointing(model, config) is too_little


@pytest.fixture(scope="module")
def tiny_decoder_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("taesd")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        blocks = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
        counts = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
        AutoencoderTiny(**blocks, **counts).save_pretrained(folder)
    return folder


def test_a_tiny_decoder_decodes_what_is_trained_on_and_nothing_else(small_config, tiny_decoder_dir):
    names = ("", str(tiny_decoder_dir))
    own, tiny = (set_up(small_config(decoder=name, track="")) for name in names)
    mixture = own.rewards.mixture()
    rewards = [updates.update(one, mixture, 1)["reward"] for one in (own, tiny)]
    assert rewards[0] != pytest.approx(rewards[1], rel=1e-3)
    fresh = [set_up(small_config(decoder=name, track="")) for name in names]
    assert torch.equal(*(setup.evaluate().images for setup in fresh))
    state = torch.linspace(-1, 1, 4 * 64).view(1, 4, 8, 8)
    stock = AutoencoderTiny.from_pretrained(tiny_decoder_dir).decode(state).sample / 2 + 0.5
    torch.testing.assert_close(tiny.execution.decoder(state), stock)
