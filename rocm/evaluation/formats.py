"""The table as text: CSV, JSON, Markdown, LaTeX."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict

from rocm.algorithms.intervals import Interval
from rocm.evaluation.table import ComparisonTable
from rocm.storage.numbers import plus_minus, quantity, signed

NOTE = (
    "Mean \N{PLUS-MINUS SIGN} half of its 95 % interval over {num_prompts} prompts, {seeds} "
    "each; below: paired difference to base. * trained on this reward, {judge} held out."
)
# Decimals of a measure; rewards have three.
DECIMALS = {"kl_nats": 1, "color_entropy": 2, "aesthetic": 2, "pickscore": 2}
LATEX_SIGNS = {ord("\N{PLUS-MINUS SIGN}"): r" \pm ", ord("\N{MINUS SIGN}"): "-"}


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV, None as nothing."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def ends(estimate: Interval | None) -> tuple[float | None, ...]:
    """Mean, low and high of an interval."""
    return (estimate.mean, estimate.low, estimate.high) if estimate else (None, None, None)


def to_csv(table: ComparisonTable) -> str:
    """One line for each arm and measure: mean and difference with their ends."""
    head = ["arm", "measure", "is_trained", "is_held_out", "mean", "low", "high"]
    head += ["difference_mean", "difference_low", "difference_high", "num_prompts", "version"]
    lines: list[Sequence[object]] = [head]
    for row in table.rows:
        for name in table.measures:
            mean, difference = row.means[name], row.differences[name]
            flags = [int(name in row.trained), int(name == table.judge)]
            figures = [*ends(mean), *ends(difference), mean.num if mean else 0]
            lines.append([row.title, name, *flags, *figures, table.official.get(name, "")])
    return csv_text(lines)


def to_json(table: ComparisonTable) -> str:
    """The whole table."""
    return json.dumps(asdict(table), indent=1) + "\n"


def to_markdown(table: ComparisonTable) -> str:
    """A table in GitHub's Markdown."""
    heads = ["arm", *(name.replace("_", " ") for name in table.measures)]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * len(table.measures)}"]
    for title, cells in _lines(table):
        name = title.replace("|", "\\|") if title else "- base"
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _note(table)]) + "\n"


def to_latex(table: ComparisonTable) -> str:
    r"""A `tabular` that needs no package."""
    heads = ["arm", *table.measures]
    lines = [
        f"% {_note(table)}".replace("\N{PLUS-MINUS SIGN}", "+-"),
        f"\\begin{{tabular}}{{l{'r' * len(table.measures)}}}",
        "\\hline",
        " & ".join(_latex(head.replace("_", " ")) for head in heads) + r" \\ \hline",
    ]
    for title, cells in _lines(table):
        lines.append(" & ".join([_latex(title) or "-- base", *_math(cells)]) + r" \\")
    return "\n".join([*lines, "\\hline", "\\end{tabular}"]) + "\n"


FORMATS: dict[str, Callable[[ComparisonTable], str]] = {
    "csv": to_csv,
    "json": to_json,
    "md": to_markdown,
    "tex": to_latex,
}


def interval_text(measure: str, interval: Interval | None, is_difference: bool = False) -> str:
    """Mean and half-width of an interval, such as `0.703 \N{PLUS-MINUS SIGN} 0.021`."""
    if interval is None:
        return "\N{EN DASH}"
    decimals = DECIMALS.get(measure, 3)
    half = None if interval.high is None else interval.high - interval.mean
    text = plus_minus(interval.mean, half, decimals)
    is_positive = is_difference and signed(interval.mean, decimals).startswith("+")
    return f"+{text}" if is_positive else text


def _lines(table: ComparisonTable) -> Iterator[tuple[str, list[str]]]:
    """Title and cells of each arm, and without a title its differences to the base model."""
    for row in table.rows:
        stars = {name: "*" if name in row.trained else "" for name in table.measures}
        yield row.title, [interval_text(name, row.means[name]) + stars[name] for name in stars]
        if not row.is_base:
            yield "", [interval_text(name, row.differences[name], True) for name in stars]


def _math(cells: list[str]) -> list[str]:
    return ["--" if cell == "\N{EN DASH}" else f"${cell.translate(LATEX_SIGNS)}$" for cell in cells]


def _latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(sign, f"\\{sign}" if sign in "#$%&_{}" else sign) for sign in text)


def _note(table: ComparisonTable) -> str:
    seeds, judge = quantity(table.num_seeds, "seed"), table.judge or "nothing"
    note = NOTE.format(num_prompts=table.num_prompts, seeds=seeds, judge=judge)
    return table.unfinished + note + table.computed
