"""Writes the SQL of the vote store's first revision: python -m scripts.study_schema FOLDER.

For whoever adds a revision: the difference between its output and the files of the last revision is
what the new one must do.
"""

import sys
from pathlib import Path

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from rocm.study.store.tables import metadata

DIALECTS = {"sqlite": sqlite.dialect(), "postgresql": postgresql.dialect()}


def schema(name: str) -> str:
    """Every statement that makes tables and indices; triggers are made anew at each upgrade.

    Args:
        name: `sqlite` or `postgresql`.

    Returns:
        SQL, statements parted by a semicolon on a line of its own.
    """
    parts = []
    for table in metadata.sorted_tables:
        parts.append(CreateTable(table).compile(dialect=DIALECTS[name]))
        indices = sorted(table.indexes, key=lambda index: str(index.name))
        parts += [CreateIndex(index).compile(dialect=DIALECTS[name]) for index in indices]
    made = [str(part).strip() for part in parts]
    lines = (line.rstrip() for line in "\n;\n".join(made).splitlines())
    return "\n".join(lines) + "\n;\n"


def main() -> None:
    """Write both files."""
    for name in DIALECTS:
        file = Path(sys.argv[1]) / f"0001_{name}.sql"
        file.write_text(schema(name), encoding="utf-8")
        print(file)


if __name__ == "__main__":
    main()
