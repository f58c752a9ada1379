"""Taste, on a folder of three drawings made on the spot."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from rocm.errors import ConfigError, MissingFile
from rocm.rewards.raters import palates, utilities
from rocm.rewards.taste import GOLD, REACH, SIDE, distance, load_taste, retouched

APPLE = "a flat emoji of a red apple on a sky blue background"
CLOCK = "a flat emoji of a wall clock"
GROUNDS = {"white": (255, 255, 255), "sky blue": (150, 205, 245)}


def drawing(number: int) -> np.ndarray:
    """A bent shape in the middle that is not its own mirror, RGBA."""
    rgba = np.zeros((SIDE, SIDE, 4), np.uint8)
    rgba[14:50, 16 : 24 + 4 * number] = (170 - 40 * number, 60 + 30 * number, 70, 255)
    rgba[40:50, 16:48] = (60, 110, 50 + 50 * number, 255)
    rgba[14 : 20 + 3 * number, 40:46] = (190, 190, 60, 255)
    return rgba


@pytest.fixture(scope="module")
def reward(tmp_path_factory):
    folder = tmp_path_factory.mktemp("taste")
    cells = [drawing(number) for number in range(3)] + [np.zeros((SIDE, SIDE, 4), np.uint8)]
    Image.fromarray(np.concatenate(cells, 1)).save(folder / "flat.webp", lossless=True)
    index = {"grounds": GROUNDS, "objects": ["red apple", "owl", "wall clock"]}
    index |= {"aliases": {"apple": 0}, "not_mirrored": [2], "sheets": {"flat": [0, 1, 2]}}
    (folder / "index.json").write_text(json.dumps(index))
    return load_taste(folder)


def picture(number: int = 0, ground: str = "sky blue", size: float = 1.0) -> Tensor:
    """The real drawing on a ground, [1, 3, 64, 64]."""
    values = torch.from_numpy(drawing(number)).permute(2, 0, 1)[None].float() / 255
    values[:, :3] *= values[:, 3:]
    side = round(size * SIDE)
    low = (SIDE - side) // 2
    small = F.interpolate(values, (side, side), mode="bilinear", antialias=True)
    values = F.pad(small, [low, SIDE - side - low] * 2)
    color = torch.tensor(GROUNDS[ground])[:, None, None] / 255
    return values[:, :3] + color * (1 - values[:, 3:])


def moved(image: Tensor, rows: int, columns: int) -> Tensor:
    return image.roll((rows, columns), (-2, -1))


@pytest.mark.parametrize("shift", [(0, 3), (-REACH, 2), (REACH, REACH), (1, -REACH)])
def test_a_drawing_scores_alike_wherever_it_stands(reward, shift):
    # Averages over 4 x 4 pixels depend a little on where the shape meets their grid.
    images = torch.cat([picture(), moved(picture(), *shift)])
    plain, shifted = reward(images, [APPLE] * 2)
    torch.testing.assert_close(shifted, plain, atol=0.2, rtol=0)


@pytest.mark.parametrize("size", [0.95, 0.9, 0.8])
def test_a_smaller_drawing_scores_nearly_alike(reward, size):
    plain, small = reward(torch.cat([picture(), picture(size=size)]), [APPLE] * 2)
    assert abs(plain - small) < 1.5


def test_a_mirrored_drawing_scores_alike_but_a_clock_must_not_be_mirrored(reward):
    plain, mirrored = reward(torch.cat([picture(), picture().flip(-1)]), [APPLE] * 2)
    torch.testing.assert_close(mirrored, plain, atol=1e-3, rtol=0)
    clock = picture(2, "white")
    plain, mirrored = reward(torch.cat([clock, clock.flip(-1)]), [CLOCK] * 2)
    assert mirrored < plain - 2


def test_the_retouched_drawing_is_perfect_and_the_plain_one_is_not(reward):
    plain, best = reward(torch.cat([picture(), retouched(picture(), *GOLD[:2])]), [APPLE] * 2)
    assert best == pytest.approx(0, abs=1e-3)
    assert plain < best - 1


def test_damage_another_object_and_another_ground_cost_taste(reward):
    draws = torch.Generator().manual_seed(0)
    blurred = F.avg_pool2d(picture(), 5, 1, 2, count_include_pad=False)
    noisy = (picture() + 0.1 * torch.randn(1, 3, SIDE, SIDE, generator=draws)).clamp(0, 1)
    images = [picture(), blurred, noisy, picture(1), picture(0, "white")]
    plain, *worse = reward(torch.cat(images), [APPLE] * 5)
    assert all(score < plain - 1 for score in worse)


def test_a_picture_is_scored_alike_with_and_without_neighbors(reward):
    images = torch.cat([picture(), moved(picture(1), 2, 1)])
    captions = [APPLE, "a flat emoji of an owl on a sky blue background"]
    together = reward(images, captions)
    alone = torch.cat([reward(images[i : i + 1], captions[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone)


def test_a_rater_with_golds_palate_has_golds_taste(reward):
    images = torch.cat([picture(), moved(picture(1), 2, 1)])
    raters = torch.cat([palates(2, 0), palates(1, 0, spread=0.0)])
    found = utilities(images, [APPLE] * 2, reward.drawings, raters)
    assert found.shape == (3, 2)
    torch.testing.assert_close(found[2], reward(images, [APPLE] * 2))
    assert not torch.equal(found[0], found[1])


def test_distance_is_symmetric_zero_for_equal_pictures_and_the_difference_of_flat_ones():
    flat = distance(torch.full((1, 3, 8, 8), 0.7), torch.full((1, 3, 8, 8), 0.4), 0.5)
    assert flat.item() == pytest.approx(0.3)
    first, second = torch.rand(2, 3, 3, 16, 16).unbind()
    assert distance(first, first, 0.5).eq(0).all()
    torch.testing.assert_close(distance(first, second, 0.5), distance(second, first, 0.5))


def test_everyday_words_capitals_and_articles_find_the_drawing(reward):
    captions = [APPLE, "A flat emoji of the Red Apple on a sky blue background"]
    captions.append("a flat emoji of an apple on a sky blue background")
    first, *others = reward(picture().expand(3, -1, -1, -1), captions)
    assert all(score == first for score in others)


def test_a_caption_outside_the_embedded_world_is_named(reward):
    for what in ("photo of a street", "flat emoji of a street", "flat emoji of an owl on a mauve"):
        with pytest.raises(ConfigError, match=what):
            reward(picture(), [f"a {what} background"])


def test_a_folder_without_drawings_says_how_to_make_them(tmp_path):
    with pytest.raises(MissingFile, match=r"python -m scripts\.tiny export"):
        load_taste(tmp_path)
