import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from rocm.config import RunConfig
from rocm.errors import StudyError
from rocm.prompts.split import prompts_of
from rocm.storage.paths import ROOT
from rocm.study.archive.preferences import with_votes
from rocm.study.design import lifecycle
from rocm.training.preferences import BASE, load_preferences
from tests.study.voted import draft, voted

ADAPTER = ROOT / "assets" / "adapters" / "tiny-rocm-kl"


def make(home, **changed):
    """A closed study of the base model and an adapter below `home` that a test may change."""
    shutil.copytree(ADAPTER, home / "mine")
    arms = [{"name": "base"}, {"name": "mine", "adapter": str(home / "mine")}]
    store, study_id = voted(home, arms=arms, prompts={"num": 14}, **changed)
    lifecycle.close(store, study_id)
    return store, study_id


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    store, study_id = make(home)
    yield home, store, study_id
    store.close()


def config(study_id, **settings) -> RunConfig:
    few = {"num_eval_prompts": 4, "num_steps": 1, "batch_size": 4}
    few |= {"preferences": f"study:{study_id}"}
    return RunConfig.load("tiny-d3po", **few | settings)


def test_every_decided_vote_on_the_primary_question_is_a_row(made):
    home, store, study_id = made
    run = config(study_id)
    held_out = prompts_of(run).evaluation
    file = Path(with_votes(run, store, home)[0].preferences)
    expected = Counter()
    for one in store.votes(study_id):
        counts = one.kind == "main" and one.repetition == 0 and one.question == "overall"
        if counts and one.choice != "tie" and one.text not in held_out:
            preferred = one.arm_a if one.choice == "a" else one.arm_b
            expected[one.text, one.seed, preferred] += 1
    rows = load_preferences(str(file), held_out)
    drew = {BASE: "base", str((home / "mine").resolve()): "mine"}
    assert Counter((row.prompt, row.seed, drew[row.winner]) for row in rows) == expected
    assert all({row.winner, row.loser} == set(drew) for row in rows)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    sources = {(line["manifest"], line["source"]) for line in lines}
    assert sources == {(store.study(study_id).config_sha256, "simulated")}


def test_votes_within_an_arm_and_of_several_studies_are_rows_of_one_table(tmp_path):
    store, first = make(tmp_path, within_arms=True)
    arms = [{"name": "base"}, {"name": "mine", "adapter": str(tmp_path / "mine")}]
    _, second = voted(tmp_path, arms=arms, prompts={"num": 14}, seed=9, title="Second")
    lifecycle.close(store, second)
    run = config(first, preferences=f"study:{first} study:{second}")
    file = Path(with_votes(run, store, tmp_path)[0].preferences)
    rows = load_preferences(str(file), prompts_of(run).evaluation)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["study"] for line in lines} == {first, second}
    within = [row for row in rows if row.winner == row.loser]
    assert len(within) == sum("loser_seed" in line for line in lines) > 0
    assert {abs(row.seed - row.loser_seed) for row in within} == {1}
    assert all(row.seed == row.loser_seed for row in rows if row.winner != row.loser)
    # The seed of the winner is that of its picture.
    votes = [v for v in store.votes(first) if v.within and v.choice == "b" and v.kind == "main"]
    seeds = {(row.prompt, row.seed) for row in within}
    told = {(v.text, v.seed + 1) for v in votes if v.question == "overall" and not v.repetition}
    held_out = prompts_of(run).evaluation
    assert {one for one in told if one[0] not in held_out} <= seeds
    store.close()


def test_the_run_keeps_the_table_that_it_began_with(made):
    home, store, study_id = made
    changed, words = with_votes(config(study_id[:5]), store, home)
    file = Path(changed.preferences)
    assert file.parent == home.resolve() / "studies" / study_id
    assert "left out" in words
    assert with_votes(changed, store, home) == (changed, "")
    assert with_votes(config(study_id), store, home)[0] == changed


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("num_inference_steps", 8, "num_inference_steps=4, but here it is 8"),
     ("guidance_scale", 2.0, "guidance_scale=8.5, but here it is 2.0"),
     ("grid", "rlcm", "grid=current, but here it is rlcm"),
     ("num_eval_prompts", 76, "no vote to train on")],
)  # fmt: skip
def test_pictures_that_the_run_would_not_draw_are_no_table(made, name, value, words):
    home, store, study_id = made
    with pytest.raises(StudyError, match=words):
        with_votes(config(study_id, **{name: value}), store, home)


def test_an_adapter_that_was_changed_or_a_study_that_runs_is_no_table(tmp_path):
    store, study_id = make(tmp_path)
    weights = next((tmp_path / "mine").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    _, other = draft(tmp_path, title="Another")
    for name, words in (
        (study_id, "was changed"),
        ("zz", "There is no study 'zz'"),
        (other, r"is draft\. Close it before training"),
    ):
        with pytest.raises(StudyError, match=words):
            with_votes(config(name), store, tmp_path)
    store.close()
