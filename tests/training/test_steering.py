"""`beta: auto` in runs of a few updates: budget, ratchet, strength, held-out prompts, resume."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file

from rocm.errors import TrainingError
from rocm.models.lora import WEIGHTS
from rocm.training.loop import train
from rocm.training.setup import set_up
from rocm.training.steering import look
from tests.training.choices import ALGORITHMS
from tests.training.threads import pair

CLOCK = ("time", "seconds", "images_per_s", "memory_mb")
# The start ends with the first KL above a quarter of this.
HELD = {"beta": "auto", "kl_budget": 1e-3}
STEERED = {"beta": "auto", "reward": "saturation", "track": "", "num_steps": 16, "eval_every": 4}
STEERED |= {"num_eval_prompts": 8, "learning_rate": 0.02}
JUDGES = """
from rocm.rewards.color import saturation

def friend(images, prompts):
    return saturation(images)

def foe(images, prompts):
    return -saturation(images)
"""


@pytest.fixture
def judges(tmp_path):
    path = tmp_path / "judges.py"
    path.write_text(JUDGES)
    return {"friend": f"{path}:friend", "foe": f"{path}:foe"}


def measured(run):
    return [{key: row[key] for key in row if key not in CLOCK} for row in run.metrics()]


def warned(run):
    return [event["warning"] for event in run.events() if event["kind"] == "warning"]


def weights(folder):
    return load_file(folder / WEIGHTS)


@pytest.mark.parametrize("settings", ALGORITHMS.values(), ids=ALGORITHMS)
def test_every_algorithm_resumes_its_controller_bit_for_bit(new_run, settings):
    straight, broken = (new_run(name, **settings, **HELD) for name in ("straight", "broken"))
    list(train(straight))
    for progress in train(broken):
        if progress.step == 2:
            broken.request("stop")
    list(train(broken, resume=True))
    assert measured(broken) == measured(straight)
    betas = [row["beta"] for row in measured(straight)[1:]]
    assert betas[0] == 0 < betas[-1]


def test_a_steered_run_resumes_bit_for_bit(new_run, judges):
    runs = [new_run(name, **STEERED, judge=judges["friend"]) for name in ("straight", "broken")]
    list(train(runs[0]))
    for progress in train(runs[1]):
        if progress.step == 13:
            runs[1].request("stop")
    list(train(runs[1], resume=True))
    assert measured(runs[0]) == measured(runs[1])
    one, other = (weights(run.path / "adapter") for run in runs)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_budget_grows_while_a_judge_rises_with_the_reward(new_run, judges):
    run = new_run("run", **STEERED, judge=judges["friend"], audit="colorfulness")
    list(train(run))
    budgets = [row["kl_budget"] for row in run.metrics() if "kl_budget" in row]
    assert budgets == sorted(budgets)
    assert budgets[-1] > 1.2 * budgets[0]
    assert not {"step-back", "nothing-to-gain"} & set(warned(run))
    assert run.events()[-1]["strength"] == 1
    assert all("audit/colorfulness" in row for row in run.metrics() if "eval/reward" in row)
    told = run.manifest()
    assert (told["is_judge_steering"], told["audit"]) == (True, "colorfulness")


def test_a_judge_that_falls_takes_the_run_back_and_its_strength_down(new_run, judges):
    run = new_run("run", **STEERED, judge=judges["foe"])
    list(train(run))
    back = [event["step"] for event in run.events() if event.get("warning") == "step-back"]
    rows = {row["step"]: row for row in run.metrics()}
    name = f"heldout/{judges['foe']}"
    # Nothing but the base model was clean, and the evaluation shows what goes on.
    assert rows[back[0]][name] == pytest.approx(rows[0][name], abs=1e-6)
    assert rows[back[0] - 1]["kl_nats"] > 0
    assert "nothing-to-gain" in warned(run)
    assert run.events()[-1]["strength"] == 0.25
    kept, last = weights(run.path / "adapter"), weights(run.checkpoint_dir(16))
    for key, value in last.items():
        factor = 0.25 if "lora_B" in key or "lora.up" in key else 1
        torch.testing.assert_close(kept[key], factor * value)


def test_a_given_budget_leaves_the_judge_alone(new_run, judges):
    run = new_run("run", **{**STEERED, **HELD}, judge=judges["foe"])
    list(train(run))
    assert {row["kl_budget"] for row in run.metrics()[1:]} == {1e-3}
    assert set(warned(run)) <= {"budget", "oscillation", "saturation", "collapse", "hacking"}
    assert run.manifest()["is_judge_steering"] is False


def test_looks_draw_no_evaluation_prompt_and_have_noise_of_their_own(small_config, judges):
    setup = set_up(small_config(**STEERED, judge=judges["friend"], num_prompts=20))
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


def test_two_processes_look_at_the_pictures_of_one(small_config, judges):
    config = small_config(**STEERED, judge=judges["friend"])
    alone = look(set_up(config), 4)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(look, [set_up(config, (), ranks) for ranks in pair()], (4, 4)))
    for one in found:
        torch.testing.assert_close(one, alone)


def test_a_policy_that_does_not_move_has_no_budget(new_run):
    run = new_run("run", **HELD, num_steps=12, learning_rate=1e-30)
    with pytest.raises(TrainingError, match="Raise learning_rate"):
        list(train(run))
