"""Scores by the official packages on drawn pictures, with a stand-in for the packages."""

import sys
from pathlib import Path

import pytest
import torch

from rocm.errors import ConfigError, MissingDependency, MissingFile
from rocm.generation.picture import Picture
from rocm.generation.sampler import Sampler
from rocm.rewards import names, official
from rocm.rewards import official as reference
from rocm.rewards.names import OFFICIAL, check_measured, check_reward, measurable
from rocm.rewards.official import OfficialReward, ReferenceError

# The score tells which picture was seen, as which file, with which prompt and checkpoint.
STAND_IN = """
import json, sys
from PIL import Image
print(json.dumps({"versions": {"hpsv2": "0"}}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["prompt"] == "die":
        sys.exit("out of memory")
    assert (request["scorer"], request["checkpoint"][-6:]) == ("hpsv2", "hps.pt"), request
    reds = [Image.open(path).getpixel((0, 0))[0] for path in request["images"]]
    scores = [float(red + 1000 * len(request["prompt"])) for red in reds]
    print(json.dumps({"id": request["id"], "scores": scores}), flush=True)
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment of the packages, and the files that they read."""
    worker = tmp_path / "worker.py"
    worker.write_text(STAND_IN)
    monkeypatch.setattr(reference, "WORKER", worker)
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
