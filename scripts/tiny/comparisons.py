"""Comparisons decided by simulated raters: what preferences are learned from.

A pool holds the base model's pictures of many captions, four of each with other noise, steps and
guidance, and beside each picture its real drawing, placed as in the picture. A candidate is such a
picture, the drawing, the drawing retouched in some way, a mixture of both, or another caption's
picture; three in ten are damaged. Two candidates of a caption are shown to a rater, who decides by
their own taste (`rocm.rewards.raters`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rocm.generation.draw import Sampling, draw
from rocm.models.consistency import ConsistencyModel, load_model
from rocm.rewards.raters import votes
from rocm.rewards.taste import aligned, load_drawings, retouched, taste
from scripts.tiny.damage import damaged
from scripts.tiny.loop import save_atomically
from scripts.tiny.pictures import GROUND_NAMES, Drawings, canonical_caption

PER_CAPTION = 4
SETTINGS = tuple(product((1, 2, 4, 8), (2.0, 4.0, 8.5)))
BATCH = 36
KINDS = {"picture": 0.4, "drawing": 0.05, "retouched": 0.2, "mixture": 0.3, "other": 0.05}
"""Shares of the candidates: few that are wrong at a glance."""
DAMAGED = 0.3


@dataclass(frozen=True)
class Pool:
    """Pictures to compare, uint8.

    Attributes:
        captions: C captions.
        pictures: four of each, [C, 4, 3, 64, 64].
        references: their real drawings, placed as in the picture, the same shape.
    """

    captions: list[str]
    pictures: Tensor
    references: Tensor


@dataclass(frozen=True)
class Pairs:
    """Two candidates for each of B captions, [B, 3, 64, 64] in [0, 1], and their drawings."""

    captions: list[str]
    first: Tensor
    second: Tensor
    first_drawing: Tensor
    second_drawing: Tensor


def pool_captions(drawings: Drawings, objects: Sequence[str], num: int, seed: int) -> list[str]:
    """`num` captions of drawings of some objects; every drawing once before one comes again."""
    rng, kept = np.random.default_rng(seed), set(objects)
    rows = [row for row in drawings.meta if row["name"] in kept]
    order = np.concatenate([rng.permutation(len(rows)) for _ in range(-(-num // len(rows)))])
    grounds = rng.choice(GROUND_NAMES, num)
    chosen = [rows[i] for i in order[:num]]
    return [
        canonical_caption(row["style"], row["name"], ground)
        for row, ground in zip(chosen, grounds, strict=True)
    ]


def as_bytes(images: Tensor) -> Tensor:
    """uint8 pictures from [0, 1]."""
    return (images.clamp(0, 1) * 255).round().byte()


@torch.no_grad()
def draw_pool(model: ConsistencyModel, captions: list[str], seed: int, taste_folder: Path) -> Pool:
    """Draws `PER_CAPTION` pictures of every caption, each with a random setting of `SETTINGS`."""
    rng, book = np.random.default_rng((seed, 1)), load_drawings(taste_folder)
    shape = (len(captions), PER_CAPTION)
    settings = rng.integers(0, len(SETTINGS), shape)
    pictures = torch.zeros(*shape, 3, 64, 64, dtype=torch.uint8)
    references = torch.zeros_like(pictures)
    for number, (steps, guidance) in enumerate(SETTINGS):
        places = np.argwhere(settings == number)
        texts = [captions[row] for row, _ in places]
        seeds = rng.integers(2**31, 2**32, len(places)).tolist()
        drawn = draw(model, texts, seeds, Sampling(steps, guidance, batch_size=BATCH))
        for start, images in zip(range(0, len(places), BATCH), drawn, strict=True):
            images = images.clamp(0, 1)
            nearest = aligned(images, *book.find(texts[start : start + BATCH]))
            rows, columns = torch.from_numpy(places[start : start + BATCH]).unbind(1)
            pictures[rows, columns], references[rows, columns] = as_bytes(images), as_bytes(nearest)
        print(f"pool: {steps} steps, guidance {guidance}: {len(places)} pictures", flush=True)
    return Pool(captions, pictures, references)


def load_pool(path: Path, captions: list[str], seed: int, assets: Path) -> Pool:
    """The pool of a file; drawn by the exported model where there is none yet."""
    if not path.exists():
        model = load_model(str((assets / "tiny-lcm").resolve()), "cpu")
        pool = draw_pool(model, captions, seed, (assets / "taste").resolve())
        save_atomically(vars(pool), path)
    return Pool(**torch.load(path, weights_only=True))


def between(size: int, low: float, high: float, draws: torch.Generator) -> Tensor:
    """Uniform draws in [low, high), [size]."""
    return low + (high - low) * torch.rand(size, generator=draws)


def candidates(pictures: Tensor, drawings: Tensor, draws: torch.Generator) -> Tensor:
    """What may be shown instead of each picture.

    Args:
        pictures: of the model, [B, 3, 64, 64] in [0, 1].
        drawings: the real ones, placed alike, the same shape.
        draws: source of the choices.

    Returns:
        The same shape: by `KINDS`, and then `DAMAGED` of them damaged.
    """
    size = len(pictures)
    kind = torch.multinomial(torch.tensor(list(KINDS.values())), size, True, generator=draws)
    vivid = retouched(drawings, between(size, 0.7, 2.2, draws), between(size, 0.8, 1.4, draws))
    share = torch.rand(size, 1, 1, 1, generator=draws)
    options = torch.stack(
        [pictures, drawings, vivid, torch.lerp(pictures, vivid, share), pictures.roll(1, 0)]
    )
    chosen = options[kind, torch.arange(size)]
    rows = (torch.rand(size, generator=draws) < DAMAGED).nonzero()[:, 0]
    if len(rows):
        chosen[rows] = damaged(chosen[rows], draws)
    return chosen


def draw_pairs(pool: Pool, size: int, draws: torch.Generator) -> Pairs:
    """Pairs of candidates; both of one of the model's pictures, or each of another, half and half."""
    rows = torch.randint(0, len(pool.captions), (size,), generator=draws)
    columns = torch.randint(0, PER_CAPTION, (2, size), generator=draws)
    is_same = torch.rand(size, generator=draws) < 0.5
    columns[1] = torch.where(is_same, columns[0], columns[1])
    shown, real = [], []
    for column in columns:
        drawings = pool.references[rows, column].float() / 255
        shown.append(candidates(pool.pictures[rows, column].float() / 255, drawings, draws))
        real.append(drawings)
    return Pairs([pool.captions[row] for row in rows], *shown, *real)


def decide(pairs: Pairs, raters: Tensor, draws: torch.Generator) -> Tensor:
    """The vote of a random rater on each pair.

    Args:
        pairs: B pairs.
        raters: palates, [R, 3].
        draws: source of raters and noise.

    Returns:
        1 for the first, 0 for the second, 0.5 for a tie, [B].
    """
    chosen = raters[torch.randint(0, len(raters), (len(pairs.captions),), generator=draws)]
    first = taste(pairs.first, pairs.first_drawing, chosen)
    second = taste(pairs.second, pairs.second_drawing, chosen)
    return votes(first, second, draws)
