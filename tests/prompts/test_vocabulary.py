"""Words that a model has not seen, on a vocabulary of two subjects."""

import json

import pytest

from rocm.prompts.split import load_prompts
from rocm.prompts.vocabulary import load_vocabulary, remark

RECORD = {
    "pattern": r"[^\W_]+",
    "styles": ["flat"],
    "grounds": ["white", "orange"],
    "subjects": [
        {"name": "red apple", "caption": "a red apple", "group": "food", "aliases": ["apple"]},
        {"name": "jack-o-lantern", "caption": "a jack-o-lantern", "group": "x", "aliases": []},
    ],
    "words": "a an flat emoji of on white orange background red apple jack o lantern".split(),
}


@pytest.fixture
def model(tmp_path):
    (tmp_path / "vocabulary.json").write_text(json.dumps(RECORD))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("prompt", "unknown", "has_subject"),
    [
        ("A flat emoji of an APPLE on a white background", [], True),
        ("a Jack-O-Lantern, at night; night!", ["at", "night"], True),
        ("a red lantern", [], False),
        ("street", ["street"], False),
        ("", [], False),
    ],
)
def test_unknown_words_and_subjects_of_a_prompt(model, prompt, unknown, has_subject):
    vocabulary = load_vocabulary(model)
    assert vocabulary.unknown(prompt) == unknown
    assert vocabulary.has_subject(prompt) == has_subject


def test_every_subject_makes_a_prompt_without_remark(model):
    vocabulary = load_vocabulary(model)
    prompts = [vocabulary.caption(subject, n) for subject in vocabulary.subjects for n in range(4)]
    assert remark(prompts, model) == ""
    assert any("an orange" in prompt for prompt in prompts)


def test_a_remark_names_the_words_and_the_prompts_without_a_subject(model):
    said = remark(["an apple", "a street at night", "an apple on white", "a red background"], model)
    assert "street, at, night" in said
    assert "2 of 4 prompts" in said
    assert "2, 4" in said
    assert "apple" not in said


def test_a_model_without_a_vocabulary_knows_every_word(tmp_path):
    assert remark(["a street at night"], str(tmp_path)) == ""
    assert remark(["a street at night"], "owner/name") == ""


def test_the_embedded_model_knows_its_own_prompts_and_everyday_words():
    prompts = load_prompts("embedded", 32, 0)
    everyday = ["a flat emoji of a car", "a house", "a heart", "the moon"]
    assert remark([*prompts.train, *prompts.evaluation, *everyday], "assets/tiny-lcm") == ""
    assert "zebrafish" in remark(["a zebrafish in Paris"], "assets/tiny-lcm")
