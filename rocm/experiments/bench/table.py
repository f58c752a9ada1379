"""A benchmark report: rows of figures, as text and as JSON."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rocm.errors import RunError

Row = dict[str, str | float | int | None]


@dataclass(frozen=True)
class Report:
    """A title, rows of figures with the same columns, and facts that hold for all rows."""

    title: str
    rows: list[Row]
    facts: dict[str, Any]

    @property
    def heading(self) -> str:
        """Title and facts in one line."""
        return f"{self.title}: {', '.join(f'{name} {value}' for name, value in self.facts.items())}"

    def text(self) -> str:
        """Heading, columns, rows."""
        names = list(self.rows[0])
        lines = [names, *([_cell(row[name]) for name in names] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        words = {name for name in names if isinstance(self.rows[0][name], str)}
        texts = [
            "  ".join(
                cell.ljust(width) if name in words else cell.rjust(width)
                for cell, width, name in zip(line, widths, names, strict=True)
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.heading, *texts])

    def save(self, path: Path) -> None:
        """Write rows and facts as JSON; RunError if the file cannot be written."""
        content = {"heading": self.heading, **self.facts, "rows": self.rows}
        try:
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise RunError(
                f"Cannot write {path}: {error.strerror}. Choose another --json."
            ) from error


def _cell(value: str | float | int | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value
