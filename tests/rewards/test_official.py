"""The official packages' scores: of drawn pictures and through their pipe, with a stand-in."""

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from rocm.errors import ConfigError, MissingDependency, MissingFile
from rocm.generation.picture import Picture
from rocm.generation.sampler import Sampler
from rocm.rewards import names, official
from rocm.rewards.names import OFFICIAL, check_measured, check_reward, measurable
from rocm.rewards.official import OfficialReward, ReferenceError, ReferenceScorer

# The score tells which picture was seen, and with which prompt.
STAND_IN = """
import json, sys
from PIL import Image
print(json.dumps({"versions": {"hpsv2": "0"}}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["prompt"] == "die":
        sys.exit("out of memory")
    if request["gradient"]:
        print(line, file=open(request["gradient"], "w"), flush=True)
    reds = [Image.open(path).getpixel((0, 0))[0] for path in request["images"]]
    answer = {"scores": [float(red + 1000 * len(request["prompt"])) for red in reds]}
    if request["prompt"] == "refuse":
        answer = {"error": "ValueError: no"}
    print(json.dumps({"id": request["id"], **answer}), flush=True)
"""


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """An environment of the packages, and the files that they read."""
    worker = tmp_path / "worker.py"
    worker.write_text(STAND_IN)
    monkeypatch.setattr(official, "WORKER", worker)
    monkeypatch.setattr(official, "find_weights", lambda name: [tmp_path / "hps.pt"])
    monkeypatch.setenv("ROCM_REFERENCE_PYTHON", sys.executable)


@pytest.mark.usefixtures("packages")
def test_each_picture_gets_the_score_of_its_own_file_and_prompt():
    images = torch.tensor([10, 20, 30, 40])[:, None, None, None].expand(4, 3, 8, 8) / 255
    scores = OfficialReward("official:hpsv2.1")(images, ["fox", "a dog", "fox", "cat"])
    assert scores.tolist() == [3010, 5020, 3030, 3040]


@pytest.mark.usefixtures("packages")
def test_a_drawn_picture_is_measured_as_it_is_shown(tiny_pipeline_dir):
    picture = Picture("a fox", model=str(tiny_pipeline_dir), num_inference_steps=1)
    (drawn,) = Sampler("cpu").draw([picture], ["official:hpsv2"])
    assert drawn.scores == {"official:hpsv2": 5000 + drawn.image.getpixel((0, 0))[0]}


@pytest.mark.usefixtures("packages")
def test_packages_that_died_are_started_anew_with_the_next_picture():
    reward, image = OfficialReward("official:hpsv2"), torch.zeros(1, 3, 8, 8)
    with pytest.raises(ReferenceError, match="has died: out of memory"):
        reward(image, ["die"])
    assert reward(image, ["fox"]).tolist() == [3000]


def test_an_official_score_is_measured_only_and_only_where_the_packages_are(monkeypatch):
    monkeypatch.delenv("ROCM_REFERENCE_PYTHON", raising=False)
    for name in OFFICIAL:
        with pytest.raises(MissingDependency, match=r"Run: python -m scripts\.reference FOLDER"):
            check_measured(name)
        with pytest.raises(ConfigError, match="Unknown reward"):
            check_reward(name)
    monkeypatch.setattr(names, "usable_published", lambda: ["hpsv2", "pickscore"])
    assert not set(measurable()) & set(OFFICIAL)
    monkeypatch.setenv("ROCM_REFERENCE_PYTHON", sys.executable)
    assert [name for name in measurable() if name in OFFICIAL] == ["official:hpsv2"]
    with pytest.raises(MissingFile, match="reward=imagereward needs"):
        OfficialReward("official:imagereward")


@pytest.mark.usefixtures("packages")
def test_a_request_carries_absolute_paths_and_a_refusal_leaves_the_packages_ready(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a.png", "b.png")):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(name)
    images, files = [Path("a.png"), Path("b.png")], [Path("IR.pt"), Path("bert/vocab.txt")]
    with ReferenceScorer(sys.executable) as scorer:
        assert scorer.versions == {"hpsv2": "0"}
        with pytest.raises(ReferenceError, match="hpsv2 of the official package failed: ValueErr"):
            scorer.score("hpsv2", images, "refuse", files)
        scores = scorer.score("imagereward", images, "a fox", files, tmp_path / "seen")
    assert scores == [5000, 5001]
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen["images"] == [str(tmp_path / path) for path in images]
    assert seen["checkpoint"] == str(tmp_path / "IR.pt")
    assert seen["vocabulary"] == str(tmp_path / "bert")
    assert (seen["scorer"], seen["prompt"]) == ("imagereward", "a fox")


def test_an_environment_without_the_packages_or_an_interpreter_is_one_sentence():
    with pytest.raises(MissingDependency, match=r"lacks the packages .*hpsv2") as caught:
        ReferenceScorer(sys.executable)
    assert "python -m scripts.reference FOLDER" in str(caught.value)
    with pytest.raises(MissingDependency, match="no/python cannot be started"):
        ReferenceScorer("no/python")
