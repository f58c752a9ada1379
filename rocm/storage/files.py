"""Files that a reader never sees half-written, and one clear sentence when the disk is full."""

import errno
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from reprlib import Repr
from typing import Any

import yaml
from filelock import FileLock, Timeout

from rocm.errors import ConfigError, RunError, TrainingError

log = logging.getLogger(__name__)
SHORT = Repr()  # of what was given: aliases of YAML can stand for gigabytes
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother = 2, 200, 200
# Thirty times faster where PyYAML has libyaml: a list of 1,000 runs reads as many files.
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_SETTINGS_BYTES = 4_000_000  # what a lab's page takes too
STEP_FOLDER = re.compile(r"step_(\d{6,})")
NUMBER = int | float | None
# Types of what stands in every line of a file, and of what a warning has besides.
LINES: dict[str, dict[str, Any]] = {
    "metrics.jsonl": {"step": int, "time": int | float},
    "events.jsonl": {"kind": str, "time": int | float},
}
WARNING = {"step": int, "warning": str, "message": str}


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace a file whole, even after a power cut; on a `TrainingError` the old file stays."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _cannot_write(path, error) from error


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Write a folder under another name and rename it at the end, so it is never half there.

    Its files are on the disk before that: a power cut leaves the old folder or the new one, whole.
    Raises `TrainingError` if the disk is full; the old folder stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        for left in (temporary, old):  # by a killed process; a container gives its id again
            shutil.rmtree(left, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            _sync(file)
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def append_json_line(path: Path, row: dict[str, Any]) -> None:
    """Add one line in one write; not finite is null. On a `TrainingError` the file stays."""
    data = json_line(row).encode()
    try:
        with open(path, "ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if (file.write(data) or 0) < len(data):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise _cannot_write(path, error) from error


def read_yaml(path: Path, advice: str) -> Any:
    """The content of a file of settings; OSError, or ConfigError as `parse_yaml`."""
    with open(path, "rb") as file:  # read in pieces: of a pipe or device nobody knows the size
        data = file.read(MAX_SETTINGS_BYTES + 1)
    if len(data) > MAX_SETTINGS_BYTES:
        raise ConfigError(
            f"{path} is larger than {MAX_SETTINGS_BYTES // 1_000_000} MB, as no file of settings "
            "is. Give another file."
        )
    return parse_yaml(data, str(path), advice)


def parse_yaml(text: str | bytes, name: str, advice: str) -> Any:
    """The content of a YAML text; ConfigError, which ends with `advice`, if it is none."""
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        try:
            return yaml.load(text, YAML_LOADER)
        except yaml.YAMLError:
            return yaml.safe_load(text)  # which tells the line better
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: 2024-13-45
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{name} is not valid YAML{line}. {advice}") from error


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a .jsonl file, none without the file; RunError if one is not JSON."""
    try:
        complete = path.read_bytes().rpartition(b"\n")[0]
    except FileNotFoundError:
        return []
    return parse_lines(path, complete)


def parse_lines(path: Path, text: bytes) -> list[dict[str, Any]]:
    """The objects of the complete lines of file `path`; RunError if one lacks a required key."""
    try:
        rows = [json.loads(line) for line in text.splitlines()]
    except ValueError as error:
        raise RunError(f"{path} is damaged: a line is not JSON.") from error
    if not all(isinstance(row, dict) for row in rows):
        raise RunError(f"{path} is damaged: a line is not a JSON object.")
    damaged = next((row for row in rows if not _is_whole(path.name, row)), None)
    if damaged is not None:
        raise RunError(f"{path} is damaged: a line of it is {SHORT.repr(damaged)}.")
    return rows


def whole_lines(path: Path, text: bytes) -> list[tuple[int, dict[str, Any]]]:
    """Offset and object of each line of file `path` that is not damaged; others are left out."""
    rows, offset = [], 0
    for line in text.splitlines(keepends=True):
        try:
            rows.append((offset, parse_lines(path, line)[0]))
        except RunError:
            log.debug("%s: a damaged line is left out.", path)
        offset += len(line)
    return rows


def _is_whole(file: str, row: dict[str, Any]) -> bool:
    """Whether a row has what all readers of that file rely on."""
    if file == "metrics.jsonl" and not all(isinstance(value, NUMBER) for value in row.values()):
        return False
    needed: dict[str, Any] = LINES.get(file, {})
    if row.get("kind") == "warning":
        needed = needed | WARNING
    return all(isinstance(row.get(name), kind) for name, kind in needed.items())


def json_line(row: dict[str, Any]) -> str:
    """One object as one line of JSON; numbers that are not finite become null."""
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }
    return json.dumps(finite, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:
    """The content of a .json file, None without the file; RunError if it is damaged."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: it is not JSON.") from error
    except OSError as error:
        raise RunError(f"Cannot read {path}: {error.strerror}. Choose another folder.") from error


def read_record(path: Path, kinds: dict[str, Any]) -> dict[str, Any] | None:
    """The object of a .json file, None without the file; RunError if a value has another type.

    `kinds` are types by name; a name that may be absent allows None.
    """
    record = read_json(path)
    if record is None and not path.exists():
        return None
    if not isinstance(record, dict):
        raise RunError(f"{path} is damaged: it does not hold a JSON object.")
    for name, kind in kinds.items():
        if not isinstance(record.get(name), kind):
            raise RunError(f"{path} is damaged: {name}={SHORT.repr(record.get(name))}.")
    return record


def read_pictures(path: Path) -> list[dict[str, Any]]:
    """The pictures of a manifest with `file`, `prompt` and `seed`; none without a manifest."""
    records = read_json(path) or []
    try:
        wanted = [(record["file"], record["prompt"], record["seed"]) for record in records]
    except (TypeError, KeyError) as error:
        raise RunError(f"{path} is damaged: it is not a list of pictures.") from error
    if not all(isinstance(name, str) for name, _, _ in wanted):
        raise RunError(f"{path} is damaged: a picture's file is not text.")
    return list(records)


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that a killed writer left without its end."""
    if path.exists():
        with open(path, "rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def _sync(file: Path) -> None:
    """See to it that a file's content is on the disk; its folder's entry is the system's affair."""
    if file.is_file():
        with open(file, "rb+") as written:
            os.fsync(written.fileno())


def is_locked(path: Path) -> bool:
    """Whether a process of this machine holds a lock file, which is made where there is none."""
    try:
        FileLock(path, thread_local=False).acquire(timeout=0).lock.release()
    except Timeout:
        return True
    return False


def step_folders(parent: Path) -> list[tuple[int, Path]]:
    """Step and path of each folder that is named after an update, in order."""
    if not parent.is_dir():
        return []
    named = [(STEP_FOLDER.fullmatch(folder.name), folder) for folder in parent.iterdir()]
    return sorted((int(match[1]), folder) for match, folder in named if match)


def make_folder(path: Path) -> None:
    """Make a folder and its parents; a full disk is a TrainingError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> TrainingError:
    return TrainingError(
        f"Cannot write {path}: {error.strerror}. Nothing half-written was left there. "
        "Free some space or fix the folder, then resume."
    )


def check_text(name: str, text: str) -> str:
    """The text; ConfigError if it holds half a character, as from a wrongly encoded terminal."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"The {name} holds {text[error.start]!a}, which is not a character. Type it in UTF-8."
        ) from error
    return text
