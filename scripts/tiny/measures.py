"""What the cards state of the consistency model: retrieval, variety between seeds, assets' size."""

from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from rocm.evaluation.retrieval import Retrieval, ceiling, load_questions, model_retrieval
from rocm.generation.draw import Sampling, draw
from rocm.models.consistency import ConsistencyModel, load_model
from rocm.rewards.clip import load_clip
from rocm.rewards.taste import load_taste

STEPS = (1, 2, 4, 8)
GUIDANCES = (1.0, 4.0, 8.5)
SETTINGS = tuple((steps, 8.5) for steps in STEPS) + tuple((4, g) for g in GUIDANCES[:-1])
REAL = "real drawings"
SHIPPED = Sampling(num_inference_steps=4, guidance_scale=8.5, batch_size=40)
VARIED_SEEDS = 4


def row_name(steps: int, guidance: float) -> str:
    """How a setting is called in tables."""
    return f"{steps} step{'s' if steps > 1 else ''}, guidance {guidance:g}"


def retrieval_rows(assets: Path, questions_folder: Path, num_seeds: int) -> dict[str, Retrieval]:
    """Retrieval figures of the exported model by setting, and those of the real drawings."""
    model = load_model(str((assets / "tiny-lcm").resolve()), "cpu")
    clip = load_clip("tiny-eval", str((assets / "tiny-eval").resolve()), model.device)
    questions = load_questions(questions_folder / "retrieval.json", num_seeds)
    rows = {REAL: ceiling(clip, questions, questions_folder / "real.webp")}
    for steps, guidance in SETTINGS:
        sampling = Sampling(steps, guidance, batch_size=SHIPPED.batch_size)
        rows[row_name(steps, guidance)] = model_retrieval(model, clip, questions, sampling)
    return rows


def distance(first: Tensor, second: Tensor) -> float:
    """Mean absolute difference of pictures [n, 3, H, W], paired."""
    return (first - second).abs().mean().item()


def seed_share(pictures: Tensor) -> float:
    """Mean distance between two seeds of a caption, as a share of that between two captions.

    Args:
        pictures: of C captions and S seeds, [C, S, 3, H, W].

    Returns:
        0 where the seed changes nothing, about 1 where the caption does not matter.
    """
    num_captions, num_seeds = pictures.shape[:2]
    own = [distance(pictures[:, a], pictures[:, b]) for a, b in combinations(range(num_seeds), 2)]
    turns = range(1, min(num_captions, 20))
    other = [distance(pictures, pictures.roll(turn, 0)) for turn in turns]
    return sum(own) / len(own) / (sum(other) / len(other))


def varied_pictures(model: ConsistencyModel, captions: list[str]) -> Tensor:
    """Pictures of every caption with `VARIED_SEEDS` seeds, [C, S, 3, 64, 64] in [0, 1]."""
    texts = [caption for caption in captions for _ in range(VARIED_SEEDS)]
    drawn = torch.cat(list(draw(model, texts, range(len(texts)), SHIPPED)))
    return drawn.clamp(0, 1).unflatten(0, (-1, VARIED_SEEDS))


def variety(assets: Path) -> dict[str, float]:
    """Over the evaluation prompts: the share of `seed_share`, and mean taste.

    Captions on a white ground only for the share, so that a ground is no difference.
    """
    model = load_model(str((assets / "tiny-lcm").resolve()), "cpu")
    captions = (assets / "prompts/eval.txt").read_text("utf-8").splitlines()
    pictures = varied_pictures(model, captions)
    is_white = torch.tensor(["background" not in caption for caption in captions])
    gold = load_taste((assets / "taste").resolve())
    tastes = torch.stack([gold(p, captions) for p in pictures.unbind(1)], 1)
    return {
        "seed_share": seed_share(pictures[is_white] if is_white.sum() > 1 else pictures),
        "taste": tastes.mean().item(),
        "taste_within": tastes.var(1).mean().sqrt().item(),
        "taste_between": tastes.mean(1).std().item(),
    }


def size_mb(folder: Path) -> float:
    """Megabytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
