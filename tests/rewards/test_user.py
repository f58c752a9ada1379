"""Rewards from the user's own files: found, refused in one sentence, copied into the run."""

import hashlib
from pathlib import Path

import pytest
import torch

from rocm.config import RunConfig
from rocm.config.algorithms import ALGORITHMS
from rocm.errors import ConfigError, MissingFile, RocmError, RunError, TrainingError
from rocm.evaluation.plan import make_plan
from rocm.evaluation.request import Request
from rocm.rewards.load import load_rewards, probe_rewards
from rocm.rewards.names import check_gradient, check_reward, parse_mixture
from rocm.rewards.user_files import name_now, user_copies
from rocm.runs.adapters import find_adapter
from rocm.runs.run_dir import RunDir
from rocm.training.estimate import estimate
from rocm.training.loop import train
from rocm.training.preflight import problems

CPU = torch.device("cpu")
GOOD = """
def warmth(images, prompts):
    return images[:, 0].mean((1, 2)) - images[:, 2].mean((1, 2))
def blind(images, prompts):
    return images.detach().mean((1, 2, 3))
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    return path


def write(file: Path, body: str) -> str:
    file.write_text(f"import torch\n{body}\n")
    return "mine.py:warmth"


def test_a_file_of_the_user_joins_mixtures_and_keeps_its_gradient(file):
    weights = parse_mixture("0.5*mine.py:warmth+2*saturation")
    assert weights == {"mine.py:warmth": 0.5, "saturation": 2}
    rewards = load_rewards(weights, CPU)
    images = torch.rand(3, 3, 8, 8, requires_grad=True)
    rewards["mine.py:warmth"](images, ["a"] * 3).sum().backward()
    torch.testing.assert_close(images.grad[:, 0], torch.full((3, 8, 8), 1 / 64))
    assert probe_rewards(rewards.values(), CPU, 8) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def other(images, prompts): ...", "has no function 'warmth'"),
        ("def warmth(images, prompts, more): ...", "must take two arguments"),
        ("warmth = 3", "must take two arguments"),
        ("def warmth(:", "is not valid Python"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(file, body, message):
    with pytest.raises(ConfigError, match=message):
        load_rewards([write(file, body)], CPU)


def test_a_missing_file_is_named_before_anything_is_created(file, tmp_path):
    config = RunConfig.load("tiny-rocm-kl", reward="0.5*none.py:f+0.5*saturation")
    with pytest.raises(MissingFile, match=r"none\.py does not exist"):
        RunDir.create(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()
    assert "does not exist" in problems(config, estimate(config, []))[0]
    with pytest.raises(ConfigError, match=r"Unknown reward 'mine\.py'"):
        check_reward("mine.py")


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        ("images.mean()", TrainingError, r"returned \(\) for 2 pictures"),
        ("images.mean((2, 3))", TrainingError, r"returned \(2, 3\) for 2 pictures"),
        ("[0.0, 1.0]", TrainingError, "returned list for 2 pictures"),
        ("images.mean((1, 2, 3)) / 0", TrainingError, "not finite"),
        ("(images * 0).sum((1, 2, 3)).sqrt()", ConfigError, "gradient that is not finite"),
    ],
)
def test_wrong_values_are_refused_in_one_sentence(file, result, error, message):
    name = write(file, f"def warmth(images, prompts): return {result}")
    with pytest.raises(error, match=message):
        probe_rewards(load_rewards([name], CPU).values(), CPU, 8)


def test_a_file_without_gradient_suits_the_algorithms_that_need_none(file):
    names = ["mine.py:blind"]
    check_gradient(names, ALGORITHMS["rocm"])  # not known before the file has run
    check_gradient(names, ALGORITHMS["hybrid"])
    blind = probe_rewards(load_rewards(names, CPU).values(), CPU, 8)
    assert blind == names
    check_gradient(names, ALGORITHMS["rlcm"], blind)
    check_gradient(names, ALGORITHMS["hybrid"], blind)
    with pytest.raises(ConfigError, match=r"mine\.py:blind has no gradient"):
        check_gradient(names, ALGORITHMS["rocm"], blind)
    with pytest.raises(ConfigError, match="Every part of the reward has a gradient"):
        check_gradient(["mine.py:warmth"], ALGORITHMS["hybrid"], [])


@pytest.mark.parametrize("settings", [{}, {"algorithm": "hybrid", "pictures_per_prompt": 2}])
def test_a_run_resumes_with_its_copy_of_the_file(file, new_run, settings):
    part = "blind" if settings else "warmth"
    reward = f"0.5*mine.py:{part}+0.5*colorfulness"
    run = new_run("run", reward=reward, track="mine.py:warmth", num_steps=2, **settings)
    list(train(run))
    digest = hashlib.sha256(GOOD.encode()).hexdigest()
    assert run.manifest()["reward_files"][f"mine.py:{part}"]["sha256"] == digest
    file.write_text("raise SystemExit('the run must not read this')")
    run.extend(3)
    rows = [progress.row for progress in train(run, resume=True)]
    assert rows[-1]["step"] == 3
    assert f"reward/mine.py:{part}" in rows[-1]
    assert "eval/reward/mine.py:warmth" in rows[-1]


def test_a_changed_copy_is_refused(file, new_run):
    run = new_run("run", reward="mine.py:warmth")
    (copy,) = user_copies(run.rewards_dir).values()
    assert copy.read_text() == GOOD
    copy.write_text(GOOD + "# changed")
    with pytest.raises(RunError, match=r"mine\.py:warmth, is missing or changed"):
        user_copies(run.rewards_dir)


def test_compare_measures_a_run_by_the_file_that_it_was_trained_on(file, new_run, tmp_path):
    run = new_run("runs/one", reward="mine.py:warmth")
    assert name_now("mine.py:warmth", run.rewards_dir) == "mine.py:warmth"
    file.write_text(GOOD + "# changed")
    name = name_now("mine.py:warmth", run.rewards_dir)
    assert Path(name.removesuffix(":warmth")).read_text() == GOOD
    (run.path / "adapter").mkdir()
    (run.path / "adapter" / "pytorch_lora_weights.safetensors").touch()
    assert find_adapter("run:one", tmp_path / "runs").trained == (name,)


def test_a_public_page_compares_by_no_file(file, tmp_path):
    request = Request(arms=("base",), rewards=("mine.py:warmth",), prompts=("a red apple",))
    assert "mine.py with SHA-256" in make_plan(request, tmp_path).official["mine.py:warmth"]
    with pytest.raises(RocmError, match="listed rewards"):
        make_plan(request, tmp_path, is_public=True)
