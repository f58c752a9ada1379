"""The pipe to the official packages, with a stand-in at its end: requests, refusals, deaths."""

import json
import sys
from pathlib import Path

import pytest

from rocm.errors import MissingDependency
from rocm.rewards import official
from rocm.rewards.official import ReferenceError, ReferenceScorer

STAND_IN = """
import json, sys
print(json.dumps({"versions": {"hpsv2": "0"}}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["prompt"] == "die":
        sys.exit("out of memory")
    if request["prompt"] == "refuse":
        answer = {"error": "ValueError: no"}
    else:
        print(line, file=open(request["gradient"], "w"))
        answer = {"scores": [float(len(path)) for path in request["images"]]}
    print(json.dumps({"id": request["id"], **answer}), flush=True)
"""


@pytest.fixture
def scorer(tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    worker.write_text(STAND_IN)
    monkeypatch.setattr(official, "WORKER", worker)
    with ReferenceScorer(sys.executable) as one:
        yield one


def test_a_request_carries_absolute_paths_and_brings_one_score_a_picture(scorer, tmp_path):
    images = [Path("a.png"), Path("longer.png")]
    files = [Path("ImageReward.pt"), Path("bert/vocab.txt")]
    scores = scorer.score("imagereward", images, "a fox", files, tmp_path / "seen")
    here = Path.cwd()
    assert scorer.versions == {"hpsv2": "0"}
    assert scores == [len(str(here / path)) for path in images]
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen["checkpoint"] == str(here / "ImageReward.pt")
    assert seen["vocabulary"] == str(here / "bert")
    assert (seen["scorer"], seen["prompt"]) == ("imagereward", "a fox")


def test_a_refusal_leaves_the_packages_ready_and_a_death_is_told_with_its_reason(scorer, tmp_path):
    files = [Path("x.pt")]
    with pytest.raises(ReferenceError, match="hpsv2 of the official package failed: ValueError"):
        scorer.score("hpsv2", [Path("a.png")], "refuse", files)
    assert len(scorer.score("hpsv2", [Path("a.png")], "a fox", files, tmp_path / "seen")) == 1
    with pytest.raises(ReferenceError, match="has died: out of memory"):
        scorer.score("hpsv2", [Path("a.png")], "die", files)
    with pytest.raises(ReferenceError, match="has died: out of memory"):
        scorer.score("hpsv2", [Path("a.png")], "again", files)


def test_an_environment_without_the_packages_is_one_sentence():
    with pytest.raises(MissingDependency, match=r"lacks the packages .*hpsv2") as caught:
        ReferenceScorer(sys.executable)
    assert "python -m scripts.reference FOLDER" in str(caught.value)


def test_a_missing_interpreter_is_one_sentence():
    with pytest.raises(MissingDependency, match="no/python cannot be started"):
        ReferenceScorer("no/python")
