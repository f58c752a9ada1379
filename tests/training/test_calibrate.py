"""The calibrated beta gives the divergence its share of the gradient."""

import pytest
import torch

from rocm.config import RunConfig
from rocm.errors import ConfigError, RocmError
from rocm.training import calibrate, setup
from rocm.training.calibrate import calibrated_beta
from rocm.training.setup import set_up


@pytest.fixture(autouse=True)
def few_updates(monkeypatch):
    monkeypatch.setattr(calibrate, "NUM_UPDATES", 6)


@pytest.fixture
def config(tiny_pipeline_dir):
    settings = {"model": str(tiny_pipeline_dir), "track": "", "judge": "", "device": "cpu"}
    settings |= {"num_eval_prompts": 2, "batch_size": 1, "learning_rate": 0.01, "beta": 2}
    return RunConfig.load(settings, num_inference_steps=2, reward="colorfulness")


def test_beta_is_in_proportion_to_the_odds_of_the_share(config):
    """The measured norms do not depend on the share, so beta (1 - s) / s is one number."""
    fifth, half = calibrated_beta(config, 0.2), calibrated_beta(config, 0.5)
    assert fifth > 0
    assert half / fifth == pytest.approx(4, rel=0.01)


def test_beta_does_not_depend_on_the_unit_of_the_divergence(config):
    """Twice the divergence at half the beta trains the same, and is calibrated to the same."""
    tempered = config.model_copy(
        update={"reduction": "tempered"}
    )  # for KL the mean, by its formula
    assert calibrated_beta(tempered, 0.3) == pytest.approx(calibrated_beta(config, 0.3), rel=0.02)


@pytest.mark.parametrize(
    ("share", "changed"), [(0.0, {}), (1.0, {}), (0.2, {"beta": 0}), (0.2, {"algorithm": "rlcm"})]
)
def test_what_has_no_share_is_refused(config, share, changed):
    with pytest.raises(ConfigError, match="needs a share between 0 and 1"):
        calibrated_beta(RunConfig.load(config.model_dump(), **changed), share)


def test_bfloat16_is_refused_on_a_card_before_ampere_before_anything_is_loaded(config, monkeypatch):
    monkeypatch.setattr(setup, "resolve_device", torch.device)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    asked = config.model_copy(update={"device": "cuda", "precision": "bf16", "model": "no/model"})
    with pytest.raises(ConfigError, match=r"needs .* 8\.0 \(Ampere\) or newer, .* has 7\.5\."):
        set_up(asked)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 6))
    with pytest.raises(RocmError, match=r"no/model|no CUDA device"):
        set_up(asked)
