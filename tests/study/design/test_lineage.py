"""The chain of hashes from votes over a reward and an adapter to votes, and what breaks it."""

import json
import shutil

import pytest
import torch
from sqlalchemy import update

from rocm.config import RunConfig
from rocm.errors import StudyError
from rocm.rewards.preference import save_preference
from rocm.rewards.preference_files import RECORD, rewards_folder
from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT
from rocm.study.archive.learning import gather
from rocm.study.archive.verify import verify
from rocm.study.design import lifecycle
from rocm.study.design.lineage import lineages
from rocm.study.report.loop import arm_settings, last_study, loop_of
from rocm.study.report.stored import study_report
from rocm.study.store import chain
from rocm.study.store.pictures import Pictures
from rocm.study.store.simulated_raters import crowd_of_score, simulate_raters
from rocm.study.store.tables import arm, study
from tests.study.small import column
from tests.study.voted import draft, voted

NAME = "preference:mine"
SHIPPED = ROOT / "assets" / "adapters" / "tiny-rocm-kl"


def head(store, study_id):
    with store.database.read() as connection:
        return chain.end_of(connection, study_id)["head"]


def add_reward(home, store, study_id):
    """A reward that has learned from a study, as `preference fit` writes it."""
    record = {"rewards": ["saturation"], "embedding": "tiny-clip", "model": "assets/tiny-lcm"}
    record |= {"studies": {study_id: store.study(study_id).config_sha256}}
    record |= {"votes": {study_id: head(store, study_id)}, "best_single": "saturation"}
    save_preference(rewards_folder(home) / "mine", {"mean": torch.ones(1)}, record, {})
    return json.loads((rewards_folder(home) / "mine" / RECORD).read_text())["sha256"]


def add_run(home, name, config, sha256=""):
    run = RunDir.create(home / "runs" / name, config)
    shutil.copytree(SHIPPED, run.path / "adapter")
    run.write_manifest({"learned_rewards": {NAME: sha256}})
    return run


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A closed study, a reward learned from it, a run trained on that, and the home."""
    monkeypatch.setenv("ROCM_HOME", str(tmp_path))
    store, study_id = voted(tmp_path, is_demo=False)
    lifecycle.close(store, study_id)
    sha256 = add_reward(tmp_path, store, study_id)
    add_run(tmp_path, "mine", RunConfig(reward=NAME), sha256)
    yield tmp_path, store, study_id, sha256
    store.close()


def second(home, **changed):
    """An open study of the run and the base model, with votes."""
    arms = [{"name": "base"}, {"name": "mine", "adapter": "run:mine"}]
    store, study_id = draft(home, title="Second", arms=arms, prompts={"num": 12}, **changed)
    lifecycle.open_study(store, study_id)
    simulate_raters(store, study_id, 3, crowd_of_score(store, study_id, 0.4))
    lifecycle.close(store, study_id)
    return store, study_id


def test_the_report_shows_every_link_from_votes_to_votes(made):
    home, store, first, sha256 = made
    store_b, last = second(home)
    report = study_report(store_b, last)
    links = dict(report.info.links)
    assert links[f"design of study {first}"] == store.study(first).config_sha256
    assert links[f"votes of study {first}"] == head(store, first)
    assert links[f"learned from them: {NAME}"] == sha256
    assert [links["adapter of arm mine"]] == column(
        store_b, arm.c.adapter_sha256, arm.c.study_id == last, arm.c.name == "mine"
    )
    text = report.to_markdown()
    assert all(hashed in text for hashed in [*links.values(), report.info.manifest_sha256])
    assert "From votes to votes" not in study_report(store, first).to_markdown()
    store_b.close()


def test_verify_follows_the_chain_and_names_the_link_that_broke(made):
    home, _, first, _ = made
    store_b, last = second(home)
    pictures = Pictures(home / "study-pictures")
    assert verify(store_b, pictures, last) == []
    record = rewards_folder(home) / "mine" / RECORD
    kept = record.read_text()
    (rewards_folder(home) / "mine").rename(home / "elsewhere")
    assert verify(store_b, pictures, last) == []  # what is not here cannot be wrong
    (home / "elsewhere").rename(rewards_folder(home) / "mine")
    save_preference(record.parent, {"mean": torch.zeros(1)}, json.loads(kept), {})
    assert any(NAME in fault for fault in verify(store_b, pictures, last))
    record.with_name("preference.safetensors").write_bytes(b"")
    assert any(NAME in fault for fault in verify(store_b, pictures, last))
    with store_b.database.write() as w:
        w.execute(update(study).where(study.c.id == first).values(key_nonce="0" * 32))
    faults = verify(store_b, pictures, last)
    assert any(fault.startswith(f"Study {first}: ") for fault in faults)
    store_b.close()


def test_a_run_that_was_trained_on_another_reward_of_the_name_is_no_arm(made):
    home, *_ = made
    add_run(home, "other", RunConfig(reward=NAME), "0" * 64)
    arms = [{"name": "base"}, {"name": "mine", "adapter": "run:other"}]
    with pytest.raises(StudyError, match="not trained on the preference:mine"):
        draft(home, title="Second", arms=arms, prompts={"num": 12})


def test_the_loop_says_what_is_done_and_builds_its_last_study(made):
    home, store, first, sha256 = made
    loop = loop_of(store, home, first)
    assert [stage.is_done for stage in loop.stages] == [True, True, False, False, False]
    assert loop.num_votes == len(gather(store, [first]).votes) < len(store.votes(first))
    with pytest.raises(StudyError, match="not all trained"):
        last_study(store, home, first)
    (home / "runs" / "mine" / "adapter").rename(home / "adapter")
    wanted = arm_settings(store, home, first)
    assert len(wanted) == 3
    for number, (_, config) in enumerate(wanted.values()):
        add_run(home, f"arm-{number}", config, sha256)
    loop = loop_of(store, home, first)
    assert sorted(loop.runs.values()) == ["arm-0", "arm-1", "arm-2"]
    recipe = last_study(store, home, first)
    assert recipe.prompts.split == "test"
    assert [one.adapter for one in recipe.arms] == ["", "run:arm-0", "run:arm-1", "run:arm-2"]
    assert NAME in recipe.rewards
    values = recipe.model_dump() | {"rewards": ()}
    store_b, last = draft(home, **values)
    loop = loop_of(store_b, home, first)
    assert (loop.last, loop.last_status) == (last, "draft")
    assert [stage.is_done for stage in loop.stages] == [True] * 4 + [False]
    with store_b.database.read() as connection:
        learned = [source for _, own in lineages(connection, last) for source in own]
    assert {source["source"].split("-")[0] for source in learned} == {NAME, "preferences"}
    store_b.close()
