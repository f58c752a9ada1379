"""What is drawn for a request, and the sentence that a request without an answer gets."""

import hashlib
import json
import shutil
from dataclasses import asdict

import pytest

from rocm.config import RunConfig
from rocm.errors import ConfigError, RocmError
from rocm.evaluation.plan import PLAN, make_plan
from rocm.evaluation.request import JUDGE, Request, prompt_set
from rocm.rewards.preference_files import RECORD, TENSORS, rewards_folder
from rocm.runs.adapters import WEIGHTS
from rocm.runs.run_dir import RunDir
from tests.generation.conftest import write_adapter

ARMS = ("base", "run:first", "run:second")


def asked(**changes):
    return Request(**{"arms": ARMS, "prompts": ("an apple", "a pear"), "num_seeds": 3} | changes)


def made(home, **changes):
    return make_plan(asked(**changes), home / "runs")


def test_every_arm_draws_the_same_prompts_from_the_same_seeds(home):
    found = made(home, seed=5)
    drawn = [found.picture(index) for index in range(found.num_pictures)]
    noise = [(picture.prompt, picture.seed) for picture in drawn]
    assert noise[:6] == noise[6:12] == noise[12:]
    assert noise[:6] == [(text, seed) for text in ("an apple", "a pear") for seed in (5, 6, 7)]
    assert len({picture.adapter for picture in drawn}) == 3
    settings = {(p.num_inference_steps, p.guidance_scale, p.grid, p.model) for p in drawn}
    assert len(settings) == 1
    assert found.cell(10) == (1, 1, 1)


def test_a_reward_learned_from_another_models_pictures_is_refused(home, monkeypatch):
    monkeypatch.setenv("ROCM_HOME", str(home))
    folder = rewards_folder() / "theirs"
    folder.mkdir(parents=True)
    record = {"rewards": [], "embedding": "tiny-clip", "model": "other/model", "studies": {}}
    record["sha256"] = hashlib.sha256(b"").hexdigest()
    (folder / TENSORS).write_bytes(b"")
    (folder / RECORD).write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="learned from pictures of other/model"):
        made(home, rewards=("preference:theirs",))
    own = RunDir(home / "runs" / "first").config().model
    (folder / RECORD).write_text(json.dumps(record | {"model": own}))
    assert "preference:theirs" in made(home, rewards=("preference:theirs",)).rewards


def test_what_an_arm_was_trained_on_is_measured_and_the_judge_is_held_out(home):
    found = made(home, rewards=("colorfulness",))
    assert found.rewards == ("colorfulness", "saturation", JUDGE)
    assert [column.trained for column in found.columns] == [(), ("saturation",), ("saturation",)]
    assert found.judge == JUDGE
    assert {"contrast", "edge_density", "color_entropy", "kl_nats"} < set(found.measures)
    run = RunDir(home / "runs" / "first")
    on_judge = RunConfig.load(run.config().model_dump(), reward=JUDGE, judge="")
    (run.path / "config.yaml").write_text(on_judge.to_yaml())
    assert made(home).judge == ""


@pytest.mark.parametrize(
    ("axis", "values", "columns"),
    [
        ("num_inference_steps", (1, 2), ["base N 1", "base N 2", "first N 1", "first N 2"]),
        ("guidance_scale", (2, 7.5), ["base guidance 2", "base guidance 7.5"]),
        ("adapter_strength", (0.5, 1), ["base", "first x 0.5", "first x 1", "second x 0.5"]),
    ],
)
def test_an_axis_multiplies_the_columns_and_the_base_is_of_the_same_value(
    home, axis, values, columns
):
    found = made(home, axis=axis, values=values)
    assert [column.title for column in found.columns][: len(columns)] == columns
    for number, column in enumerate(found.columns):
        base = found.columns[found.base_of(number)]
        assert base.is_base
        if axis != "adapter_strength":
            assert getattr(base.picture, axis) == getattr(column.picture, axis)


def test_checkpoints_of_a_run_stand_side_by_side_beside_one_base(home):
    found = made(home, arms=("base", "run:first"), axis="checkpoint")
    titles = [column.title for column in found.columns]
    assert titles == ["base", "first after 0", "first after 20", "first after 40"]
    assert found.columns[2].picture.adapter.endswith("step_000020")
    assert [found.base_of(number) for number in range(4)] == [0] * 4


def test_a_plan_has_one_name_until_an_adapter_changes(home, tiny_adapters):
    first = made(home)
    read = PLAN.validate_python(json.loads(json.dumps(asdict(first))))
    assert read == made(home) == first
    assert read.key == made(home).key == first.key
    assert made(home, seed=1).key != first.key
    shutil.copy(tiny_adapters[1] / WEIGHTS, home / "runs/first/adapter" / WEIGHTS)
    assert made(home).key != first.key


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"arms": ()}, "There are no arms. Choose at least one"),
        ({"arms": ("base", "base")}, "Arms 1 and 2 are the same ('base')"),
        ({"arms": ("run:../../etc",)}, "has no adapter"),
        ({"prompts": ()}, "There are no prompts"),
        ({"prompts": ("one", "two", " one")}, "Prompts 1 and 3 are the same ('one')"),
        ({"prompts": ("one", "t\x07o")}, "Prompt 2 holds the control character '\\x07'"),
        ({"prompts": tuple(map(str, range(2001)))}, "2,001 prompts were given; allowed are 1 to"),
        ({"num_seeds": 0}, "num_seeds=0 is not allowed"),
        ({"num_inference_steps": 9}, "num_inference_steps=9 is outside"),
        ({"axis": "color", "values": (1,)}, "axis='color' is not allowed. Axes:"),
        ({"axis": "guidance_scale"}, "The axis guidance needs values"),
        ({"axis": "guidance_scale", "values": (2, 2)}, "Values 1 and 2 are the same"),
        ({"axis": "checkpoint", "values": (7,)}, "first has no checkpoint after 7 updates"),
        ({"axis": "checkpoint"}, "second has no checkpoints to vary"),
        ({"rewards": ("beauty",)}, "Unknown reward 'beauty'"),
    ],
)
def test_a_request_that_cannot_be_drawn_is_one_sentence(home, changes, sentence):
    with pytest.raises(RocmError) as refused:
        made(home, **changes)
    assert sentence in str(refused.value)


def test_arms_that_do_not_fit_one_base_model_are_refused_by_name(home, tiny_pipeline_dir):
    RunDir.create(home / "runs" / "other", RunConfig()).mark_ended("finished")
    write_adapter("assets/tiny-lcm", home / "runs" / "other" / "adapter")
    with pytest.raises(ConfigError) as refused:
        made(home, arms=("run:first", "run:other"))
    for word in ("different base models", "first", "other", str(tiny_pipeline_dir), "tiny-lcm"):
        assert word in str(refused.value)
    with pytest.raises(ConfigError, match="the chosen model has assets/tiny-lcm, first has"):
        made(home, model="assets/tiny-lcm")
    copied = shutil.copytree("assets/adapters/tiny-rlcm", home / "elsewhere")
    with pytest.raises(ConfigError, match="elsewhere does not fit"):
        made(home, arms=("run:first", str(copied)))


def test_in_public_no_folder_no_model_and_no_large_comparison(home):
    for changes, words in (
        ({"arms": (str(home / "runs" / "first" / "adapter"),)}, "public page"),
        ({"model": "assets/tiny-lcm"}, "public page"),
        ({"rewards": ("clip:/etc",)}, "public page"),
        ({"prompts": tuple(map(str, range(40)))}, "at most 64"),
    ):
        with pytest.raises(RocmError, match=words):
            make_plan(asked(**changes), home / "runs", is_public=True)
    with pytest.raises(ConfigError, match="There is no set"):
        prompt_set("/etc/passwd", 3, 0, is_public=True)


def test_a_set_is_drawn_by_its_seed_and_a_longer_draw_begins_with_the_shorter(tmp_path):
    assert prompt_set("held-out", 5, 1) == prompt_set("held-out", 9, 1)[:5]
    assert prompt_set("held-out", 5, 1) != prompt_set("held-out", 5, 2)
    assert not {*prompt_set("held-out", 2000, 0)} & {*prompt_set("training", 2000, 0)}
    file = tmp_path / "prompts.txt"
    file.write_text("one\ntwo\n\none\n")
    with pytest.raises(ConfigError, match="Prompts 1 and 3 are the same"):
        prompt_set(str(file), 2, 0)
