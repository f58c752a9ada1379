"""Lists of prompts in files and in data sets of the hub.

Of a data set only one column is read: a Parquet file's other columns, such as pictures, never
travel. What was read is kept beside the hub's cache, so that a run needs no network.
"""

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rocm.errors import ConfigError, MissingFile, RunError
from rocm.storage.files import check_text
from rocm.storage.hub import MAKE_ROOM, TIMEOUT_S, Repository, asked, megabytes, repository

MAX_CHARACTERS = 1000
MAX_FILE_BYTES = 100_000_000
COLUMNS = ("prompt", "caption", "text", "Prompt")
TABLES = (".csv", ".tsv", ".json", ".jsonl")
FORMATS = (".txt", *TABLES, ".parquet")
HUB = "hub:"


@dataclass(frozen=True)
class HubPrompts:
    """The prompts of a data set, each once, and the commit, column and files that hold them.

    `num_unusable` were left out because they are empty or longer than 1,000 characters.
    """

    commit: str
    column: str
    files: list[str]
    num_unusable: int
    prompts: list[str]


def check_prompt(prompt: str) -> str:
    """The prompt without surrounding white space; ConfigError if empty, too long or not text."""
    text = check_text("prompt", prompt).strip()
    if not text:
        raise ConfigError(
            "The prompt is empty. Describe a picture, such as: a glossy emoji of a red apple"
        )
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            f"The prompt has {len(text):,} characters; at most {MAX_CHARACTERS:,} are allowed. "
            "Shorten it."
        )
    return text


def read_prompts(path: Path, column: str = "") -> list[str]:
    """The prompts of a file, in order, with repetitions; or `MissingFile`, `ConfigError`.

    .csv, .tsv, .json and .jsonl are tables, of which `column` (or a key of that name) is read, by
    default the first of prompt, caption, text; other files have one prompt per line.
    """
    if not os.path.exists(path):
        raise MissingFile(
            f"prompts={str(path)[:200]} does not exist. Give a text file with one prompt per line, "
            "a .csv, .json or .jsonl, a data set as hub:owner/name, or 'embedded'."
        )
    # A device or a pipe may never end.
    if not os.path.isfile(path) or path.stat().st_size > MAX_FILE_BYTES:
        raise _unusable(path, f"it is not a file of at most {megabytes(MAX_FILE_BYTES)}")
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unusable(path, "it is not a UTF-8 text file") from error
    except OSError as error:
        raise _unusable(path, f"it cannot be read ({error.strerror})") from error
    is_table, prompts = path.suffix.lower() in TABLES, []
    for number, text in enumerate(_parse(str(path), content, column), start=1):
        if not is_table and not text.strip():
            continue
        try:
            prompts.append(check_prompt(text))
        except ConfigError as error:
            place = "Prompt" if is_table else "Line"
            raise ConfigError(f"{place} {number} of {path}: {error}") from error
    return prompts


def find_hub_prompts(source: str, column: str) -> HubPrompts:
    """Prompts of `hub:owner/name[@revision][:pattern]` that were read before, or MissingFile."""
    wanted, pattern = _data_set(source)
    path = _stored(wanted, pattern, column)
    if not path.is_file():
        flag = f" --column {column}" if column else ""
        raise MissingFile(
            f"prompts={source} is not on this disk. Run: python -m rocm download {source}{flag}"
        )
    try:
        return HubPrompts(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{path} is damaged. Delete it, then: python -m rocm download {source}"
        ) from error


def fetch_hub_prompts(source: str, column: str, announce: Callable[[str], None]) -> HubPrompts:
    """Read a column of a data set from the hub, and keep it; arguments as in `find_hub_prompts`.

    `announce` takes sentences on the progress. Raises `MissingFile` without network or a fitting
    file, `ConfigError` without the column or for a damaged file, `RunError` if nothing can be kept.
    """
    from huggingface_hub import HfApi, HfFileSystem

    wanted, pattern = _data_set(source)
    info = asked(
        source,
        lambda: HfApi().dataset_info(
            wanted.name, revision=wanted.revision, timeout=TIMEOUT_S, files_metadata=False
        ),
    )
    files = _chosen(source, [sibling.rfilename for sibling in info.siblings or []], pattern)
    system, root = HfFileSystem(), f"datasets/{wanted.name}@{info.sha}"
    texts: list[str] = []
    for number, file in enumerate(files, start=1):
        announce(f"{source}: file {number} of {len(files)}, {file}")
        texts += asked(source, partial(_column, system, root, file, column, announce))
    usable = [" ".join(text.split()) for text in texts if 0 < len(text.strip()) <= MAX_CHARACTERS]
    prompts = HubPrompts(
        str(info.sha), column, files, len(texts) - len(usable), list(dict.fromkeys(usable))
    )
    _keep(_stored(wanted, pattern, column), prompts)
    announce(f"{source}: {len(prompts.prompts):,} prompts, {prompts.num_unusable:,} left out.")
    return prompts


def _keep(path: Path, prompts: HubPrompts) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(asdict(prompts), ensure_ascii=False), encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"{path} cannot be written: {error.strerror}. {MAKE_ROOM}.") from error


def is_hub_source(source: str) -> bool:
    """Whether the setting `prompts` names a data set of the hub."""
    return source.startswith(HUB)


def _data_set(source: str) -> tuple[Repository, str]:
    name, _, pattern = source.removeprefix(HUB).partition(":")
    return repository(name), pattern


def _stored(wanted: Repository, pattern: str, column: str) -> Path:
    from huggingface_hub import constants

    digest = hashlib.sha256(f"{pattern}\n{column}".encode()).hexdigest()[:12]
    folder = Path(constants.HF_HOME) / "rocm-prompts"
    return folder / f"{str(wanted).replace('/', '--')}-{digest}.json"


def _chosen(source: str, names: list[str], pattern: str) -> list[str]:
    """Files of the pattern; without one those of the training split, else all that can be read."""
    readable = sorted(name for name in names if Path(name).suffix in FORMATS)
    if pattern:
        expression = re.compile(re.escape(pattern).replace(r"\*", ".*"))
        chosen = [name for name in readable if expression.fullmatch(name)]
    else:
        chosen = [name for name in readable if re.search(r"(^|/)train[-_.]", name)] or readable
    if not chosen:
        raise MissingFile(
            f"prompts={source}: no file of the data set fits. It has {', '.join(names)[:300]}; "
            f"formats: {', '.join(FORMATS)}."
        )
    return chosen


def _column(
    system: Any, root: str, file: str, column: str, announce: Callable[[str], None]
) -> Iterable[str]:
    with system.open(f"{root}/{file}", "rb", block_size=2**20) as content:
        if not file.endswith(".parquet"):
            if content.size > MAX_FILE_BYTES:
                raise _unusable(file, f"it is larger than {megabytes(MAX_FILE_BYTES)}")
            return _parse(file, content.read().decode("utf-8-sig"), column)
        import pyarrow.parquet

        # No threads of pyarrow: one that still holds the file when Python ends aborts the process.
        table = pyarrow.parquet.ParquetFile(content, pre_buffer=False)
        name = _named(file, table.schema_arrow.names, column)
        groups = map(table.metadata.row_group, range(table.metadata.num_row_groups))
        parts = (group.column(k) for group in groups for k in range(group.num_columns))
        size = sum(part.total_compressed_size for part in parts if part.path_in_schema == name)
        announce(f"{file}: column {name}, {megabytes(size)}")
        values = table.read(columns=[name], use_threads=False).column(name).to_pylist()
        return _texts(file, name, values)


def _texts(file: str, column: str, values: list[Any]) -> list[str]:
    """Those values of a Parquet column that are there; ConfigError unless they are texts."""
    there = [value for value in values if value is not None]
    other = next((value for value in there if not isinstance(value, str)), None)
    if other is not None:
        raise _unusable(file, f"column '{column}' holds {type(other).__name__}, not text")
    return there


def _parse(name: str, content: str, column: str) -> list[str]:
    """Texts of a file by the end of its name."""
    suffix = Path(name).suffix.lower()
    try:
        if suffix in (".csv", ".tsv"):
            table = csv.DictReader(
                io.StringIO(content, newline=""), delimiter="\t" if suffix == ".tsv" else ","
            )
            return _of_objects(name, list(table), column)
        if suffix == ".json":
            return _of_objects(name, json.loads(content), column)
        if suffix == ".jsonl":
            lines = [line for line in lines_of(content) if line.strip()]
            return _of_objects(name, [json.loads(line) for line in lines], column)
    except (ValueError, RecursionError, csv.Error) as error:
        raise _unusable(name, f"it is not a {suffix} file ({error})") from error
    return lines_of(content)


def lines_of(content: str) -> list[str]:
    """Lines as editors count them: str.splitlines also breaks at characters within a text."""
    return content.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _of_objects(name: str, rows: object, column: str) -> list[str]:
    if not isinstance(rows, list):
        raise _unusable(name, "it does not hold a list")
    if all(isinstance(row, str) for row in rows):
        return rows
    if not all(isinstance(row, dict) for row in rows):
        raise _unusable(name, "it holds neither texts nor objects")
    key = _named(name, list(rows[0]), column)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row.get(key), str):
            raise _unusable(name, f"row {number} has no text under '{key}'")
        if None in row:  # a .csv's cells beyond the last column
            raise _unusable(
                name, f"row {number} has more cells than the header; quote a text with a comma"
            )
    return [row[key] for row in rows]


def _named(name: str, columns: list[str], wanted: str) -> str:
    column = wanted or next((known for known in COLUMNS if known in columns), "")
    if column in columns:
        return column
    raise ConfigError(
        f"prompts={name} has no column '{wanted or 'prompt'}'. Set prompt_column to one of: "
        f"{', '.join(map(str, columns))[:300]}."
    )


def _unusable(path: Path | str, reason: str) -> ConfigError:
    return ConfigError(
        f"prompts={path} cannot be used: {reason}. Give a UTF-8 text file with one prompt per "
        "line, a .csv, .json or .jsonl, a data set as hub:owner/name, or 'embedded'."
    )
