"""A study's zip from another machine: everything in it is checked before it is used.

References are left to the database, agreement with the manifest to `rocm.study.archive.verify`.
"""

import json
import math
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from PIL import Image
from sqlalchemy import Table

from rocm.errors import ConfigError, MissingFile, StudyError
from rocm.study.design.manifest import canonical
from rocm.study.design.recipe import PLAN_NUMBERS, PLAN_TEXTS, Recipe
from rocm.study.store.tables import metadata

DESIGN = ("question", "prompt", "arm", "image", "pair", "block", "slot", "event")
VOTED = ("question", "prompt", "arm", "image", "pair", "rater", "block", "slot", "trial", "vote",
         "exclusion", "event", "chain")  # fmt: skip
REFERENCES = {
    "prompt_id": "prompt", "arm_id": "arm", "arm_a": "arm", "arm_b": "arm", "image_a": "image",
    "image_b": "image", "pair_id": "pair", "rater_id": "rater", "block_id": "block",
    "trial_id": "trial", "image_id": "image",
}  # fmt: skip
AGAIN = "Make it again where the study is: study pack."
PICTURE = re.compile(r"pictures/([0-9a-f]{32})\.webp")
TEXTS = ("manifest.json", "study.json")
READ_OF_EVENT = {"invited": "sha256", "erased": "rater", "chained": "votes"}
COUNTS = ("answers", "addresses", "busiest")  # of an event "addresses"
MAX_BYTES = 64_000_000
MAX_FILES = 200_000
MAX_SIDE = 4096
LOCKED = 0x61  # flags of a zip's entry that is encrypted or a patch
# Read of every design when a rater comes.
NEEDED = {"votes_per_pair", "main_per_rater", "checks_per_rater", "repeats_per_rater",
          "lease_minutes"}  # fmt: skip
# A manifest names no arm and no list of prompts; a recipe must.
STANDING_IN = {"arms": [{"name": "a"}, {"name": "b"}], "prompts": {"num": 5000}}

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Bundle:
    """Content of a zip: the study's row, rows by table, and files by picture id."""

    about: dict[str, Any]
    tables: dict[str, Rows]
    pictures: dict[str, bytes]


def read(source: Path) -> Bundle:
    """Read and check a zip of `study pack`; StudyError if it is damaged or not allowed."""
    if not source.is_file():
        raise MissingFile(f"There is no file {source}. Give the zip of study pack.")
    try:
        manifest, document, pictures = _members(source)
        about, tables = _rows(document)
        _check_manifest(manifest, about)
        _check_pictures(pictures, tables["image"])
    except (BadZipFile, struct.error, EOFError, OSError, ValueError, RecursionError) as error:
        raise StudyError(
            f"{source} is no whole zip of a study: {error or 'it breaks off'}. {AGAIN}"
        ) from error
    return Bundle(about, tables, pictures)


def _members(source: Path) -> tuple[str, Any, dict[str, bytes]]:
    with ZipFile(source) as bundle:
        listed = bundle.infolist()
        names = {member.filename for member in listed}
        if len(names) < len(listed) or len(listed) > MAX_FILES:
            raise ValueError("a name is there twice, or there are too many")
        # A bomb needs compression, or files that lie in each other.
        total = sum(member.file_size for member in listed)
        if total > source.stat().st_size or any(member.file_size > MAX_BYTES for member in listed):
            raise ValueError("what is in it is larger than it may be")
        if any(
            member.compress_type != ZIP_STORED or member.flag_bits & LOCKED for member in listed
        ):
            raise ValueError("something in it is compressed or encrypted")
        strange = [name for name in names if name not in TEXTS and not PICTURE.fullmatch(name)]
        if strange or not names.issuperset(TEXTS):
            missing = f"one of {' and '.join(TEXTS)} is missing"
            raise ValueError(f"{strange[0][:100]!r} does not belong" if strange else missing)
        document = json.loads(bundle.read("study.json"), parse_constant=_refused)
        pictures = {Path(name).stem: bundle.read(name) for name in names - set(TEXTS)}
        return bundle.read("manifest.json").decode(), document, pictures


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _rows(document: Any) -> tuple[dict[str, Any], dict[str, Rows]]:
    """The study's row and all others, every one with its table's columns and nothing else."""
    if not isinstance(document, dict) or not isinstance(document.get("tables"), dict):
        raise ValueError("study.json has no tables")
    about: Any = document.get("study")
    check_row(metadata.tables["study"], about)
    tables: dict[str, Any] = document["tables"]
    wanted = (*VOTED, "score") if "rater" in tables else DESIGN
    if "rater" in tables and "chain" not in tables:  # made before votes were chained
        tables["chain"] = []
        tables["vote"] = [{**row, "previous": None} for row in tables.get("vote", [])]
    if set(tables) != set(wanted):
        raise ValueError(f"its tables are not {', '.join(wanted)}")
    for name in wanted:
        _check_table(metadata.tables[name], tables[name], about["id"])
    if len(tables.get("chain", [])) > 1:
        raise ValueError("the votes have several chains")
    ids = {name: {row.get("id") for row in tables[name]} for name in wanted}
    for name in wanted:
        _check_references(name, tables[name], ids)
    for row in tables["event"]:
        _check_event(row["kind"], json.loads(row["data_json"]))
    return about, tables


def _check_table(table: Table, rows: Any, study_id: str) -> None:
    if not isinstance(rows, list):
        raise ValueError(f"table {table.name} is no list of rows")
    for row in rows:
        check_row(table, row)
        if row.get("study_id", study_id) != study_id:
            raise ValueError(f"a row of table {table.name} is of another study")
    if len({tuple(row[column.name] for column in table.primary_key) for row in rows}) < len(rows):
        raise ValueError(f"a row of table {table.name} is there twice")


def check_row(table: Table, row: Any, names: Iterable[str] | None = None) -> None:
    """ValueError unless a row has the named columns, or all, with values of their types."""
    columns = [column for column in table.c if names is None or column.name in names]
    if not isinstance(row, dict) or set(row) != {column.name for column in columns}:
        raise ValueError(f"a row of table {table.name} has other columns than the table")
    for column in columns:
        value = row[column.name]
        if value is None and column.nullable:
            continue
        if type(value) is not column.type.python_type or not _is_storable(value):
            raise ValueError(f"{table.name}.{column.name} holds what is no value of it")


def _is_storable(value: str | int | float) -> bool:
    """Whether both databases can be asked to store it at all."""
    if isinstance(value, str):
        return "\0" not in value and not re.search("[\ud800-\udfff]", value)
    return math.isfinite(value) and abs(value) < 2**63


def _check_references(name: str, rows: Rows, ids: dict[str, set[Any]]) -> None:
    for row in rows:
        for column, target in REFERENCES.items():
            if row.get(column) is not None and row[column] not in ids.get(target, ()):
                raise ValueError(f"{name}.{column} names a row that is not there")


def _check_event(kind: str, data: Any) -> None:
    """What the code reads of an event is there."""
    told = data.get(READ_OF_EVENT.get(kind, "")) if isinstance(data, dict) else None
    is_list = isinstance(told, list) and _are_texts(told)
    links = data.get("links", {}) if isinstance(data, dict) else None
    is_erased = type(told) is int and isinstance(links, dict) and _are_texts(links.values())
    is_chained = type(told) is int
    counts = isinstance(data, dict) and all(type(data.get(name)) is int for name in COUNTS)
    is_whole = {"invited": is_list, "erased": is_erased, "chained": is_chained, "addresses": counts}
    if not is_whole.get(kind, True):
        raise ValueError(f"an event {kind!r} does not say what it must")


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _check_manifest(manifest: str, about: dict[str, Any]) -> None:
    if sha256(manifest.encode()).hexdigest() != about["config_sha256"]:
        raise ValueError("the manifest does not fit its hash")
    if manifest != about["config_json"]:
        raise ValueError("the manifest is there twice, and not the same")
    given = json.loads(manifest, parse_constant=_refused)
    design = given.get("design") if isinstance(given, dict) else None
    if not isinstance(design, dict) or not design.keys() >= NEEDED:
        raise ValueError("the manifest has no whole design")
    # Whatever a server of raters reads of it must be what a recipe could have said.
    plan = {name: given[name] for name in PLAN_TEXTS if name in given}
    plan |= {name: design[name] for name in PLAN_NUMBERS if name in design}
    try:
        again = Recipe.load({**plan, **STANDING_IN}).model_dump(mode="json")
    except ConfigError as error:
        raise ValueError(f"manifest, {error}") from error
    if canonical({name: again[name] for name in plan}) != canonical(plan):  # such as "5" for 5
        raise ValueError("the manifest holds values of another kind than a recipe")


def _check_pictures(pictures: dict[str, bytes], rows: Rows) -> None:
    if set(pictures) != {row["picture_id"] for row in rows}:
        raise ValueError("its pictures are not those of its rows")
    for row in rows:
        content = pictures[row["picture_id"]]
        if sha256(content).hexdigest() != row["sha256"]:
            raise ValueError(f"picture {row['picture_id']} does not fit its hash")
        fault = _fault(content, (row["width"], row["height"]))
        if fault:
            raise ValueError(f"picture {row['picture_id']} {fault}")


def _fault(content: bytes, size: tuple[int, int]) -> str:
    """What is wrong with a picture that raters would load: it is to be pixels and nothing else."""
    # RIFF, length of all, WEBP, then one chunk VP8L to the end: no text, profile, second frame.
    if content[:4] != b"RIFF" or content[8:16] != b"WEBPVP8L":
        return "is no lossless WebP without metadata"
    chunk = int.from_bytes(content[16:20], "little")
    if len(content) != 20 + chunk + chunk % 2:
        return "is followed by something else, or breaks off"
    # Read here, because opening reserves memory for all pixels before one is decoded.
    bits = int.from_bytes(content[21:25], "little")
    width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if (width, height) != size or max(size) > MAX_SIDE:
        return f"is {width} x {height}: not as its row says, or too large"
    try:
        with Image.open(BytesIO(content), formats=["WEBP"]) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError):
        return "cannot be decoded"
    return ""
