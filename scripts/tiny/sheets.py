"""Sample sheets: stock diffusers pipelines only, one column per prompt, one row per setting."""

from pathlib import Path

import torch
from diffusers import LatentConsistencyModelPipeline, StableDiffusionPipeline
from PIL import Image, ImageDraw

PROMPTS = (
    "a glossy emoji of a red apple",
    "a glossy emoji of a cat face",
    "a 3d emoji of a strawberry",
    "a flat emoji of a penguin on a sky blue background",
    "a glossy emoji of an automobile on a yellow background",
    "a flat emoji of a house",
    "a 3d emoji of a hamburger",
    "a glossy emoji of a butterfly on a pink background",
    "a flat emoji of a fox on a green background",
    "a 3d emoji of a rocket on a black background",
    "a glossy emoji of a red heart",
    "a flat emoji of a guitar on a purple background",
    "a 3d emoji of a grinning face",
    "a glossy emoji of a crescent moon on a blue background",
    "a flat emoji of a bicycle",
    "a 3d emoji of a crown on a red background",
)
SIDE, MARGIN = 64, 90


def draw_rows(rows: list[tuple[str, list[Image.Image]]]) -> Image.Image:
    """A sheet of labeled rows of pictures."""
    width = MARGIN + SIDE * max(len(pictures) for _, pictures in rows)
    sheet = Image.new("RGB", (width, SIDE * len(rows)), "white")
    pen = ImageDraw.Draw(sheet)
    for top, (label, pictures) in enumerate(rows):
        pen.text((4, top * SIDE + SIDE // 2 - 6), label, fill="black")
        for left, picture in enumerate(pictures):
            sheet.paste(picture, (MARGIN + left * SIDE, top * SIDE))
    return sheet


def generators(first: int = 0) -> list[torch.Generator]:
    """One generator per prompt: a picture does not depend on its neighbors."""
    return [torch.Generator().manual_seed(first + i) for i in range(len(PROMPTS))]


STUDENT_ROWS = (*((steps, 8.5) for steps in (1, 2, 4, 8)), (4, 1.0), (4, 4.0))
OTHER_SEEDS = (100, 200)


def student_sheet(model: Path, out: Path) -> None:
    """1, 2, 4 and 8 steps at the default guidance, 4 steps at lower ones, and with other noise."""
    pipeline = LatentConsistencyModelPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    settings = [(*row, 0) for row in STUDENT_ROWS] + [(4, 8.5, seed) for seed in OTHER_SEEDS]
    rows = []
    for steps, guidance, first in settings:
        result = pipeline(
            list(PROMPTS),
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=generators(first),
        )
        label = f"{steps} steps g {guidance:g}" if not first else f"seeds {first}.."
        rows.append((label, result.images))
    out.parent.mkdir(parents=True, exist_ok=True)
    draw_rows(rows).save(out, optimize=True)


def teacher_sheet(model: Path, out: Path, guidances: tuple[float, ...] = (1.0, 2.5, 5.0)) -> None:
    """The diffusion model with 40 DDIM steps."""
    pipeline = StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    rows = []
    for guidance in guidances:
        result = pipeline(
            list(PROMPTS),
            num_inference_steps=40,
            guidance_scale=guidance,
            generator=generators(),
        )
        rows.append((f"DDIM 40 g {guidance}", result.images))
    out.parent.mkdir(parents=True, exist_ok=True)
    draw_rows(rows).save(out, optimize=True)
