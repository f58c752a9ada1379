"""A learned reward as any other: named, hashed, differentiable, refused where it does not fit."""

import json
from dataclasses import replace

import pytest
import torch

from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingFile, RocmError
from rocm.rewards.load import load_rewards
from rocm.rewards.names import check_reward, measurable, parse_mixture
from rocm.rewards.preference import SHAPES, Features, PreferenceReward, save_preference
from rocm.rewards.preference_files import (
    RECORD,
    TENSORS,
    check_base,
    check_new_name,
    rewards_folder,
)
from rocm.runs.run_dir import RunDir
from rocm.training.estimate import estimate
from rocm.training.loop import train
from rocm.training.preflight import problems

CPU = torch.device("cpu")
NAME = "preference:my-raters"
PARTS = ["saturation", "tiny-clip"]
PROMPTS = ["a red apple", "a blue car", "a cat"]


def tensors(features: Features, seed: int = 0) -> dict[str, torch.Tensor]:
    """A reward of four directions, whose gate lies beyond every picture of the tests."""
    draws = torch.Generator().manual_seed(seed)
    probe = features.probe(CPU)
    projection = torch.randn(len(probe), 4, generator=draws) / 4
    weights = torch.randn(16, 4, generator=draws)
    return {
        **{"mean": probe.clone(), "projection": projection, "weights": weights},
        **{"whitener": torch.eye(4), "gate": torch.tensor(50.0), "probe": probe},
    }


@pytest.fixture(params=[True, False])
def features(request):
    made = Features.of(load_rewards(PARTS, CPU), PARTS, "tiny-clip")
    return replace(made, has_squares=request.param)


@pytest.fixture
def folder(features, tmp_path, monkeypatch):
    """The folder of a learned reward in a home of its own."""
    monkeypatch.setenv("ROCM_HOME", str(tmp_path))
    record = {"rewards": PARTS, "embedding": "tiny-clip", "model": "assets/tiny-lcm"}
    record |= {"studies": {"0123456789ab": "f" * 64}}
    record |= {"has_squares": True} if features.has_squares else {}  # as in older files
    made = check_new_name("my-raters", rewards_folder())
    save_preference(made, tensors(features), record, {"card.md": "# Card"})
    return made


def pictures(num: int = 3) -> torch.Tensor:
    return torch.rand(num, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_the_value_is_the_lower_bound_of_the_refits(features):
    part = tensors(features)
    reward = PreferenceReward(NAME, features, part, caution=2.0)
    phi = (features(pictures(), PROMPTS) - part["mean"]) @ part["projection"]
    refits = torch.stack([phi @ w for w in part["weights"]])
    torch.testing.assert_close(
        reward(pictures(), PROMPTS), refits.mean(0) - 2 * refits.std(0), rtol=1e-4, atol=1e-4
    )


def test_the_gate_takes_off_what_lies_beyond_the_study(features):
    part = tensors(features)
    inside = PreferenceReward(NAME, features, part)(pictures(), PROMPTS)
    phi = (features(pictures(), PROMPTS) - part["mean"]) @ part["projection"]
    distance = phi.square().mean(1).sqrt()
    gated = PreferenceReward(NAME, features, part | {"gate": distance[0] / 2})(pictures(), PROMPTS)
    torch.testing.assert_close(
        inside - gated, (distance - distance[0] / 2).relu(), rtol=1e-3, atol=1e-4
    )


def test_the_gradient_is_that_of_finite_differences(features):
    reward = PreferenceReward(NAME, features, tensors(features) | {"gate": torch.tensor(0.0)})
    images = pictures(1).requires_grad_()
    (gradient,) = torch.autograd.grad(reward(images, PROMPTS[:1]).sum(), images)
    way = gradient / gradient.norm()
    high, low = (reward(images + step * way, PROMPTS[:1]).item() for step in (0.05, -0.05))
    assert (high - low) / 0.1 == pytest.approx(gradient.norm().item(), rel=0.05)


def test_a_learned_reward_joins_mixtures_and_what_can_be_measured(folder, features):
    weights = parse_mixture(f"0.5*{NAME}+0.5*saturation")
    loaded = load_rewards(weights, CPU)
    direct = PreferenceReward(NAME, features, tensors(features))
    torch.testing.assert_close(
        loaded[NAME](pictures(), PROMPTS), direct(pictures(), PROMPTS), rtol=1e-4, atol=1e-4
    )
    assert NAME in measurable()
    assert check_reward(NAME) == NAME
    assert (folder / "card.md").read_text() == "# Card"


def test_a_run_trains_on_it_and_names_it(folder, tmp_path):
    few = {"num_steps": 1, "num_eval_prompts": 2, "batch_size": 1, "num_samples": 1, "judge": ""}
    config = RunConfig.load("tiny-rocm-kl", reward=NAME, track="saturation", audit="", **few)
    assert problems(config, estimate(config, [])) == []
    run = RunDir.create(tmp_path / "run", config)
    assert list(train(run))
    metrics = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert any(NAME in key for line in metrics for key in line)


@pytest.mark.parametrize("name", ["preference:none", "preference:", "preference:../my-raters"])
def test_a_reward_that_is_not_here_is_missing(folder, name):
    with pytest.raises(MissingFile, match="my-raters"):
        check_reward(name)


def test_a_changed_or_damaged_file_is_refused(folder):
    content = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(content[:-1] + b"x")
    with pytest.raises(ConfigError, match="was changed"):
        load_rewards([NAME], CPU)
    (folder / TENSORS).write_bytes(content)
    (folder / RECORD).write_text("{")
    with pytest.raises(RocmError, match="damaged"):
        load_rewards([NAME], CPU)


def test_a_reward_that_names_itself_is_refused(folder):
    file = folder / RECORD
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"rewards": [NAME]}))
    with pytest.raises(ConfigError, match="a learned reward"):
        load_rewards([NAME], CPU)


def test_another_network_or_another_base_model_is_refused(folder, features):
    with pytest.raises(ConfigError, match=r"assets/tiny-lcm.*other/model"):
        check_base([NAME, "saturation"], "other/model")
    config = RunConfig.load("tiny-rocm-kl", reward=NAME, model="other/model")
    assert any("other/model" in words for words in problems(config, estimate(config, [])))
    record = json.loads((folder / RECORD).read_text())
    moved = tensors(features) | {"probe": features.probe(CPU) + 0.1}
    save_preference(folder, moved, record, {})
    with pytest.raises(ConfigError, match="other weights"):
        load_rewards([NAME], CPU)
    save_preference(folder, {key: moved[key] for key in list(SHAPES)[:4]}, record, {})
    with pytest.raises(ConfigError, match="other tensors"):
        load_rewards([NAME], CPU)


@pytest.mark.parametrize("name", ["", "My", "a/b", "..", "my-raters"])
def test_a_bad_or_taken_name_is_refused(folder, name):
    with pytest.raises(ConfigError):
        check_new_name(name, rewards_folder())


def test_an_embedding_needs_towers():
    with pytest.raises(ConfigError, match="no CLIP"):
        Features.of(load_rewards(["saturation"], CPU), [], "saturation")
