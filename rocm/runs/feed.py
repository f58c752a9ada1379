"""New rows of a growing .jsonl file, for a reader who has the older ones.

`Follower` keeps rows in memory and parses only new ones. A browser keeps a bookmark: where its last
row starts, and that row's time. If another row is there now (a resumed run drops rows after its
checkpoint), everything is sent again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rocm.storage.files import whole_lines

PAGE_BYTES = 400_000
LAST_BYTES = 65_536


@dataclass(frozen=True)
class Bookmark:
    """The last row of a reader: byte where it starts, and its `time`. Zeros: none."""

    offset: int = 0
    time: float = 0.0


@dataclass(frozen=True)
class Page:
    """Rows as columns."""

    columns: dict[str, list[float | None]]  # by name; None if a row lacks it; 5 digits
    bookmark: Bookmark  # of the last row
    is_fresh: bool  # whether these are the first rows, which replace what the reader had
    has_more: bool  # whether more rows follow


def read_page(path: Path, after: Bookmark, max_bytes: int = PAGE_BYTES) -> Page:
    """The rows after a bookmark in metrics.jsonl, which need not exist yet.

    Reads at most `max_bytes`, which must hold a row. Damaged lines are left out.
    """
    if not path.exists():
        return Page({}, Bookmark(), is_fresh=True, has_more=False)
    text, has_more = _piece(path, after.offset, max_bytes)
    lines = whole_lines(path, text)
    begins, rows = [begin for begin, _ in lines], [row for _, row in lines]
    first = 0 if after == Bookmark() else 1
    if first and not (rows and begins[0] == 0 and rows[0]["time"] == after.time):
        return read_page(path, Bookmark(), max_bytes)
    bookmark = Bookmark(after.offset + begins[-1], rows[-1]["time"]) if rows else after
    return Page(_columns(rows[first:]), bookmark, is_fresh=first == 0, has_more=has_more)


def _piece(path: Path, offset: int, max_bytes: int) -> tuple[bytes, bool]:
    """Whole lines from `offset`, none if no line starts there; whether whole lines follow."""
    with open(path, "rb") as file:
        file.seek(max(offset - 1, 0))
        if offset and file.read(1) != b"\n":
            return b"", False
        data = file.read(max_bytes)
        rest = file.read(max_bytes) if len(data) == max_bytes else b""
    end = data.rfind(b"\n") + 1
    return data[:end], b"\n" in rest


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[float | None]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [_shortened(name, row.get(name)) for row in rows] for name in names}


def _shortened(name: str, value: Any) -> float | None:
    if not isinstance(value, int | float):
        return None
    if name == "step":
        return value
    return round(value, 3) if name == "time" else float(f"{value:.5g}")


class Follower:
    """The complete lines of a file that one process appends to and may replace."""

    def __init__(self, path: Path):
        """Follow `path`, which need not exist yet; `num_damaged` lines are left out."""
        self.path = path
        self._rows: list[dict[str, Any]] = []
        self._file = 0
        self._offset = 0
        self.num_damaged = 0

    def rows(self) -> list[dict[str, Any]]:
        """All rows so far, oldest first, not to be changed."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return []
        if stat.st_ino != self._file or stat.st_size < self._offset:
            self._rows, self._file, self._offset = [], stat.st_ino, 0
            self.num_damaged = 0
        if stat.st_size > self._offset:
            self._read_on()
        return self._rows

    def _read_on(self) -> None:
        with open(self.path, "rb") as file:
            file.seek(self._offset)
            complete, newline, _ = file.read().rpartition(b"\n")
        new = [row for _, row in whole_lines(self.path, complete)]
        self.num_damaged += len(complete.splitlines()) - len(new)
        self._rows = [*self._rows, *new]
        self._offset += len(complete) + len(newline)


def last_rows(path: Path) -> list[dict[str, Any]]:
    """The complete rows within the last `LAST_BYTES` of a .jsonl file, oldest first."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LAST_BYTES))
            whole = file.read().rpartition(b"\n")[0].splitlines()
    except FileNotFoundError:
        return []
    if size > LAST_BYTES:
        whole = whole[1:]
    return [row for _, row in whole_lines(path, b"\n".join(whole))]
