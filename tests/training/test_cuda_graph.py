"""An update that is recorded and repeated: on a CPU its very function is called again instead."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.training.cuda_graph import Recording
from rocm.training.preflight import check_recording
from rocm.training.setup import Setup, set_up
from rocm.training.update import update

MakeConfig = Callable[..., RunConfig]
FIGURES = ("loss", "divergence", "kl_nats", "grad_norm", "reward", "unet_forward", "unet_backward")


def changed_updates(setup: Setup, steps: int) -> tuple[list[list[float]], torch.Tensor]:
    """Figures of some updates, each with another beta and learning rate, and the adapter then."""
    mixture = setup.rewards.mixture()
    rows = []
    for step in range(1, steps + 1):
        setup.learner.optimizer.param_groups[0]["lr"] = 0.01 * step
        config = setup.config.model_copy(update={"beta": 0.5 * step})
        rows.append(update(replace(setup, config=config), mixture, step))
        assert rows[-1]["lr"] == 0.01 * step
    return [[row[name] for name in FIGURES] for row in rows], adapter(setup)


def adapter(setup: Setup) -> torch.Tensor:
    return torch.cat([one.detach().cpu().flatten() for one in setup.learner.parameters])


def recorded(setup: Setup) -> Setup:
    """The same parts, as if their device could record."""
    return replace(setup, config=setup.config.model_copy(update={"cuda_graph": True}))


@pytest.fixture
def called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU has no graphs: what a graph would repeat is called again."""
    monkeypatch.setattr(Recording, "repeat", Recording.run)


def make(small_config: MakeConfig, **settings: Any) -> RunConfig:
    # Adam divides by the gradient's size: a large epsilon keeps its noise from being blown up.
    fixed = {"adam_epsilon": 1e-3, "reward": "tiny-clip", "track": "", "max_grad_norm": 0.1}
    return small_config(**{**fixed, **settings})


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"gradient_accumulation": 2, "divergence": "js", "num_inference_steps": 3},
        {"backprop": "last_k", "backprop_steps": 1, "ref_grad": "none", "keep_text": False},
        {"divergence": "tv", "gradient_checkpointing": "on", "decode_batch": 1},
    ],
    ids=["accumulated", "last-step", "recomputed"],
)
def test_a_repeated_function_does_the_updates_with_any_learning_rate_and_beta(
    small_config, called_again, settings
):
    config = make(small_config, **settings)
    wanted, before = changed_updates(set_up(config), 3)
    setup = recorded(set_up(config))
    found, after = changed_updates(setup, 3)
    assert len(setup.execution.recorded) == 1  # the other two updates repeated the first's
    for one, other in zip(found, wanted, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-6)


def test_a_rehearsal_and_a_gradient_that_is_not_finite_change_nothing(small_config, called_again):
    setup = recorded(set_up(make(small_config)))
    changed_updates(setup, 1)
    (recording,) = setup.execution.recorded.values()
    start = adapter(setup)
    state = {name: value.clone() for name, value in recorded_state(setup).items()}
    recording.is_rehearsal.fill_(1)
    assert recording.run().grad_norm > 0
    recording.is_rehearsal.fill_(0)
    recording.beta.fill_(torch.nan)
    assert not recording.run().grad_norm.isfinite()
    assert torch.equal(adapter(setup), start)
    assert all(torch.equal(value, state[name]) for name, value in recorded_state(setup).items())


def recorded_state(setup: Setup) -> dict[str, torch.Tensor]:
    return setup.learner.optimizer.state[setup.learner.optimizer.vector]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "no CUDA device is used here"),
        ({"backprop": "random_k"}, "backprop=random_k draws anew"),
        ({"divergence": "js", "js_estimator": "sampled"}, "js_estimator=sampled draws on the CPU"),
        ({"precision": "fp16"}, "precision=fp16 reads out"),
        ({"flat_lora": False}, "without flat_lora"),
    ],
)
def test_what_cannot_be_recorded_is_refused_in_a_sentence(settings, sentence):
    config = RunConfig.load("tiny-rocm-kl", cuda_graph=True, **settings)
    with pytest.raises(ConfigError, match=rf"cuda_graph=true .* {sentence}.* cuda_graph=false\."):
        check_recording(config, is_cuda=bool(settings))


def test_no_run_starts_that_cannot_be_recorded(small_config):
    with pytest.raises(ConfigError, match="no CUDA device"):
        set_up(small_config(cuda_graph=True))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("settings", [{}, {"compile_blocks": True}], ids=["plain", "compiled"])
def test_a_recorded_update_is_the_one_that_is_not_recorded(small_config, precision, settings):
    fixed = {"device": "cuda", "precision": precision, "gradient_accumulation": 2}
    plain = set_up(make(small_config, **fixed))
    start = adapter(plain)
    wanted, before = changed_updates(plain, 4)
    setup = set_up(make(small_config, **fixed, **settings, cuda_graph=True))
    found, after = changed_updates(setup, 4)
    # Compiled blocks on a CPU: 2e-6, in bf16 0.043. On CUDA a convolution in fp32 is TF32's.
    tolerance = 1e-2 if precision == "fp32" else 0.1
    figures, plainly = torch.tensor(found), torch.tensor(wanted)
    # Each against its largest: at the first update the divergence is nothing but rounding.
    assert ((figures - plainly).abs().amax(0) < tolerance * plainly.abs().amax(0)).all()
    # Against the way that it went: within a tolerance of its values an adapter may stand still.
    assert (after - before).norm() < tolerance * (before - start).norm()
