"""Bounds of a request, and that a picture's command and metadata say all of it."""

import shlex
from dataclasses import asdict, replace

import pytest
from PIL import Image

from rocm.cli.main import parse
from rocm.errors import ConfigError
from rocm.generation.picture import (
    MAX_SEED,
    SAMPLING,
    Picture,
    check_pictures,
    command_line,
    png_bytes,
)

APPLE = Picture("a red apple")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompt": "  "}, "The prompt is empty"),
        ({"prompt": "x" * 1001}, "has 1,001 characters; at most 1,000"),
        ({"seed": -1}, "seed=-1 is not allowed: give a whole number 0 to"),
        ({"seed": 0.5}, "seed=0.5 is not allowed"),
        ({"seed": MAX_SEED + 1}, "is not allowed"),
        ({"num_inference_steps": 9}, "num_inference_steps=9 is outside 1-8 and 16"),
        ({"guidance_scale": float("nan")}, "guidance_scale=nan is not allowed"),
        ({"adapter_strength": 2.1}, "adapter_strength=2.1 is not allowed: give 0"),
        ({"grid": "none"}, "grid='none' is not allowed"),
    ],
)
def test_a_value_out_of_bounds_is_one_sentence_that_names_it(change, sentence):
    with pytest.raises(ConfigError, match=r".") as caught:
        replace(APPLE, **change).checked()
    assert sentence in str(caught.value)


def test_a_thousand_pictures_and_none_are_refused():
    with pytest.raises(ConfigError, match=r"1,000 pictures were requested"):
        check_pictures([APPLE] * 1000)
    with pytest.raises(ConfigError, match="0 pictures"):
        check_pictures([])


@pytest.mark.parametrize(
    "picture",
    [
        APPLE,
        Picture('it\'s "red" $HOME; rm -rf /', 5, 16, 1.5, "rlcm", "my model", "an adapter", 0.3),
        replace(APPLE, prompt="-5 degrees"),
        replace(APPLE, prompt="--seed 3"),
        replace(APPLE, prompt="--"),
    ],
)
def test_the_command_line_says_everything_about_the_picture(picture):
    words = shlex.split(command_line(picture, 3))
    options, rest = parse(words[3:])
    assert rest == []
    assert words[:3] == ["python", "-m", "rocm"]
    given = {name: getattr(options, name) for name in SAMPLING}
    drawn = Picture(
        options.prompt,
        options.seed,
        adapter=str(options.adapter or ""),
        adapter_strength=options.adapter_strength,
        **given,
    ).checked()
    assert drawn == picture
    assert options.num == 3


def test_a_png_holds_every_setting(tmp_path):
    picture = replace(APPLE, prompt="\N{RED APPLE} \N{MULTIPLICATION SIGN} 2", adapter="x")
    (tmp_path / "one.png").write_bytes(png_bytes(Image.new("RGB", (8, 8)), picture))
    with Image.open(tmp_path / "one.png") as read:
        text = dict(read.text)
    assert text == {name: str(value) for name, value in asdict(picture).items()}
