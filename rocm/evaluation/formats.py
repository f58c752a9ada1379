"""The table as text: CSV, JSON, Markdown, LaTeX."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict

from rocm.algorithms.intervals import Interval
from rocm.evaluation.table import Row, Table

NOTE = (
    "Mean over prompts ({num_prompts} prompts, seeds of each: {num_seeds}), +- half of its 95 % "
    "interval; below it the paired difference to base. * trained on this reward, {judge} held out."
)


def to_csv(table: Table) -> str:
    """One line for each arm and measure: mean and difference with their ends."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ("mean", "low", "high")
    head = ["arm", "measure", "is_trained", "is_held_out", *ends]
    writer.writerow([*head, *(f"difference_{end}" for end in ends), "num_prompts", "version"])
    for row in table.rows:
        for name in table.measures:
            mean, difference = row.means[name], row.differences[name]
            flags = [int(name in row.trained), int(name == table.judge)]
            figures = [*_ends(mean), *_ends(difference), mean.num if mean else 0]
            figures.append(table.official.get(name, ""))
            writer.writerow([row.title, name, *flags, *figures])
    return text.getvalue()


def to_json(table: Table) -> str:
    """The whole table."""
    return json.dumps(asdict(table), indent=1) + "\n"


def to_markdown(table: Table) -> str:
    """A table in GitHub's Markdown."""
    heads = ["arm", *(name.replace("_", " ") for name in table.measures)]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * len(table.measures)}"]
    for row in table.rows:
        title = row.title.replace("|", "\\|")
        lines.append(f"| {title} | {' | '.join(_cells(table, row))} |")
        if not row.is_base:
            lines.append(f"| - base | {' | '.join(_differences(table, row))} |")
    return "\n".join([*lines, "", _note(table)]) + "\n"


def to_latex(table: Table) -> str:
    r"""A `tabular` that needs no package."""
    heads = ["arm", *table.measures]
    lines = [
        f"% {_note(table)}",
        f"\\begin{{tabular}}{{l{'r' * len(table.measures)}}}",
        "\\hline",
        " & ".join(_latex(one.replace("_", " ")) for one in heads) + r" \\ \hline",
    ]
    for row in table.rows:
        lines.append(" & ".join([_latex(row.title), *_math(_cells(table, row))]) + r" \\")
        if not row.is_base:
            lines.append(" & ".join(["-- base", *_math(_differences(table, row))]) + r" \\")
    return "\n".join([*lines, "\\hline", "\\end{tabular}"]) + "\n"


FORMATS: dict[str, Callable[[Table], str]] = {
    "csv": to_csv,
    "json": to_json,
    "md": to_markdown,
    "tex": to_latex,
}


def words(one: Interval | None, is_difference: bool = False) -> str:
    """Mean and half of the interval with three digits, such as `0.703 +- 0.021`."""
    if one is None:
        return "-"
    half = "" if one.high is None else f" +- {one.high - one.mean:.2g}"
    return f"{one.mean:{'+' if is_difference else ''}.3g}{half}"


def _cells(table: Table, row: Row) -> list[str]:
    return [
        words(row.means[name]) + ("*" if name in row.trained else "") for name in table.measures
    ]


def _differences(table: Table, row: Row) -> list[str]:
    return [words(row.differences[name], is_difference=True) for name in table.measures]


def _math(cells: list[str]) -> list[str]:
    return [f"${cell.replace('+-', chr(92) + 'pm')}$" if cell != "-" else "--" for cell in cells]


def _latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(sign, f"\\{sign}" if sign in "#$%&_{}" else sign) for sign in text)


def _note(table: Table) -> str:
    note = NOTE.format(
        num_prompts=table.num_prompts,
        num_seeds=table.num_seeds,
        judge=table.judge or "nothing",
    )
    return table.unfinished + note + table.computed


def _ends(one: Interval | None) -> tuple[float | str | None, ...]:
    return (one.mean, one.low, one.high) if one else ("", "", "")
