"""Data stage: emoji art from npm packages, drawn as 64 x 64 RGBA pictures with names and keywords.

The packages are read from a `node_modules` folder; nothing is downloaded here. Install them with
`npm i --ignore-scripts` and the names and versions in `SOURCES`, plus emojibase-data@17.0.0.
Skin-tone variants, components, flags and keycaps are left out. Transparency is kept, so that the
loader can put any ground color behind a drawing.
"""

import hashlib
import io
import json
import re
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

SIZE = 64
GROUPS = (
    "smileys",
    "people",
    "component",
    "animals",
    "food",
    "travel",
    "activities",
    "objects",
    "symbols",
    "flags",
)
UNUSED_GROUPS = {"component", "flags"}


@dataclass(frozen=True)
class Source:
    """One set of drawings: npm package and version, style word of its captions, license, author."""

    package: str
    version: str
    style: str
    license: str
    author: str


SOURCES = {
    "noto": Source("@iconify-json/noto", "1.2.9", "soft", "Apache-2.0", "Google Inc"),
    "noto-v1": Source("@iconify-json/noto-v1", "1.2.5", "blob", "Apache-2.0", "Google Inc"),
    "twemoji": Source(
        "@iconify-json/twemoji", "1.2.5", "cartoon", "CC-BY-4.0", "Twitter, Inc and contributors"
    ),
    "fluent": Source(
        "@iconify-json/fluent-emoji", "1.2.7", "glossy", "MIT", "Microsoft Corporation"
    ),
    "flat": Source(
        "@iconify-json/fluent-emoji-flat", "1.2.6", "flat", "MIT", "Microsoft Corporation"
    ),
    "3d": Source("@lobehub/fluent-emoji-3d", "1.1.0", "3d", "MIT", "Microsoft Corporation"),
}


def slug(label: str) -> str:
    """The spelling that iconify makes of a label: `cat face` becomes `cat-face`."""
    text = re.sub("[’'&.!“”]", "", label.lower())
    text = text.translate(str.maketrans("ñãéôçíåÅ", "naeociaa"))
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")


def bare_code(hexcode: str) -> str:
    """Code points in lower case without the variation selector fe0f."""
    return "-".join(part for part in hexcode.lower().split("-") if part != "fe0f")


def emoji_entries(node_modules: Path) -> dict[str, dict]:
    """Name, group and keywords of every emoji that may be drawn, by bare code."""
    rows = json.loads((node_modules / "emojibase-data/en/data.json").read_text("utf-8"))
    entries = {}
    for row in rows:
        group = row.get("group")
        if group is None or GROUPS[group] in UNUSED_GROUPS or "keycap" in row["label"]:
            continue
        code = bare_code(row["hexcode"])
        name = re.sub("[“”]", "", row["label"].replace("’", "'"))
        tags = list(row.get("tags", []))
        entries[code] = {"hex": code, "name": name, "group": GROUPS[group], "tags": tags}
    return entries


def svg_document(icon: dict, defaults: dict) -> str:
    """A square SVG of one iconify icon, its own aspect kept."""
    width = icon.get("width", defaults.get("width", 16))
    height = icon.get("height", defaults.get("height", 16))
    side = max(width, height)
    left = icon.get("left", 0) - (side - width) / 2
    top = icon.get("top", 0) - (side - height) / 2
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{SIZE}" height="{SIZE}" viewBox="{left} {top} {side} {side}">{icon["body"]}</svg>'
    )


def iconify_drawings(folder: Path, entries: dict[str, dict]) -> list[tuple[str, dict]]:
    """(SVG document, entry) of every emoji of one iconify package, each once."""
    data = json.loads((folder / "icons.json").read_text("utf-8"))
    chars = json.loads((folder / "chars.json").read_text("utf-8"))
    code_of = {}
    for code, name in chars.items():
        code_of.setdefault(name, bare_code(code))
    code_of_slug = {slug(entry["name"]): code for code, entry in entries.items()}
    icons, aliases = data["icons"], data.get("aliases", {})
    drawings, seen = [], set()
    for name in [*icons, *aliases]:
        code = code_of.get(name) or code_of_slug.get(name)
        icon = icons.get(name) or icons.get(aliases[name]["parent"])
        # An alias that turns or mirrors its parent is a different drawing: left out.
        is_plain = name in icons or not set(aliases[name]) - {"parent", "hidden"}
        if code in entries and code not in seen and icon and is_plain:
            seen.add(code)
            drawings.append((svg_document(icon, data), entries[code]))
    return drawings


def webp_drawings(folder: Path, entries: dict[str, dict]) -> list[tuple[str, dict]]:
    """(path, entry) of every emoji of a package of WebP files named by code."""
    files = sorted((folder / "assets").glob("*.webp"))
    codes = [bare_code(path.stem) for path in files]
    pairs = zip(files, codes, strict=True)
    return [(str(path), entries[code]) for path, code in pairs if code in entries]


def rendered_svg(document: str) -> bytes:
    """Raw RGBA bytes of an SVG document, SIZE x SIZE."""
    png = bytes(resvg_py.svg_to_bytes(svg_string=document, width=SIZE, height=SIZE))
    return Image.open(io.BytesIO(png)).convert("RGBA").tobytes()


def rendered_webp(path: str) -> bytes:
    """Raw RGBA bytes of a WebP file, resized with premultiplied alpha."""
    values = np.asarray(Image.open(path).convert("RGBA"), np.float32) / 255
    # Premultiplied, so that the color of transparent pixels does not bleed into the edge.
    values[..., :3] *= values[..., 3:]
    size = (SIZE, SIZE)
    planes = [Image.fromarray(values[..., c]).resize(size, Image.LANCZOS) for c in range(4)]
    small = np.clip(np.stack([np.asarray(plane) for plane in planes], -1), 0, 1)
    alpha = small[..., 3:]
    small[..., :3] = np.where(alpha > 1e-4, small[..., :3] / np.maximum(alpha, 1e-4), 0)
    return (np.clip(small, 0, 1) * 255 + 0.5).astype(np.uint8).tobytes()


def is_drawing(raw: bytes) -> bool:
    """Whether a rendering covers at least 2 % of its square."""
    alpha = np.frombuffer(raw, np.uint8).reshape(SIZE, SIZE, 4)[..., 3]
    return bool((alpha > 32).mean() >= 0.02)


def png_bytes(raw: bytes) -> bytes:
    """An optimized PNG of raw RGBA bytes."""
    buffer = io.BytesIO()
    Image.frombytes("RGBA", (SIZE, SIZE), raw).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def make_dataset(node_modules: Path, out: Path, sources: tuple[str, ...], processes: int) -> int:
    """Writes `out` (npz: png bytes, offsets, metadata as JSON) and returns the number of pictures.

    Exact duplicates (aliases of one drawing) and empty renderings are dropped.
    """
    entries = emoji_entries(node_modules)
    raws, metas = [], []
    with get_context("spawn").Pool(processes) as pool:
        for key in sources:
            source = SOURCES[key]
            folder = node_modules / source.package
            is_svg = (folder / "icons.json").exists()
            drawings = (iconify_drawings if is_svg else webp_drawings)(folder, entries)
            render = rendered_svg if is_svg else rendered_webp
            raws += pool.map(render, [drawing for drawing, _ in drawings], chunksize=32)
            metas += [{**entry, "source": key, "style": source.style} for _, entry in drawings]
            print(f"{key}: {len(drawings)} drawings", flush=True)
        digests = [hashlib.sha1(raw).digest() for raw in raws]
        first = {digest: i for i, digest in reversed(list(enumerate(digests)))}
        kept = [i for i in sorted(first.values()) if is_drawing(raws[i])]
        pngs = pool.map(png_bytes, [raws[i] for i in kept], chunksize=64)
    offsets = np.cumsum([0] + [len(png) for png in pngs])
    meta = json.dumps([metas[i] for i in kept], ensure_ascii=False).encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    png = np.frombuffer(b"".join(pngs), np.uint8)
    np.savez(out, png=png, offset=offsets, meta=np.frombuffer(meta, np.uint8))
    return len(kept)
