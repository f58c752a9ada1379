"""Pictures and captions of the data set: ground colors, caption templates, compositing."""

import io
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scripts.tiny.recipe import Recipe

GROUNDS = {
    "white": (255, 255, 255),
    "black": (18, 18, 18),
    "red": (220, 50, 47),
    "orange": (245, 150, 50),
    "yellow": (250, 220, 80),
    "green": (90, 180, 90),
    "blue": (70, 120, 220),
    "sky blue": (150, 205, 245),
    "purple": (150, 95, 200),
    "pink": (250, 170, 200),
    "brown": (140, 95, 65),
    "gray": (160, 160, 165),
}
GROUND_NAMES = tuple(GROUNDS)
# Head nouns that are plural or a mass: their names stand without an article.
BARE_NOUNS = set(
    "bacon beans blueberries bread broccoli butter candy cherries chopsticks cooking coral corn "
    "custard dango food fries garlic glasses grapes green ice meat mugs oden pancakes peanuts "
    "popcorn prints rice root sake salad salt shrimp spaghetti sushi liquid".split()
)


SIDE = 64
REACH = 1
SMALLEST = 0.94
# Writing, clock hands and maps would be wrong in a mirror.
NOT_MIRRORED = re.compile(
    "o'clock|thirty|clock|watch|points|zzz|calendar|compass|map|globe|book|newspaper|banknote|chart|"
    "receipt|hotel|store|bank|hospital|school|post|office|bus stop|label|ticket|keyboard|left|right|medal|"
    "die|card|dna|e-mail|abacus|score|disk|x-ray|dvd|circus|cinema|pool 8|playing|diya|symbols|"
    "taxi|police|ambulance|fire engine|stop sign|moon|radio|fax|page|scroll|memo|identification",
    re.IGNORECASE,
)

ALIASES = {
    name: tuple(others.split(", "))
    for name, others in (
        line.split(": ")
        for line in (Path(__file__).parent / "aliases.txt").read_text("utf-8").splitlines()
    )
}
"""Everyday words for objects that the data set calls otherwise."""


@dataclass(frozen=True)
class Drawings:
    """The data set: `rgba` uint8 [n, 64, 64, 4] and one metadata dict per drawing."""

    rgba: np.ndarray
    meta: list[dict]

    @property
    def objects(self) -> list[str]:
        """Names of the drawn objects, sorted, each once."""
        return sorted({row["name"] for row in self.meta})


def load_drawings(path: Path, recipe: Recipe) -> Drawings:
    """The drawings of the recipe's groups, sources and, where it names any, objects."""
    with np.load(path) as data:
        offsets, blob = data["offset"], data["png"]
        meta = json.loads(bytes(data["meta"]))
    wanted = recipe.objects or {m["name"] for m in meta}
    kept = [
        i
        for i, m in enumerate(meta)
        if m["group"] in recipe.groups and m["source"] in recipe.sources and m["name"] in wanted
    ]
    files = [blob[offsets[i] : offsets[i + 1]].tobytes() for i in kept]
    pictures = [np.asarray(Image.open(io.BytesIO(f)).convert("RGBA")) for f in files]
    return Drawings(np.stack(pictures), [meta[i] for i in kept])


def on_ground(rgba: np.ndarray, ground: np.ndarray) -> Tensor:
    """Composites drawings on flat grounds.

    Args:
        rgba: uint8 [B, H, W, 4].
        ground: index into `GROUND_NAMES` for each picture, [B].

    Returns:
        Pictures in [-1, 1], [B, 3, H, W].
    """
    colors = torch.tensor(list(GROUNDS.values())).float().div(255)[torch.as_tensor(ground)]
    values = torch.from_numpy(np.ascontiguousarray(rgba)).float().div(255).permute(0, 3, 1, 2)
    alpha = values[:, 3:]
    return (values[:, :3] * alpha + colors[:, :, None, None] * (1 - alpha)) * 2 - 1


def shifted(pictures: Tensor, shifts: np.ndarray) -> Tensor:
    """Moves each picture [B, C, H, W] by its own (rows, columns), edges repeated; shifts [B, 2]."""
    reach = int(np.abs(shifts).max(initial=0))
    if reach == 0:
        return pictures
    height, width = pictures.shape[-2:]
    padded = torch.nn.functional.pad(pictures, [reach] * 4, mode="replicate")
    moved = [
        picture[:, reach - r : reach - r + height, reach - c : reach - c + width]
        for picture, (r, c) in zip(padded, shifts.tolist(), strict=True)
    ]
    return torch.stack(moved)


def placed(rgba: np.ndarray, meta: list[dict], rng: np.random.Generator) -> np.ndarray:
    """Drawings at other positions and sizes, some mirrored: what two seeds of a caption differ in.

    Half of the drawings keep their size, the others shrink to at least `SMALLEST`; all move by up
    to `REACH` pixels, and half of those that may be mirrored are.

    Args:
        rgba: uint8 [B, 64, 64, 4].
        meta: their metadata.
        rng: draws.

    Returns:
        uint8, the same shape.
    """
    out = np.zeros_like(rgba)
    for i, (drawing, row) in enumerate(zip(rgba, meta, strict=True)):
        if rng.random() < 0.5 and not NOT_MIRRORED.search(row["name"]):
            drawing = drawing[:, ::-1]
        side = SIDE if rng.random() < 0.5 else int(rng.integers(round(SMALLEST * SIDE), SIDE))
        if side < SIDE:
            # Premultiplied, so that the color of transparent pixels does not bleed into the edge.
            premultiplied = Image.fromarray(np.ascontiguousarray(drawing), "RGBA").convert("RGBa")
            small = premultiplied.resize((side, side), Image.LANCZOS).convert("RGBA")
            drawing = np.asarray(small)
        corner = (SIDE - side) // 2 + rng.integers(-REACH, REACH + 1, 2)
        rows, columns = (slice(max(0, c), min(SIDE, c + side)) for c in corner)
        taken = (
            slice(max(0, -c), max(0, -c) + s.stop - s.start)
            for c, s in zip(corner, (rows, columns), strict=True)
        )
        out[i, rows, columns] = drawing[tuple(taken)]
    return out


def with_article(name: str) -> str:
    """`red apple` becomes `a red apple`; names that are plural or a mass stay bare."""
    head = re.split(" (?:of|on|with|without|and|fluttering) ", name.lower())[0].split()[-1]
    if head in BARE_NOUNS:
        return name
    is_vowel = name[0].lower() in "aeiou" and not name.lower().startswith(("uni", "eu", "ewe"))
    return f"{'an' if is_vowel else 'a'} {name}"


def canonical_caption(style: str, name: str, ground: str) -> str:
    """The caption used for evaluation: `a glossy emoji of a red apple on a pink background`."""
    text = f"a {style} emoji of {with_article(name)}"
    return text if ground == "white" else f"{text} on a {ground} background"


def random_caption(row: dict, ground: str, rng: random.Random) -> str:
    """A caption of a drawing: template, article, style word, keywords and ground vary.

    The style is named in 90 % of the captions, and a ground other than white in 90 %; white is
    what a caption without a ground means, and is named in 10 %. Three captions in ten say the
    object as people would (`ALIASES`) where the data set's name is another.
    """
    name = row["name"].replace(":", ",")
    if rng.random() < 0.3:
        name = rng.choice([name, *ALIASES.get(name, ())])
    name = with_article(name) if rng.random() < 0.6 else name
    style = row["style"]
    template = rng.random()
    if rng.random() < 0.9:
        text = f"a {style} emoji of {name}" if template < 0.75 else f"{name}, {style} style"
    else:
        text = f"an emoji of {name}" if template < 0.6 else name
    if rng.random() < 0.15 and row["tags"]:
        text += ", " + rng.choice(row["tags"])
    if rng.random() < (0.1 if ground == "white" else 0.9):
        text += f" on a {ground} background"
    return text
