"""A table of preferences between pictures, as people gave them; without torch.

Its columns are in docs/settings.md, "Preferences". They name who drew each picture and with which
noise, so that the generation can be repeated step by step.
"""

import csv
import io
import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened

from rocm.errors import ConfigError, MissingFile, RocmError
from rocm.prompts.files import MAX_FILE_BYTES, check_prompt
from rocm.runs.adapters import BASE, WEIGHTS, find_adapter

COLUMNS = ("prompt", "seed", "winner", "loser")
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Preference:
    """One row; `winner` and `loser` are `base` or the absolute path of an adapter folder."""

    prompt: str
    seed: int
    winner: str
    loser: str
    loser_seed: int


def load_preferences(
    source: str, held_out: Collection[str], runs: Path | None = None
) -> tuple[Preference, ...]:
    """Read and check a table of preferences, in order.

    Adapters have the names of `find_adapter`, whose runs are in `runs`, or are folders relative to
    the table's. No row may use a prompt of `held_out`. Raises `MissingFile` without the file, and
    `ConfigError` with the line of a value that is not allowed.
    """
    path = Path(os.path.expanduser(source))
    preferences = []
    for number, row in _rows(path):
        try:
            preferences.append(_preference(row, path.parent, held_out, runs))
        except RocmError as error:
            raise ConfigError(f"Line {number} of {path}: {error}") from error
    if not preferences:
        raise ConfigError(f"preferences={path} has no rows. Give at least one preference.")
    return tuple(preferences)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    if path.suffix not in (".csv", ".jsonl"):
        raise ConfigError(
            f"preferences={shortened(str(path))} is neither a .csv nor a .jsonl file. "
            f"Give a table with the columns {', '.join(COLUMNS)}."
        )
    if not path.is_file():
        raise MissingFile(
            f"preferences={str(path)[:200]} does not exist. Give a .csv or .jsonl table with the "
            f"columns {', '.join(COLUMNS)}."
        )
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ConfigError(
            f"preferences={path} has more than {MAX_FILE_BYTES // 1_000_000} MB. Give fewer rows."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"preferences={path} is not in UTF-8. Save it as UTF-8.") from error
    yield from _csv_rows(path, text) if path.suffix == ".csv" else _json_rows(path, text)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, object]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ConfigError(
                f"preferences={path} lacks the column '{missing[0]}' in its first line. It must "
                f"have {', '.join(COLUMNS)}."
            )
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise ConfigError(f"Line {reader.line_num} of {path} is not valid CSV: {error}.") from error


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise ConfigError(
                f"Line {number} of {path} is not a JSON object. Write lines like "
                '{"prompt": "a red apple", "seed": 0, "winner": "base", "loser": "my-adapter"}.'
            )
        yield number, row


def _preference(
    row: dict[str, object], folder: Path, held_out: Collection[str], runs: Path | None
) -> Preference:
    texts = {name: row.get(name) for name in COLUMNS}
    for name in ("prompt", "winner", "loser"):
        if not isinstance(texts[name], str):
            raise ConfigError(f"{name}={shortened(texts[name])} is not text. Give text.")
    prompt = check_prompt(str(texts["prompt"]))
    if prompt in held_out:
        raise ConfigError(
            f"the prompt {shortened(prompt)} is also evaluated on, so it would not be held out any "
            "more. Leave that row out, or set prompts to others."
        )
    winner, loser = (_arm(str(texts[name]), folder, runs or folder) for name in ("winner", "loser"))
    seed = _seed(texts["seed"])
    other = row.get("loser_seed")
    loser_seed = seed if other in (None, "") else _seed(other)
    if (winner, seed) == (loser, loser_seed):
        raise ConfigError(f"winner and loser are both {winner}. Leave ties out.")
    return Preference(prompt, seed, winner, loser, loser_seed)


def _seed(value: object) -> int:
    number = -1
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,19}\s*", value):
        number = int(value)
    if not 0 <= number <= MAX_SEED:
        raise ConfigError(
            f"seed={shortened(value)} is not a whole number from 0 to {MAX_SEED}. "
            "Give the noise seed that both pictures were drawn with."
        )
    return number


def _arm(text: str, folder: Path, runs: Path) -> str:
    """`base`, or the absolute folder of an adapter; a folder beside the table comes first."""
    name = text.strip()
    if not name:
        raise ConfigError("winner or loser is empty. Give base, or the name of an adapter.")
    place = folder / os.path.expanduser(name)
    is_beside = any(os.path.isfile(path / WEIGHTS) for path in (place, place / "adapter"))
    adapter = find_adapter(str(place.resolve()) if is_beside else name, runs)
    return str(adapter.path.resolve()) if adapter.folder else BASE
