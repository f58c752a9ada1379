"""Drawings kept on disk: one folder per request, newest first, with a bin.

ID/entry.json   settings as the page had them, pictures, end
ID/000.png ...  the pictures, each with its settings inside
bin/ID/         deleted entries; nothing here empties it
"""

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rocm.errors import MissingFile, RunError
from rocm.generation.picture import Picture, picture_file
from rocm.storage.files import make_folder, read_record, write_atomic

ENTRY_ID = re.compile(r"\d{8}-\d{6}-\d{6}-[0-9a-f]{4}")
BIN = "bin"


@dataclass(frozen=True)
class Entry:
    """A request on disk."""

    entry_id: str  # date, time and four random characters; sorts by time
    order: dict[str, Any]  # settings as the page had them
    pictures: tuple[Picture, ...]
    is_base: tuple[bool, ...]  # for each picture, whether it is the base model's
    state: str = "drawing"  # `drawing` until it ended; an app that died leaves it so
    error: str = ""  # a sentence, if it failed
    seconds: float = 0.0  # from the request to its end
    files: dict[int, Path] = field(default_factory=dict)  # of the drawn pictures, by index


ENTRY = TypeAdapter(Entry)


@dataclass(frozen=True)
class History:
    """The entries below one folder."""

    root: Path

    def create(
        self, order: dict[str, Any], pictures: list[Picture], is_base: list[bool]
    ) -> tuple[str, Path]:
        """Start an entry; returns its id and the folder for its pictures."""
        entry_id = f"{datetime.now():%Y%m%d-%H%M%S-%f}-{token_hex(2)}"
        folder = self.root / entry_id
        make_folder(folder)
        record = {
            "order": order,
            "pictures": [asdict(picture) for picture in pictures],
            "is_base": is_base,
            "state": "drawing",
        }
        write_atomic(folder / "entry.json", json.dumps(record, indent=1))
        return entry_id, folder

    def finish(self, entry_id: str, state: str, error: str, seconds: float) -> None:
        """Record how a request ended; no effect on an entry deleted meanwhile."""
        path = self.root / entry_id / "entry.json"
        record = read_record(path, {})
        if record is not None:
            ending = {"state": state, "error": error, "seconds": seconds}
            write_atomic(path, json.dumps({**record, **ending}, indent=1))

    def entry(self, entry_id: str) -> Entry:
        """An entry; MissingFile if it does not exist, RunError if it is damaged."""
        folder = self._folder(entry_id)
        record = read_record(folder / "entry.json", {"pictures": list})
        if record is None:
            raise _missing(entry_id)
        files = {index: picture_file(folder, index) for index in range(len(record["pictures"]))}
        drawn = {index: file for index, file in files.items() if file.is_file()}
        try:
            entry = ENTRY.validate_python({**record, "entry_id": folder.name, "files": drawn})
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"]))
            raise RunError(f"{folder / 'entry.json'} is damaged ({place}).") from error
        if not entry.pictures or len(entry.is_base) != len(entry.pictures):
            raise RunError(f"{folder / 'entry.json'} is damaged (pictures, is_base).")
        return entry

    def ids(self) -> list[str]:
        """Ids of all entries, newest first."""
        if not self.root.is_dir():
            return []
        names = [path.name for path in self.root.iterdir() if ENTRY_ID.fullmatch(path.name)]
        return sorted((n for n in names if (self.root / n / "entry.json").is_file()), reverse=True)

    def delete(self, entry_id: str) -> None:
        """Move an entry into the bin."""
        folder = self._folder(entry_id)
        make_folder(self.root / BIN)
        self._move(folder, self.root / BIN / folder.name)

    def restore(self, entry_id: str) -> None:
        """Take an entry back from the bin."""
        target = self._folder(entry_id)
        self._move(self.root / BIN / target.name, target)

    def drop_oldest(self, num_kept: int) -> None:
        """Permanently remove all but the newest `num_kept` entries, and the bin."""
        shutil.rmtree(self.root / BIN, ignore_errors=True)
        for entry_id in self.ids()[num_kept:]:
            shutil.rmtree(self.root / entry_id, ignore_errors=True)

    def _folder(self, entry_id: str) -> Path:
        if not ENTRY_ID.fullmatch(entry_id):
            raise _missing(entry_id)
        return self.root / entry_id

    @staticmethod
    def _move(source: Path, target: Path) -> None:
        try:
            os.replace(source, target)
        except FileNotFoundError as error:
            raise _missing(source.name) from error
        except OSError as error:
            raise RunError(f"Cannot move {source} to {target}: {error.strerror}.") from error


def _missing(entry_id: str) -> MissingFile:
    return MissingFile(f"There is no drawing '{entry_id[:40]}' in this history.")
