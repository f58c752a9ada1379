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
    "a glossy emoji of a frog on a pink background",
    "a flat emoji of a carrot",
    "a 3d emoji of a hamburger",
    "a glossy emoji of a butterfly on a yellow background",
    "a flat emoji of a fox on a green background",
    "a 3d emoji of a sunflower on a black background",
    "a glossy emoji of a pizza on a purple background",
    "a flat emoji of an owl",
)
SIDE, MARGIN = 64, 90


def draw_rows(rows: list[tuple[str, list[Image.Image]]]) -> Image.Image:
    """A sheet of labelled rows of pictures."""
    width = MARGIN + SIDE * max(len(pictures) for _, pictures in rows)
    sheet = Image.new("RGB", (width, SIDE * len(rows)), "white")
    pen = ImageDraw.Draw(sheet)
    for top, (label, pictures) in enumerate(rows):
        pen.text((4, top * SIDE + SIDE // 2 - 6), label, fill="black")
        for left, picture in enumerate(pictures):
            sheet.paste(picture, (MARGIN + left * SIDE, top * SIDE))
    return sheet


def generators() -> list[torch.Generator]:
    """One generator per prompt: a picture does not depend on its neighbours."""
    return [torch.Generator().manual_seed(i) for i in range(len(PROMPTS))]


def student_sheet(model: Path, out: Path, guidances: tuple[float, ...] = (8.5, 4.0)) -> None:
    """1, 2, 4 and 8 steps at the default guidance and at a lower one."""
    pipeline = LatentConsistencyModelPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    rows = []
    for guidance in guidances:
        for steps in (1, 2, 4, 8):
            result = pipeline(
                list(PROMPTS),
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=generators(),
            )
            rows.append((f"{steps} steps g {guidance}", result.images))
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
