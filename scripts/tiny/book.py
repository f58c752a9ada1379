"""What the app has to know of the drawings: the drawings themselves, for taste, and all words.

assets/taste holds one lossy sheet with transparency for each style and an index;
tiny-lcm/vocabulary.json every word that a caption of the training set could hold.
"""

import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

from scripts.tiny.pictures import (
    ALIASES,
    GROUNDS,
    NOT_MIRRORED,
    SIDE,
    Drawings,
    with_article,
)

COLUMNS = 30
QUALITY = {"quality": 80, "alpha_quality": 90, "method": 6, "use_sharp_yuv": True}
WORD = r"[^\W_]+"
CAPTION_WORDS = "a an emoji of on background style"


def everyday_words(names: list[str]) -> dict[str, int]:
    """Index of the named object by alias; a word that several claim belongs to the first."""
    aliases: dict[str, int] = {}
    for number, name in enumerate(names):
        for alias in ALIASES.get(name, ()):
            if alias not in names:
                aliases.setdefault(alias, number)
    return aliases


def drawing_sheet(rgba: np.ndarray) -> Image.Image:
    """Drawings uint8 [n, 64, 64, 4] side by side, `COLUMNS` in a row."""
    rows = -(-len(rgba) // COLUMNS)
    cells = np.zeros((rows * COLUMNS, SIDE, SIDE, 4), np.uint8)
    cells[: len(rgba)] = rgba
    grid = cells.reshape(rows, COLUMNS, SIDE, SIDE, 4).transpose(0, 2, 1, 3, 4)
    return Image.fromarray(grid.reshape(rows * SIDE, COLUMNS * SIDE, 4))


def export_taste(drawings: Drawings, folder: Path) -> None:
    """Writes index.json and one sheet for each style into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    names = drawings.objects
    number = {name: i for i, name in enumerate(names)}
    sheets = {}
    for style in sorted({row["style"] for row in drawings.meta}):
        rows = [i for i, row in enumerate(drawings.meta) if row["style"] == style]
        sheets[style] = [number[drawings.meta[i]["name"]] for i in rows]
        drawing_sheet(drawings.rgba[rows]).save(folder / f"{style}.webp", **QUALITY)
    index = {
        "grounds": GROUNDS,
        "objects": names,
        "aliases": everyday_words(names),
        "not_mirrored": [i for i, name in enumerate(names) if NOT_MIRRORED.search(name)],
        "sheets": sheets,
    }
    (folder / "index.json").write_text(json.dumps(index) + "\n", "utf-8")


def export_vocabulary(drawings: Drawings, path: Path) -> None:
    """Writes subjects with their aliases, styles, grounds and all words of all captions."""
    names = drawings.objects
    groups = {row["name"]: row["group"] for row in drawings.meta}
    styles = sorted({row["style"] for row in drawings.meta})
    tags = {tag for row in drawings.meta for tag in row["tags"]}
    aliases = {name: [a for a in ALIASES.get(name, ()) if a not in names] for name in names}
    others = [alias for added in aliases.values() for alias in added]
    texts = [CAPTION_WORDS, *names, *others, *styles, *GROUNDS, *tags]
    words = {word for text in texts for word in re.findall(WORD, text.lower())}
    vocabulary = {
        "pattern": WORD,
        "styles": styles,
        "grounds": list(GROUNDS),
        "subjects": [
            {
                "name": name,
                "caption": with_article(name),
                "group": groups[name],
                "aliases": aliases[name],
            }
            for name in names
        ],
        "words": sorted(words),
    }
    path.write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n", "utf-8")
