"""Retrieval: how often a CLIP finds a picture's caption among similar ones.

For each of 200 captions, a CLIP that no other check uses (assets/tiny-eval) ranks the caption
against 99 that share its style and background color and name another object. The figure of real
drawings is the upper bound.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rocm.generation.draw import Sampling, draw
from rocm.models.consistency import ConsistencyModel
from rocm.rewards.tower import CosineReward
from rocm.storage.paths import ROOT

QUESTIONS = ROOT / "assets" / "prompts" / "retrieval.json"
REAL = ROOT / "assets" / "prompts" / "real.webp"
SIDE = 64
SEED_STRIDE = 1000


@dataclass(frozen=True)
class Question:
    """A caption with its 99 distractors (100 captions, the right one first), and a noise seed."""

    seed: int
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Retrieval:
    """Share of pictures whose own caption is first, or among the first five, of 100."""

    num_questions: int
    first: float
    first_five: float


def load_questions(path: Path = QUESTIONS, num_seeds: int = 1) -> list[Question]:
    """The committed questions, all of them once for each seed."""
    data = json.loads(path.read_text(encoding="utf-8"))
    questions = []
    for row in data["questions"]:
        ground = "" if row["ground"] == "white" else f" on a {row['ground']} background"
        names = [data["objects"][index] for index in row["objects"]]
        captions = tuple(f"a {row['style']} emoji of {name}{ground}" for name in names)
        questions.append(Question(row["seed"], captions))
    return [
        replace(question, seed=question.seed + turn * SEED_STRIDE)
        for turn in range(num_seeds)
        for question in questions
    ]


def real_pictures(path: Path = REAL) -> Tensor:
    """The real drawings that belong to the questions, (Q, 3, 64, 64) in [0, 1], from one sheet."""
    sheet = torch.from_numpy(np.asarray(Image.open(path).convert("RGB"), np.float32) / 255)
    rows, columns = sheet.shape[0] // SIDE, sheet.shape[1] // SIDE
    cells = sheet.view(rows, SIDE, columns, SIDE, 3).permute(0, 2, 4, 1, 3)
    return cells.reshape(rows * columns, 3, SIDE, SIDE)


@torch.no_grad()
def caption_ranks(clip: CosineReward, images: Tensor, questions: Sequence[Question]) -> Tensor:
    """Ranks (Q,), 0 the best of 100, of the captions of pictures (Q, 3, H, W); a tie is lost."""
    ranks = []
    features: dict[tuple[str, ...], Tensor] = {}
    for image, question in zip(images, questions, strict=True):
        if question.captions not in features:
            features[question.captions] = clip.encoder.embed_texts(question.captions)
        texts = features[question.captions]
        scores = texts @ clip.encoder.embed_images(image[None].to(texts.device))[0]
        ranks.append((scores[1:] >= scores[0]).sum())
    return torch.stack(ranks)


def summary(ranks: Tensor) -> Retrieval:
    """The two shares of ranks (Q,)."""
    shares = [(ranks < top).float().mean().item() for top in (1, 5)]
    return Retrieval(len(ranks), *shares)


def model_retrieval(
    model: ConsistencyModel, clip: CosineReward, questions: Sequence[Question], sampling: Sampling
) -> Retrieval:
    """Retrieval figures of a model's pictures."""
    images = torch.cat(list(_pictures(model, questions, sampling)))
    return summary(caption_ranks(clip, images, questions))


def ceiling(clip: CosineReward, questions: Sequence[Question], path: Path = REAL) -> Retrieval:
    """Retrieval figures of the real drawings, read by `real_pictures`."""
    images = real_pictures(path)[: len(questions)]
    return summary(caption_ranks(clip, images, questions[: len(images)]))


def _pictures(
    model: ConsistencyModel, questions: Sequence[Question], sampling: Sampling
) -> Iterator[Tensor]:
    captions = [question.captions[0] for question in questions]
    seeds = [question.seed for question in questions]
    for images in draw(model, captions, seeds, sampling):
        yield images.clamp(0, 1)
