"""The calibrated beta gives the divergence its share of the gradient."""

import pytest

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.training import calibrate
from rocm.training.calibrate import calibrated_beta


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
    tempered = config.model_copy(update={"reduction": "tempered"})  # for KL the mean
    assert calibrated_beta(tempered, 0.3) == pytest.approx(calibrated_beta(config, 0.3), rel=0.02)


@pytest.mark.parametrize(
    ("share", "changed"), [(0.0, {}), (1.0, {}), (0.2, {"beta": 0}), (0.2, {"algorithm": "rlcm"})]
)
def test_what_has_no_share_is_refused(config, share, changed):
    with pytest.raises(ConfigError, match="needs a share between 0 and 1"):
        calibrated_beta(RunConfig.load(config.model_dump(), **changed), share)
