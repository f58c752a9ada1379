"""How different an arm's pictures are from one another, from their files, without torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rocm.errors import RunError

SIDE = 16


def read_picture(file: Path) -> Image.Image:
    """A picture in RGB; RunError if its file is damaged."""
    try:
        with Image.open(file) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise RunError(f"{file} is damaged. Delete it, and compare again.") from error


def thumbnail(file: Path) -> np.ndarray:
    """A picture at 16 x 16 pixels by area, flat, (768,) in [0, 1]."""
    small = read_picture(file).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64).ravel() / 255


def distances(pictures: np.ndarray) -> np.ndarray:
    """Root-mean-square differences (P, P) of P flat pictures (P, D)."""
    squares = (pictures**2).sum(1)
    gram = squares[:, None] + squares[None] - 2 * pictures @ pictures.T
    roots: np.ndarray = np.sqrt(np.maximum(gram, 0) / pictures.shape[1])
    return roots


def by_prompt(pictures: Sequence[np.ndarray]) -> list[float]:
    r"""Diversity between prompts as one value per prompt, with mean `eval/diversity`.

    Distances to the other prompts are not independent, so the interval of their mean would be half
    as wide as it should be. These are the jackknife's pseudo-values instead:

    .. math:: v_p = P\,U - (P - 1)\,U_{-p}, \qquad U = \frac{2}{P (P - 1)} \sum_{i < j} d_{ij}

    `pictures` are, for each seed, the flat pictures (P, D) of all prompts, P >= 3; d is the mean
    over seeds of the distances of a seed's pictures.
    """
    matrix = np.mean([distances(of_seed) for of_seed in pictures], axis=0)
    num = len(matrix)
    np.fill_diagonal(matrix, 0)
    whole = matrix.sum() / 2
    mean = whole / (num * (num - 1) / 2)
    without = (whole - matrix.sum(1)) / ((num - 1) * (num - 2) / 2)
    return [float(value) for value in num * mean - (num - 1) * without]
