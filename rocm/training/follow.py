"""A growing .jsonl file, of which every look parses only what is new."""

from pathlib import Path
from typing import Any

from rocm.training.files import parse_lines


class Follower:
    """The complete lines of a file that one process appends to and may replace."""

    def __init__(self, path: Path):
        """Follow `path`, which need not exist yet; `version` grows with every change seen."""
        self.path = path
        self._rows: list[dict[str, Any]] = []
        self._file = 0
        self._offset = 0
        self.version = 0

    def rows(self) -> list[dict[str, Any]]:
        """All rows so far, oldest first, not to be changed; RunError if a line is not JSON."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return []
        if stat.st_ino != self._file or stat.st_size < self._offset:
            self._rows, self._file, self._offset = [], stat.st_ino, 0
            self.version += 1
        if stat.st_size > self._offset:
            self._read_on()
        return self._rows

    def _read_on(self) -> None:
        with open(self.path, "rb") as file:
            file.seek(self._offset)
            complete, newline, _ = file.read().rpartition(b"\n")
        new = parse_lines(self.path, complete)
        self._rows = [*self._rows, *new]
        self.version += 1
        self._offset += len(complete) + len(newline)


def last_rows(path: Path, num_bytes: int = 65_536) -> list[dict[str, Any]]:
    """The complete rows within the last `num_bytes` of a .jsonl file, oldest first."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - num_bytes))
            text = file.read()
    except FileNotFoundError:
        return []
    whole = text.rpartition(b"\n")[0].splitlines()
    if size > num_bytes:
        whole = whole[1:]
    return parse_lines(path, b"\n".join(whole))
