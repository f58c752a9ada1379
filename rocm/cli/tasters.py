"""Raters of `study simulate --by taste`, who vote by taste on the embedded model's pictures."""

import numpy as np
import torch
from PIL import Image

from rocm.cli.study import StudyHome
from rocm.errors import ConfigError
from rocm.rewards.raters import TEMPERATURE, TIE_WIDTH, palates, utilities
from rocm.rewards.taste import load_drawings
from rocm.study.store.pictures import Pictures
from rocm.study.store.simulated_raters import Tasters, shown_pictures

BATCH = 64


def make_tasters(
    at: StudyHome, study_id: str, num_raters: int, seed: int, temperature: float = TEMPERATURE
) -> Tasters:
    """Look at every picture of a study with the palates of `num_raters` raters, drawn by `seed`.

    `temperature` > 0 is their noise, in the unit of taste. ConfigError if a prompt is no caption of
    the embedded model's drawings.
    """
    if temperature <= 0:
        raise ConfigError(f"temperature={temperature:g} is not allowed. Give a number above 0.")
    drawings, people = load_drawings(), palates(num_raters, seed)
    shown = list(shown_pictures(at.store, study_id).items())
    tastes: dict[str, np.ndarray] = {}
    for start in range(0, len(shown), BATCH):
        names, captions = zip(*shown[start : start + BATCH], strict=True)
        images = torch.stack([read_pixels(at.pictures, name) for name in names])
        liked = utilities(images, captions, drawings, people) / temperature
        tastes |= dict(zip(names, liked.T.numpy(), strict=True))
    return Tasters(tastes, TIE_WIDTH, np.random.default_rng(seed))


def read_pixels(pictures: Pictures, name: str) -> torch.Tensor:
    """A picture of a study, (3, H, W) in [0, 1]."""
    with Image.open(pictures.file(name)) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float() / 255
