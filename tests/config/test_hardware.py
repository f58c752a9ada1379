"""Settings for a card: what fits, and as many pictures in an update as without it."""

import pytest

from rocm.config import RunConfig, hardware
from rocm.config.hardware import with_hardware
from rocm.errors import ConfigError

PAPER = "paper-rocm-kl-hpsv2"


@pytest.mark.parametrize("name", ["12gb", "24gb", "80gb"])
@pytest.mark.parametrize(("batch", "accumulation"), [(1, 2), (8, 4), (3, 1), (1, 1)])
def test_an_update_keeps_its_pictures(name, batch, accumulation):
    sizes = {"batch_size": batch, "gradient_accumulation": accumulation}
    config = with_hardware(RunConfig.load(PAPER, **sizes), name)
    assert config.batch_size * config.gradient_accumulation == batch * accumulation
    assert config.batch_size <= {"12gb": 1, "24gb": 1, "80gb": 4}[name]
    kept = {"batch_size", "gradient_accumulation", "precision", "gradient_checkpointing"}
    plain = RunConfig.load(PAPER).model_dump(exclude=kept)
    assert config.model_dump(exclude=kept) == plain


@pytest.mark.parametrize(("name", "batch"), [("12gb", 2), ("24gb", 2), ("80gb", 4)])
def test_an_algorithm_of_pairs_keeps_them_on_a_card_for_one_picture(name, batch):
    config = with_hardware(RunConfig.load("paper-d3po-hpsv2"), name)
    assert (config.batch_size, config.batch_size * config.gradient_accumulation) == (batch, 32)


@pytest.mark.parametrize(("megabytes", "same_as"), [(12_884, "12gb"), (48_000, "24gb")])
def test_auto_takes_the_largest_that_the_card_has_room_for(monkeypatch, megabytes, same_as):
    monkeypatch.setattr(hardware, "card_mb", lambda field: float(megabytes))
    config = RunConfig.load(PAPER, gradient_accumulation=8)
    assert with_hardware(config, "auto") == with_hardware(config, same_as)
    monkeypatch.setattr(hardware, "card_mb", lambda field: None)
    with pytest.raises(ConfigError, match="found no CUDA card of at least 12gb"):
        with_hardware(config, "auto")
