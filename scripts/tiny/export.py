"""Export stage: what was trained, as stock pipelines; prompts, words, drawings."""

import json
import random
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from scripts.tiny.book import export_taste, export_vocabulary
from scripts.tiny.compact import compact_folder
from scripts.tiny.pictures import (
    GROUND_NAMES,
    Drawings,
    canonical_caption,
    on_ground,
    with_article,
)
from scripts.tiny.recipe import FAMILIAR, Recipe
from scripts.tiny.rounds import stages_so_far
from scripts.tiny.teacher import noise_schedule

NUM_PROMPTS = {"train": 600, "eval": 76, "test": 150}
EVAL_OBJECTS, TEST_OBJECTS = 0.075, 0.147
"""Shares of the objects: of the whole set, as many as there are prompts."""
NUM_DISTRACTORS = 99


def lcm_scheduler() -> LCMScheduler:
    """The teacher's noise schedule with a 50-point consistency grid."""
    return LCMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        original_inference_steps=50,
    )


def consistency_pipeline(work: Path, unet: Path) -> LatentConsistencyModelPipeline:
    """The stock pipeline of the stages' models, float32."""
    return LatentConsistencyModelPipeline(
        vae=AutoencoderKL.from_pretrained(work / "vae/model"),
        text_encoder=CLIPTextModel.from_pretrained(work / "teacher/text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(work / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(unet),
        scheduler=lcm_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def teacher_pipeline(work: Path) -> StableDiffusionPipeline:
    """The ordinary diffusion model as a stock pipeline with DDIM."""
    scheduler: DDIMScheduler = noise_schedule()
    return StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(work / "vae/model"),
        text_encoder=CLIPTextModel.from_pretrained(work / "teacher/text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(work / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(work / "teacher/unet"),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def replace_folder(folder: Path) -> None:
    """Empties a folder but for its README.md."""
    card = folder / "README.md"
    text = card.read_text("utf-8") if card.exists() else None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if text is not None:
        card.write_text(text, "utf-8")


def export_folder(model: Path, folder: Path) -> None:
    """Copies a stage's model over what a folder held, but for its README.md."""
    replace_folder(folder)
    shutil.copytree(model, folder, dirs_exist_ok=True)


def export_models(recipe: Recipe, work: Path, assets: Path) -> None:
    """Writes assets/tiny-lcm, tiny-clip and tiny-eval; the autoencoder in half precision."""
    folder = assets / "tiny-lcm"
    replace_folder(folder)
    pipeline = consistency_pipeline(work, work / "student/unet")
    pipeline.save_pretrained(folder)
    for part in ("unet", "text_encoder"):
        compact_folder(folder / part)
    pipeline.vae.half().save_pretrained(folder / "vae")
    stages = json.dumps(stages_so_far(recipe, work), indent=1)
    (folder / "stages.json").write_text(stages + "\n", "utf-8")
    for name in ("tiny-clip", "tiny-eval"):
        export_folder(work / name / "model", assets / name)


def export_teacher(work: Path) -> None:
    """Writes the diffusion model beside the work folder, as tiny-teacher, in float32."""
    teacher_pipeline(work).save_pretrained(work.parent / "tiny-teacher")


@dataclass(frozen=True)
class Split:
    """Names of the objects of each prompt list, sorted; the lists share none."""

    train: list[str]
    eval: list[str]
    test: list[str]


def split_objects(drawings: Drawings, seed: int) -> Split:
    """Training, evaluation and test objects of the prompt lists: disjoint."""
    objects = drawings.objects
    random.Random(seed).shuffle(objects)
    num_eval, num_test = (
        max(1, int(share * len(objects))) for share in (EVAL_OBJECTS, TEST_OBJECTS)
    )
    parts = (num_eval + num_test, 0), (0, num_eval), (num_eval, num_eval + num_test)
    return Split(*(sorted(objects[start : end or None]) for start, end in parts))


def prompt_list(drawings: Drawings, objects: list[str], num: int, seed: int) -> list[str]:
    """Captions of drawings, in random order; white ground for half of them.

    Args:
        drawings: the data set.
        objects: to name; each once before one is named again in another style.
        num: at most so many captions.
        seed: of the draws.

    Returns:
        Different captions.
    """
    rng, kept = random.Random(seed), set(objects)
    rows = [row for row in drawings.meta if row["name"] in kept]
    rng.shuffle(rows)
    turns = Counter()
    ordered = []
    for row in rows:
        turns[row["name"]] += 1
        ordered.append((turns[row["name"]], row))
    chosen = [row for _, row in sorted(ordered, key=lambda pair: pair[0])[:num]]
    rng.shuffle(chosen)
    prompts = []
    for row in chosen:
        ground = rng.choice(GROUND_NAMES) if rng.random() < 0.5 else "white"
        prompts.append(canonical_caption(row["style"], row["name"], ground))
    return list(dict.fromkeys(prompts))


def retrieval_questions(drawings: Drawings, num: int, seed: int) -> tuple[dict, Tensor]:
    """Captions, each with 99 of the same style and ground that name another object.

    Args:
        drawings: the data set.
        num: of questions.
        seed: of the draws.

    Returns:
        `objects`: names with their articles; `questions`: dicts of noise `seed`, `style`, `ground`
        and `objects`, indices into the names, the right one first. Then the real drawings of the
        questions, [num, 3, 64, 64] in [-1, 1].
    """
    rng = np.random.default_rng((seed, 3))
    names, questions, pictures = drawings.objects, [], []
    index = {name: i for i, name in enumerate(names)}
    for position in range(num):
        drawing = int(rng.integers(len(drawings.meta)))
        row = drawings.meta[drawing]
        right, style = index[row["name"]], row["style"]
        ground = int(rng.integers(len(GROUND_NAMES))) if position % 2 else 0
        others = sorted({index[m["name"]] for m in drawings.meta if m["style"] == style} - {right})
        wrong = rng.permutation(others)[:NUM_DISTRACTORS].tolist()
        question = {"seed": position, "style": style, "ground": GROUND_NAMES[ground]}
        questions.append({**question, "objects": [right, *wrong]})
        pictures.append(on_ground(drawings.rgba[drawing][None], np.array([ground]))[0])
    table = {"objects": [with_article(name) for name in names], "questions": questions}
    return table, torch.stack(pictures)


def sheet(pictures: Tensor, columns: int) -> Image.Image:
    """Pictures [n, 3, H, W] in [-1, 1] side by side, row after row; n a multiple of `columns`."""
    pixels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte()
    rows = pixels.unflatten(0, (-1, columns)).permute(0, 3, 1, 4, 2)
    return Image.fromarray(rows.flatten(2, 3).flatten(0, 1).numpy())


def write_questions(folder: Path, drawings: Drawings, num: int, seed: int) -> None:
    """Writes retrieval.json and the real drawings, real.webp (lossless, 20 in a row)."""
    folder.mkdir(parents=True, exist_ok=True)
    questions, pictures = retrieval_questions(drawings, num, seed)
    (folder / "retrieval.json").write_text(json.dumps(questions) + "\n", "utf-8")
    sheet(pictures, 20).save(folder / "real.webp", lossless=True, quality=100, method=6)


def familiar(drawings: Drawings) -> Drawings:
    """The drawings of `recipe.FAMILIAR`."""
    rows = [i for i, row in enumerate(drawings.meta) if row["name"] in FAMILIAR]
    return Drawings(drawings.rgba[rows], [drawings.meta[i] for i in rows])


def export_data(recipe: Recipe, drawings: Drawings, work: Path, assets: Path) -> None:
    """Writes prompts, retrieval questions, the vocabulary and the drawings for taste.

    Args:
        recipe: number of questions, and the seed.
        drawings: the data set.
        work: gets the questions about the familiar objects, for the card alone.
        assets: gets everything else.
    """
    folder, seed = assets / "prompts", recipe.seed
    write_questions(folder, drawings, recipe.num_questions, seed)
    write_questions(work / "familiar", familiar(drawings), recipe.num_questions, seed)
    for name, objects in vars(split_objects(drawings, seed)).items():
        prompts = prompt_list(drawings, objects, NUM_PROMPTS[name], seed)
        (folder / f"{name}.txt").write_text("\n".join(prompts) + "\n", "utf-8")
    export_vocabulary(drawings, assets / "tiny-lcm/vocabulary.json")
    export_taste(drawings, assets / "taste")
