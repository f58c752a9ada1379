"""D3PO on a table: its pictures are drawn again by who drew them then, and the winner gains."""

import csv
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from rocm.algorithms.d3po import preferences
from rocm.algorithms.mdp import decisions, log_probs
from rocm.algorithms.trajectory import denoised_along
from rocm.generation.draw import Sampling, draw
from rocm.models.consistency import load_model
from rocm.models.lora import adapter_off, add_adapter, load_adapter, save_adapter
from rocm.runs.run_dir import RunDir
from rocm.training.batch import draw_batches
from rocm.training.loop import train
from rocm.training.policy_update import ADVANTAGES, draw_episode, policy_update
from rocm.training.setup import set_up
from tests.training.choices import assert_same, train_in_two

MakeRun = Callable[..., RunDir]
ROWS = [("a red apple", 3, "mine", "base"), ("a blue whale", 4, "base", "mine")]


@pytest.fixture
def table(tiny_pipeline_dir: Path, tmp_path: Path) -> Path:
    """Two preferences between the base model and an adapter of another rank."""
    unet = load_model(str(tiny_pipeline_dir), "cpu").pipeline.unet
    generator = torch.Generator().manual_seed(0)
    for parameter in add_adapter(unet, 3, 6, ["to_q", "to_v"], seed=1):
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5
    (tmp_path / "mine").mkdir()
    save_adapter(unet, tmp_path / "mine")
    with open(tmp_path / "table.csv", "w", newline="") as file:
        csv.writer(file).writerows([("prompt", "seed", "winner", "loser"), *ROWS])
    return tmp_path / "table.csv"


@pytest.fixture
def settings(table: Path) -> dict:
    return {"algorithm": "d3po", "preferences": str(table), "beta": 0, "clip_range": 0.5}


def test_pictures_of_a_table_are_those_that_were_judged(
    small_config, settings, table, tiny_pipeline_dir
):
    setup = set_up(small_config(**settings, batch_size=4))
    mixture = setup.rewards.mixture()
    (batch,) = draw_batches(setup, 1)
    found = draw_episode(setup, mixture, batch)
    mine = str(table.parent / "mine")
    rows = zip(batch.prompts[::2], batch.arms[::2], batch.arms[1::2], strict=True)
    assert set(rows) == {("a blue whale", "base", mine), ("a red apple", mine, "base")}
    judge = load_model(str(tiny_pipeline_dir), "cpu")
    load_adapter(judge.pipeline, table.parent / "mine")
    seeds = {prompt: seed for prompt, seed, *_ in ROWS}
    for k, (prompt, arm) in enumerate(zip(batch.prompts, batch.arms, strict=True)):
        with adapter_off(judge.pipeline.unet) if arm == "base" else nullcontext():
            (picture,) = draw(judge, [prompt], [seeds[prompt]], Sampling(2))
        ours = setup.model.decode(found.episode.latents[k : k + 1])
        torch.testing.assert_close(ours, picture, rtol=0, atol=1e-5)
    assert preferences(found.rewards).tolist() != [1, -1, 1, -1]  # the reward does not decide
    (advantages,), _ = ADVANTAGES[setup.config.method.advantages](setup, [found])
    assert advantages.tolist() == [1, -1, 1, -1]


def test_updates_make_the_winners_likelier_than_the_losers(small_config, settings):
    setup = set_up(small_config(**settings, batch_size=4, preference_beta=10.0))
    mixture = setup.rewards.mixture()
    schedule = setup.model.schedule(2)
    gaussians = decisions(schedule, "smooth", 0.1)
    drawn = draw_episode(setup, mixture, draw_batches(setup, 1)[0])

    def margin() -> torch.Tensor:
        with torch.no_grad():
            states = drawn.episode.states
            kind = drawn.problem.prediction_type
            denoised = denoised_along(drawn.problem.policy, states, schedule, kind)
            joint = log_probs(denoised, drawn.episode, gaussians).sum(0)
        return (joint[0::2] - joint[1::2]).mean()

    before = margin()
    for step in range(1, 4):
        policy_update(setup, mixture, step)
    assert margin() > before


def test_training_on_a_table_leaves_its_adapters_as_they_are_and_resumes(new_run, settings):
    setup = set_up(new_run("other", **settings).config())
    mixture = setup.rewards.mixture()
    trained = {id(parameter) for parameter in setup.learner.parameters}
    parameters = setup.model.pipeline.unet.named_parameters()
    others = {
        name: (one, one.detach().clone()) for name, one in parameters if id(one) not in trained
    }
    assert any("arm_0" in name for name in others)
    policy_update(setup, mixture, 1)
    for name, (parameter, before) in others.items():
        assert torch.equal(parameter, before), name

    straight, broken = new_run("straight", **settings), new_run("broken", **settings)
    list(train(straight))
    train_in_two(broken, stop_at=1)
    assert_same(broken, straight)
