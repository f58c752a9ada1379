"""Writes the tables of docs/settings.md from `RunConfig`: `python -m scripts.settings_table`.

The tables stand between two marker lines; the words around them are written by hand.
"""

from itertools import groupby
from typing import get_args

from pydantic.fields import FieldInfo

from rocm.config import RunConfig
from rocm.config.run_config import choices
from rocm.storage.paths import ROOT

PATH = ROOT / "docs" / "settings.md"
START, END = "<!-- tables: start -->\n", "<!-- tables: end -->\n"
BOUNDS = {"ge": ">= {}", "gt": "> {}", "le": "<= {}", "lt": "< {}", "min_length": "not empty"}


def allowed(name: str, field: FieldInfo) -> str:
    """The values that a setting takes, in words."""
    if name and (names := choices(name)):
        return ", ".join(f"`{choice}`" for choice in names)
    if field.annotation is bool:
        return "`true`, `false`"
    bounds = [
        text.format(getattr(constraint, name))
        for name, text in BOUNDS.items()
        for constraint in field.metadata
        if hasattr(constraint, name)
    ]
    kinds = {int: "whole number", float: "number", str: "text"}
    if field.annotation not in kinds:  # a number with its bounds, or a word
        number, word = get_args(field.annotation)
        inner = FieldInfo.from_annotation(number)
        return f"{allowed('', inner)}, or `{get_args(word)[0]}`"
    kind = kinds[field.annotation]
    return ", ".join([kind, *bounds])


def default(field: FieldInfo) -> str:
    """The default as one would write it in a preset."""
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return f"`{field.default}`" if field.default != "" else "empty"


def tables() -> str:
    """One Markdown table per group of settings, in the order of `RunConfig`."""
    lines = []
    fields = RunConfig.model_fields.items()
    for group, members in groupby(fields, lambda item: item[1].json_schema_extra["group"]):
        lines += [
            f"\n## {group}\n",
            "| setting | default | allowed | meaning |",
            "|---|---|---|---|",
        ]
        for name, field in members:
            help_text = field.description.replace("|", "\\|").replace("*", "\\*")
            lines.append(f"| `{name}` | {default(field)} | {allowed(name, field)} | {help_text} |")
    return "\n".join(lines).lstrip("\n") + "\n"


def document(text: str) -> str:
    """`text` with everything between the marker lines replaced by the tables."""
    head, rest = text.split(START)
    return head + START + "\n" + tables() + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    PATH.write_text(document(PATH.read_text(encoding="utf-8")), encoding="utf-8")
