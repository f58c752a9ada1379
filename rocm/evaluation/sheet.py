"""A comparison as files: one labeled picture, or a zip with pictures, tables and manifest."""

import io
import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from itertools import product
from pathlib import Path
from textwrap import wrap
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from PIL import Image, ImageDraw, ImageFont

from rocm import __version__
from rocm.errors import MissingFile
from rocm.evaluation.formats import FORMATS, csv_text
from rocm.evaluation.plan import ComparisonPlan, Result
from rocm.evaluation.table import make_table, read_picture
from rocm.storage.progress import counted

TILE, LABEL, GAP, HEAD, FOOT = 160, 230, 10, 52, 34
MAX_TILES = 600
INK, GRAY, PAPER = "#1c2430", "#5b6675", "#ffffff"
PACKAGES = ("torch", "diffusers", "peft", "transformers")


def sheet(plan: ComparisonPlan, results: list[Result]) -> bytes:
    """A PNG with prompts and seeds as rows and arms as columns; with reward and judge.

    It has at most 600 pictures, in whole rows; missing ones are gray. MissingFile if none is drawn.
    """
    _check_drawn(results)
    drawn = {result.index: result for result in results}
    columns = len(plan.columns)
    rows = list(product(range(len(plan.prompts)), range(len(plan.seeds))))
    rows = rows[: max(1, MAX_TILES // columns)]
    size = (LABEL + columns * (TILE + GAP) + GAP, HEAD + len(rows) * (TILE + FOOT + GAP) + GAP)
    page = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(page)
    for k, column in enumerate(plan.columns):
        lines = wrap(column.title, 26)[:3]
        _write(pen, (LABEL + k * (TILE + GAP), 6), lines, 13)
    for line, (p, s) in enumerate(rows):
        top = HEAD + line * (TILE + FOOT + GAP)
        words = [*wrap(plan.prompts[p], 32)[:7], f"seed {plan.seeds[s]}"]
        _write(pen, (GAP, top), words, 12)
        for k in range(columns):
            result = drawn.get(plan.index(k, p, s))
            _tile(page, pen, (LABEL + k * (TILE + GAP), top), result, plan)
    file = io.BytesIO()
    page.save(file, "PNG", optimize=True)
    return file.getvalue()


def bundle(plan: ComparisonPlan, results: list[Result], path: Path) -> Path:
    """Write a zip of every picture, results.csv, the tables and manifest.json to `path`."""
    _check_drawn(results)
    table = make_table(plan, results)
    with ZipFile(path, "w", ZIP_DEFLATED) as file:
        for result in counted(results):
            file.write(result.file, f"pictures/{result.file.name}", ZIP_STORED)
        file.writestr("results.csv", results_csv(plan, results))
        for ending, write in FORMATS.items():
            file.writestr(f"table.{ending}", write(table))
        file.writestr("sheet.png", sheet(plan, results), ZIP_STORED)
        file.writestr("manifest.json", json.dumps(manifest(plan, results), indent=1))
    return path


def results_csv(plan: ComparisonPlan, results: list[Result]) -> str:
    """One line for each picture: arm, prompt, seed, file, measures."""
    lines: list[list[object]] = [["arm", "prompt", "seed", "file", *plan.measures]]
    for result in sorted(results, key=lambda result: result.index):
        column, prompt, seed = plan.cell(result.index)
        place = [plan.columns[column].title, plan.prompts[prompt], plan.seeds[seed]]
        scores = [result.scores[name] for name in plan.measures]
        lines.append([*place, result.file.name, *scores])
    return csv_text(lines)


def manifest(plan: ComparisonPlan, results: list[Result]) -> dict[str, object]:
    """The plan with its adapters' hashes, what is drawn of it, and the versions that drew it."""
    versions = {"rocm": __version__, "python": platform.python_version()}
    versions |= {name: version(name) for name in PACKAGES}
    return {
        "key": plan.key,
        "num_drawn": len(results),
        "num_pictures": plan.num_pictures,
        "noise": "picture (column, prompt, seed) draws initial and per-step noise from seed alone",
        "versions": versions,
        **asdict(plan),
    }


def _check_drawn(results: list[Result]) -> None:
    if not results:
        raise MissingFile("Nothing is drawn yet, so there is nothing to download.")


def _tile(
    page: Image.Image,
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int],
    result: Result | None,
    plan: ComparisonPlan,
) -> None:
    left, top = place
    if result is None:
        pen.rectangle((left, top, left + TILE, top + TILE), fill="#e4e7ec")
        return
    picture = read_picture(result.file)
    enlarged = picture.width < TILE
    how = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    page.paste(picture.resize((TILE, TILE), how), place)
    trained = [name for column in plan.columns for name in column.trained]
    main = [*trained, *plan.rewards][0]
    named = [name for name in dict.fromkeys([main, plan.judge]) if name]
    lines = [f"{name} {result.scores[name]:.3g}" for name in named]
    _write(pen, (left, top + TILE + 2), lines, 11, GRAY)


def _write(
    pen: ImageDraw.ImageDraw, place: tuple[int, int], lines: list[str], size: int, ink: str = INK
) -> None:
    pen.multiline_text(place, "\n".join(lines), ink, ImageFont.load_default(size), spacing=3)
