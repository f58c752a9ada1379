"""`beta: auto` in runs of a few updates: budget, ratchet, strength, held-out prompts, resume."""

import pytest
import torch
from safetensors.torch import load_file

from rocm.algorithms.budget import PRICE, Budget
from rocm.errors import RunError, TrainingError
from rocm.models.lora import WEIGHTS
from rocm.training import steering
from rocm.training.beta_control import BetaControl
from rocm.training.loop import train
from rocm.training.setup import set_up
from rocm.training.steering import DEARER, look
from rocm.training.update import update
from tests.training.choices import adapter, assert_same, each_algorithm, measured, train_in_two
from tests.training.threads import by_both, set_up_pair

SIZE = 4 * 8 * 8  # elements of a latent
# The start ends with the first KL above a quarter of this.
HELD = {"beta": "auto", "kl_budget": 1e-3}
STEERED = {"beta": "auto", "reward": "saturation", "track": "", "num_steps": 16, "eval_every": 2}
STEERED |= {"num_eval_prompts": 8, "judge": "colorfulness"}


@pytest.fixture
def world(monkeypatch):
    """Looks whose reward and judge, in deviations, follow from the size of the adapter's update.

    `judge` is a factor of the reward, or a function of the size's share of the largest one.
    """

    def make(run, judge):
        levels, largest = {}, [0.0]

        def seen(setup, step):
            named = setup.model.pipeline.unet.named_parameters()
            sizes = [one.detach().abs().mean() for name, one in named if ".lora_B." in name]
            size = 10 * torch.stack(sizes).mean()
            largest[0] = max(size.item(), largest[0])
            level = size + torch.linspace(0, 1, 8)
            levels.setdefault(step if size else 0, level)
            scales = run.manifest()["base_scores"]
            judged = judge(size / (largest[0] or 1)) if callable(judge) else judge * level
            by_name = {"saturation": level, "colorfulness": judged + torch.zeros(8)}
            return {name: one * scales[name]["deviation"] for name, one in by_name.items()}

        monkeypatch.setattr(steering, "look", seen)
        return levels

    return make


def warned(run):
    return [event["warning"] for event in run.events() if event["kind"] == "warning"]


@pytest.mark.slow
@each_algorithm
def test_every_algorithm_resumes_its_controller_bit_for_bit(new_run, settings):
    straight, broken = (new_run(name, **settings, **HELD) for name in ("straight", "broken"))
    list(train(straight))
    train_in_two(broken, stop_at=2)
    assert_same(broken, straight)
    betas = [row["beta"] for row in measured(straight)[1:]]
    assert betas[0] == 0 < betas[-1]


@pytest.mark.slow
def test_a_steered_run_resumes_bit_for_bit(new_run):
    straight, broken = (new_run(name, **STEERED) for name in ("straight", "broken"))
    list(train(straight))
    train_in_two(broken, stop_at=13)
    assert_same(broken, straight)


@pytest.mark.parametrize("settings", [{}, {"algorithm": "rlcm", "standardize": False}])
def test_while_the_judge_rises_a_nat_has_the_same_price(new_run, world, settings):
    run = new_run("run", **STEERED, **settings, audit="smoothness")
    world(run, judge=1)
    list(train(run))
    rows = run.metrics()
    assert rows[1]["beta"] == 0
    own = [row["beta"] * row["divergence"] / row["kl_nats"] for row in rows[3:]]
    assert own == pytest.approx([PRICE / SIZE] * len(own), rel=1e-2)
    assert not any("kl_budget" in row for row in rows)
    assert not {"step-back", "nothing-to-gain"} & set(warned(run))
    assert run.events()[-1]["strength"] == 1
    assert all("audit/smoothness" in row for row in rows if "eval/reward" in row)
    assert (run.manifest()["is_judge_steering"], run.manifest()["audit"]) == (True, "smoothness")


def test_a_judge_that_falls_takes_the_run_back_and_its_strength_down(new_run, world):
    run = new_run("run", **STEERED)
    world(run, judge=-20)
    list(train(run))
    back = [event["step"] for event in run.events() if event.get("warning") == "step-back"]
    rows, name = run.metrics(), "heldout/colorfulness"
    assert rows[back[0] - 1]["kl_nats"] > 0
    # Nothing but the base model was clean, and the evaluation shows what goes on.
    assert rows[back[0]][name] == pytest.approx(rows[0][name], abs=1e-6)
    before, after = (rows[step]["beta"] for step in (back[0], back[0] + 1))
    assert after == pytest.approx(DEARER * before, rel=1e-2)
    assert {"nothing-to-gain", "turned-down"} <= set(warned(run))
    assert run.events()[-1]["strength"] == 0
    kept, last = adapter(run), load_file(run.checkpoint_dir(16) / WEIGHTS)
    for key, value in last.items():
        factor = 0 if "lora_B" in key or "lora.up" in key else 1
        torch.testing.assert_close(kept[key], factor * value)


# In the last case the judge likes 0.5 and 0.75 almost alike.
@pytest.mark.parametrize(("best", "kept"), [(0.25, 0.25), (0.5, 0.5), (0.62, 0.75)])
def test_an_adapter_is_turned_down_as_far_as_the_judge_likes(new_run, world, best, kept):
    run = new_run("run", **{**STEERED, "num_steps": 4, "eval_every": 4})
    world(run, judge=lambda share: 2 - abs(share - best) if share else 0)
    list(train(run))
    assert run.events()[-1]["strength"] == kept


def test_a_judge_that_differs_by_less_than_its_noise_leaves_the_strength_at_one(new_run, world):
    run = new_run("run", **STEERED)
    world(run, judge=torch.tensor([-5.0, 4.0] * 4))  # lower strengths have the better mean
    list(train(run))
    assert run.events()[-1]["strength"] == 1


def test_a_given_budget_leaves_the_judge_alone(new_run, world):
    run = new_run("run", **{**STEERED, **HELD})
    world(run, judge=-1)
    list(train(run))
    assert {row["kl_budget"] for row in run.metrics()[1:]} == {1e-3}
    assert not {"step-back", "nothing-to-gain"} & set(warned(run))
    assert run.manifest()["is_judge_steering"] is False


def test_looks_draw_no_evaluation_prompt_and_have_noise_of_their_own(small_config):
    setup = set_up(small_config(**STEERED, num_prompts=20))
    drawn = []

    def drawing(prompts, seeds, rewards):
        drawn.append((list(prompts), list(seeds)))
        return scored(setup, prompts, seeds, rewards)

    scored = type(setup).scored
    object.__setattr__(setup, "scored", drawing)
    first, again, later = look(setup, 4), look(setup, 4), look(setup, 8)
    assert all(torch.equal(first[name], again[name]) for name in first)
    prompts, seeds = drawn[0]
    assert set(prompts) <= set(setup.data.prompts.train)
    assert not set(prompts) & set(setup.data.prompts.evaluation)
    assert not set(seeds) & {*range(len(setup.data.prompts.evaluation)), *drawn[2][1]}
    assert not torch.equal(first["saturation"], later["saturation"])


def test_two_processes_look_at_the_pictures_of_one(small_config):
    config = small_config(**STEERED)
    alone = look(set_up(config), 4)
    for one in by_both(look, set_up_pair(config), 4):
        torch.testing.assert_close(one, alone)


def steered(setup):
    start = setup.evaluate().scales()
    steering.begin(setup, deviation=1.0)
    for step in range(1, 12):
        update(setup, setup.rewards.mixture(start), step)
        if step in (5, 11):
            steering.steer(setup, start, step)
    return setup.learner.control.state_dict()


@pytest.mark.slow
def test_two_processes_steer_alike(small_config):
    config = small_config(**STEERED, batch_size=4)
    one, other = by_both(steered, set_up_pair(config))
    for name in ("budget", "watch", "clean_step"):
        assert one[name] == other[name], name
    torch.testing.assert_close(one["clean"], other["clean"], rtol=0, atol=0)


def test_the_state_of_an_older_version_is_refused_in_a_sentence():
    state = BetaControl(Budget()).state_dict() | {"clean_rise": 0.0}
    with pytest.raises(RunError, match="Train it anew"):
        BetaControl(Budget()).load_state_dict(state)


def test_a_policy_that_does_not_move_has_no_budget(new_run):
    run = new_run("run", **HELD, num_steps=12, learning_rate=1e-30)
    with pytest.raises(TrainingError, match="Raise learning_rate"):
        list(train(run))
