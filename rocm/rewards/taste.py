r"""Taste: how near a picture is to the retouched real drawing of its caption. A gold reward.

In the embedded world every caption has a real drawing (assets/taste), so that there is a truth to
hold the learned rewards against, as Gao et al. do (arXiv 2210.10760): simulated raters decide
comparisons by taste, a reward learns from the comparisons, a model is trained against the reward,
and taste says what became of it. Nothing is ever trained on taste itself.

The drawing is a little more vivid and contrasted than the data that the model has learned from
(`GOLD`), so that there is something to gain even for a model that draws the data perfectly. Where
the drawing stands, how large, and whether mirrored, is free: the nearest placement counts.
"""

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from rocm.errors import ConfigError, MissingFile
from rocm.storage.paths import ROOT

FOLDER = ROOT / "assets" / "taste"
SIDE = 64
REACH = 4
SIZES = (1.0, 0.95, 0.9, 0.85, 0.8)
POOLS = (1, 2, 4)
GOLD = (1.35, 1.1, 0.5)
"""Saturation and contrast of the retouching, and the weight of edges."""

CAPTION = re.compile(
    r"an? (?P<style>\S+) emoji of (?P<name>.+?)(?: on an? (?P<ground>[a-z ]+) background)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Drawings:
    """The real drawings and the way from a caption to one."""

    rgba: Tensor
    """Colors times alpha, and alpha, uint8 (K, 4, 64, 64)."""
    rows: dict[tuple[str, str], int]
    """By (style, name), in lower case and without article."""
    has_mirror: Tensor
    """Whether a drawing may be mirrored, (K,) bool."""
    grounds: dict[str, tuple[float, ...]]
    """Colors by name, in [0, 1]."""

    def find(self, captions: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """The drawings of B captions `a STYLE emoji of NAME[ on a GROUND background]`.

        Returns premultiplied drawings (B, 4, 64, 64) in [0, 1], ground colors (B, 3, 1, 1), and
        whether each may be mirrored (B,); ConfigError if a caption has no drawing.
        """
        places = [self._find(caption) for caption in captions]
        rows = torch.tensor([row for row, _ in places])
        grounds = torch.tensor([ground for _, ground in places])
        return self.rgba[rows].float() / 255, grounds[:, :, None, None], self.has_mirror[rows]

    def _find(self, caption: str) -> tuple[int, tuple[float, ...]]:
        parts = CAPTION.fullmatch(caption.strip())
        if parts:
            row = self.rows.get((parts["style"].lower(), bare_name(parts["name"])))
            ground = self.grounds.get((parts["ground"] or "white").lower())
            if row is not None and ground is not None:
                return row, ground
        raise ConfigError(
            f"taste knows no drawing of {caption[:200]!r}. It judges captions of the embedded "
            "world only, such as: a glossy emoji of a red apple on a sky blue background"
        )


def bare_name(name: str) -> str:
    """A name in lower case without its article."""
    return re.sub("^(an?|the) ", "", name.strip().lower())


@functools.cache
def load_drawings(folder: Path = FOLDER) -> Drawings:
    """The drawings of a folder that `scripts.tiny` exported, kept in memory, 16 KB each.

    It holds index.json, and for each style a sheet of 64 x 64 cells with transparency. Raises
    `MissingFile` without one of them.
    """
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        sheets = {style: _cells(folder / f"{style}.webp") for style in index["sheets"]}
    except FileNotFoundError as error:
        raise MissingFile(
            f"taste needs the drawings in {folder}, and {error.filename} is missing. Check out "
            "assets/taste, or make it: python -m scripts.tiny export"
        ) from error
    names = [[name] for name in index["objects"]]
    for alias, number in index["aliases"].items():
        names[number].append(alias)
    rows: dict[tuple[str, str], int] = {}
    has_mirror: list[bool] = []
    cells: list[Tensor] = []
    for style, numbers in index["sheets"].items():
        for cell, number in zip(sheets[style], numbers, strict=False):
            for name in names[number]:
                rows.setdefault((style, bare_name(name)), len(cells))
            has_mirror.append(number not in index["not_mirrored"])
            cells.append(cell)
    grounds = {name: tuple(c / 255 for c in color) for name, color in index["grounds"].items()}
    return Drawings(torch.stack(cells), rows, torch.tensor(has_mirror), grounds)


def _cells(path: Path) -> Tensor:
    """The cells of a sheet, row after row, premultiplied, uint8 (K, 4, 64, 64)."""
    with Image.open(path) as sheet:
        values = torch.from_numpy(np.array(sheet.convert("RGBA").convert("RGBa")))
    height, width = (size // SIDE for size in values.shape[:2])
    cells = values.view(height, SIDE, width, SIDE, 4).permute(0, 2, 4, 1, 3)
    return cells.reshape(height * width, 4, SIDE, SIDE)


def placements(drawings: Tensor) -> Tensor:
    """Every drawing in all sizes, as it is and then mirrored, each in the middle.

    Of premultiplied drawings (B, 4, 64, 64); returns (B, P, 4, 64, 64), P = 2 * len(SIZES), of
    which the first is the drawing itself.
    """
    scaled = []
    for size in SIZES:
        side = round(size * SIDE)
        low = (SIDE - side) // 2
        high = SIDE - side - low
        small = drawings
        if side < SIDE:
            small = F.interpolate(drawings, (side, side), mode="bicubic", antialias=True)
        scaled.append(F.pad(small.clamp(0, 1), [low, high, low, high]))
    upright = torch.stack(scaled, 1)
    return torch.cat([upright, upright.flip(-1)], 1)


def nearness(pictures: Tensor, shapes: Tensor) -> Tensor:
    r"""How much nearer each placement and shift is than an empty ground, in squared error.

    .. math:: \lVert x \rVert^2 - \lVert x - t_s \rVert^2 = 2 \langle x, t_s \rangle -
              \lVert t_s \rVert^2

    x are pictures (B, 3, 64, 64) and t placements (B, P, 3, 64, 64), both with the ground
    subtracted. Returns (B, P, S, S), S = 2 * REACH + 1, rows and columns: the shift is the index
    minus REACH.
    """
    num_pictures, num_placements = shapes.shape[:2]
    seen = F.conv2d(
        pictures.flatten(0, 1)[None], shapes.flatten(0, 1), padding=REACH, groups=num_pictures
    )
    # What a shift moves out of the picture costs nothing.
    inside = torch.ones_like(pictures[:1, :1])
    energy = F.conv2d(inside, shapes.square().sum(2).flatten(0, 1)[:, None], padding=REACH)
    return (2 * seen - energy).view(num_pictures, num_placements, *seen.shape[-2:])


@torch.no_grad()
def aligned(pictures: Tensor, drawings: Tensor, grounds: Tensor, has_mirror: Tensor) -> Tensor:
    """The real drawings, each placed as it is nearest to its picture, on their grounds.

    Of pictures (B, 3, 64, 64) in [0, 1], and what `find` gives of their captions; returns
    (B, 3, 64, 64) in [0, 1], not retouched.
    """
    placed = placements(drawings)
    shapes = placed[:, :, :3] - grounds[:, None] * placed[:, :, 3:]
    gains = nearness(pictures - grounds, shapes)
    num_shifts = gains.shape[-1]
    gains[~has_mirror, len(SIZES) :] = -torch.inf
    best = gains.flatten(1).argmax(1).tolist()
    moved = []
    for drawing, place in zip(placed, best, strict=True):
        placement, shift = divmod(place, num_shifts**2)
        row, column = (2 * REACH - index for index in divmod(shift, num_shifts))
        padded = F.pad(drawing[placement], [REACH] * 4)
        moved.append(padded[:, row : row + SIDE, column : column + SIDE])
    chosen = torch.stack(moved)
    return chosen[:, :3] + grounds * (1 - chosen[:, 3:])


def retouched(pictures: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    r"""Pictures made more vivid, then more contrasted.

    .. math:: y = \tfrac12 + c\,(m + s (x - m) - \tfrac12), \quad m = \text{mean of R, G, B}

    x and y are (B, 3, H, W), y clamped to [0, 1]; saturation s and contrast c are (B,), or one for
    all.
    """
    saturation, contrast = (torch.as_tensor(v).view(-1, 1, 1, 1) for v in (saturation, contrast))
    gray = pictures.mean(1, keepdim=True)
    vivid = gray + (pictures - gray) * saturation
    return (0.5 + (vivid - 0.5) * contrast).clamp(0, 1)


def distance(pictures: Tensor, references: Tensor, edges: Tensor) -> Tensor:
    r"""Mean absolute difference at three resolutions, and of the steps between neighbors.

    .. math:: \frac13 \sum_{k \in \{1, 2, 4\}} \overline{|P_k e|}
              + w\,(\overline{|\partial_x e|} + \overline{|\partial_y e|}), \quad e = x - y

    P_k averages over k x k pixels; x and y are (B, 3, H, W) in [0, 1], w is (B,), or one for all.
    Returns (B,), >= 0, in shares of the range of a channel.
    """
    error = pictures - references
    coarse = [F.avg_pool2d(error, k).abs().flatten(1).mean(1) for k in POOLS]
    steps = [error.diff(dim=dim).abs().flatten(1).mean(1) for dim in (-1, -2)]
    return sum(coarse) / len(POOLS) + torch.as_tensor(edges) * sum(steps)


def taste(pictures: Tensor, references: Tensor, palates: Tensor) -> Tensor:
    """Taste (B,), minus the distance to the retouched drawing in percent of a channel's range.

    Of pictures (B, 3, H, W) in [0, 1] and their `aligned` drawings; palates are saturation,
    contrast and weight of edges, (B, 3), or (1, 3) for all.
    """
    saturation, contrast, edges = palates.unbind(1)
    wanted = retouched(references, saturation, contrast)
    return -100 * distance(pictures, wanted, edges)


@dataclass(frozen=True)
class TasteReward:
    """Taste as a `Reward` to measure with. It has no gradient: nothing may be trained on it.

    Minus the distance to the retouched drawing in percent of a channel's range. Real drawings
    score about -5, a good model's pictures -8 to -15, a flat ground about -25.
    """

    drawings: Drawings
    name: str = "taste"

    @torch.no_grad()
    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Taste (B,) of pictures (B, 3, 64, 64) in [0, 1] and their captions, at most 0."""
        pictures = images.cpu()
        references = aligned(pictures, *self.drawings.find(prompts))
        return taste(pictures, references, torch.tensor([GOLD])).to(images.device)


def load_taste(folder: Path = FOLDER) -> TasteReward:
    """The reward; raises as `load_drawings`."""
    return TasteReward(load_drawings(folder))
