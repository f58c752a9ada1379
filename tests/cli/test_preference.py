"""`preference fit` from stored votes to a reward that scores pictures."""

import json
import random

import numpy as np
import pytest
import torch
from PIL import Image

from rocm.cli.learning import pick_pairs
from rocm.cli.main import main
from rocm.cli.study import StudyHome
from rocm.generation.picture import picture_file, png_bytes
from rocm.rewards.load import load_rewards
from rocm.rewards.preference_files import RECORD, rewards_folder
from rocm.study.design import lifecycle
from rocm.study.design.build import recipe_file
from rocm.study.design.recipe import Recipe
from rocm.study.design.rounds import next_recipe
from rocm.study.report.results import Results
from rocm.study.report.stored import study_report
from rocm.study.store.pictures import Pictures
from rocm.study.store.simulated_raters import (
    Tasters,
    crowd_of_score,
    shown_pictures,
    simulate_raters,
)
from tests.study import voted
from tests.study.design.test_build import FakeQueue

NAME = "preference:warm"


def warmth(pictures: Pictures, name: str) -> float:
    with Image.open(pictures.file(name)) as picture:
        return float((np.array(picture)[0, 0] @ np.array([1.0, 0.0, -1.0])) / 255)


class FlatQueue(FakeQueue):
    """Draws pictures of a single random color."""

    def results(self, number):
        pictures, folder, _ = self.requests[number]
        for index, picture in enumerate(pictures):
            dice = random.Random(f"{picture.prompt}{picture.seed}{picture.adapter}")
            file = picture_file(folder, index)
            color = tuple(dice.randbytes(3))
            file.write_bytes(png_bytes(Image.new("RGB", (64, 64), color), picture))
            yield index, file, {}


def check_round(home, store, study_id):
    """A further round keeps the wanted number of pairs, and says that they were picked."""
    recipe = next_recipe(Recipe.load(recipe_file(home, study_id)))
    assert recipe.prompts.split == "training"
    assert next_recipe(recipe).title == recipe.title[:-1] + "3"
    values = recipe.model_dump() | {"prompts": {"num": 10}, "votes_per_pair": 1}
    own, draft = voted.draft(home, **values)
    at = StudyHome(home, own, Pictures(home / "study-pictures"))
    pairs = [pair for pair in lifecycle.pairs(own, draft) if pair.kind == "main"]
    lifecycle.strike(own, draft, pairs[0].id, "shows text")
    for _ in range(2):  # a repeated command picks the same pairs
        assert pick_pairs(at, draft, [study_id], 24) == 24
        struck = {pair.id: pair.struck for pair in lifecycle.pairs(own, draft)}
        assert struck[pairs[0].id] == "shows text"
        assert sum(struck[pair.id] is None for pair in pairs) == 24
    lifecycle.open_study(own, draft)
    simulate_raters(own, draft, 3, crowd_of_score(own, draft, 0.6))
    lifecycle.close(own, draft)
    cautions = study_report(own, draft).content()["results"]["cautions"]
    assert any("picked" in words for words in cautions)
    before = study_report(store, study_id).content()["results"]["cautions"]
    assert not any("picked" in words for words in before)
    own.close()


@pytest.mark.slow
def test_votes_for_warm_pictures_make_a_reward_that_prefers_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ROCM_HOME", str(tmp_path))
    monkeypatch.setattr(voted, "FakeQueue", FlatQueue)
    design = {"prompts": {"num": 40}, "rewards": [], "votes_per_pair": 5, "repeats_per_rater": 2}
    store, study_id = voted.draft(tmp_path, **design)
    lifecycle.open_study(store, study_id)
    pictures = Pictures(tmp_path / "study-pictures")
    liked = {name: warmth(pictures, name) for name in shown_pictures(store, study_id)}
    crowd = {name: np.full(40, 8 * value) for name, value in liked.items()}
    simulate_raters(store, study_id, 40, Tasters(crowd, 0.25, np.random.default_rng(0)))
    lifecycle.close(store, study_id)
    words = Results(tmp_path, store).learn([study_id], "warm")
    assert "preference:warm" in words
    folder = rewards_folder() / "warm"
    record = json.loads((folder / RECORD).read_text())
    assert record["studies"] == {study_id: store.study(study_id).config_sha256}
    assert {file.name for file in folder.iterdir()} >= {"card.html", "card.md"}
    reward = load_rewards([NAME], torch.device("cpu"))[NAME]
    warm, cold = torch.tensor([0.8, 0.4, 0.2]), torch.tensor([0.2, 0.4, 0.8])
    images = torch.stack([warm, cold])[:, :, None, None].expand(2, 3, 64, 64)
    values = reward(images.clone(), ["a red apple"] * 2)
    assert values[0] > values[1]
    check_round(tmp_path, store, study_id)
    assert main(["preference", "fit", f"study:{study_id}", "--name", "warm"]) == 2
    assert "exists" in capsys.readouterr().err
    store.close()
