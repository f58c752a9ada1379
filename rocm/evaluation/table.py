"""Rows of arms, columns of measures: mean and paired difference to the base model, with intervals.

A prompt's value is the mean over its seeds; intervals are Student's over prompts, 95 %.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

import numpy as np

from rocm.algorithms.intervals import Interval, interval, paired_difference
from rocm.evaluation.diversity import by_prompt, thumbnail
from rocm.evaluation.plan import Plan
from rocm.evaluation.store import Result

DIVERSITY = "diversity"
MIN_PROMPTS, MAX_DIVERSE = 3, 128

Values = list[float | None]
"""One for each prompt; None where not all of its seeds are drawn."""


@dataclass(frozen=True)
class Row:
    """One column of the grid as a row of the table.

    Attributes:
        title: of the arm and its value of the axis.
        trained: rewards that it was trained on.
        is_base: whether it is the model without adapter.
        means: by measure; None where nothing is drawn.
        differences: to the base model, by measure; None for the base model and without one.
    """

    title: str
    trained: tuple[str, ...]
    is_base: bool
    means: dict[str, Interval | None]
    differences: dict[str, Interval | None]


@dataclass(frozen=True)
class Table:
    """A comparison in figures.

    Attributes:
        measures: names, in order.
        judge: the held-out reward among them, or empty.
        rows: one for each column of the grid.
        num_prompts: asked for.
        num_seeds: of each prompt.
        official: package and checkpoint of each official score.
    """

    measures: tuple[str, ...]
    judge: str
    rows: tuple[Row, ...]
    num_prompts: int
    num_seeds: int
    official: dict[str, str] = field(default_factory=dict)

    @property
    def computed(self) -> str:
        """A sentence on each official score: by which package, from which checkpoint."""
        return "".join(f" {name} by {words}." for name, words in self.official.items())

    @property
    def unfinished(self) -> str:
        """A sentence on the arms that lack prompts, so that no mean passes for one over all."""
        means = {row.title: row.means[self.measures[0]] for row in self.rows}
        drawn = {title: one.num if one else 0 for title, one in means.items()}
        lacking = [f"{title} {num}" for title, num in drawn.items() if num < self.num_prompts]
        return f"Unfinished, prompts so far: {', '.join(lacking)}. " if lacking else ""


def make_table(plan: Plan, results: list[Result]) -> Table:
    """The table of what is drawn so far.

    Args:
        plan: of the comparison.
        results: its pictures.

    Returns:
        Means over the prompts that are complete; differences over those complete in both arms.
    """
    scores = {one.index: one.scores for one in results}
    files = {one.index: one.file for one in results}
    measures = (*plan.measures[:-1], DIVERSITY, plan.measures[-1])
    columns = [
        {
            name: _diversity(plan, files, column)
            if name == DIVERSITY
            else by_prompt_mean(plan, scores, column, name)
            for name in measures
        }
        for column in range(len(plan.columns))
    ]
    rows = [_row(plan, columns, column) for column in range(len(columns))]
    sizes = (len(plan.prompts), len(plan.seeds))
    return Table(measures, plan.judge, tuple(rows), *sizes, plan.official)


def by_prompt_mean(
    plan: Plan, scores: Mapping[int, Mapping[str, float]], column: int, name: str
) -> Values:
    """A measure of each prompt, the mean over its seeds.

    Args:
        plan: of the comparison.
        scores: by picture.
        column: of the grid.
        name: of the measure.

    Returns:
        P values; None where a seed is not drawn.
    """
    values: Values = []
    for indices in _indices(plan, column):
        known = [scores[index][name] for index in indices if index in scores]
        values.append(fmean(known) if len(known) == len(indices) else None)
    return values


def _row(plan: Plan, columns: list[dict[str, Values]], column: int) -> Row:
    own, base = columns[column], plan.base_of(column)
    has_other = base is not None and not plan.columns[column].is_base
    row = Row(
        title=plan.columns[column].title,
        trained=plan.columns[column].trained,
        is_base=plan.columns[column].is_base,
        means={name: interval(_known(values), "prompts") for name, values in own.items()},
        differences=dict.fromkeys(own),
    )
    if not has_other or base is None:
        return row
    found = {
        name: paired_difference(values, columns[base][name], "prompts")
        for name, values in own.items()
    }
    return replace(row, differences=found)


def _diversity(plan: Plan, files: Mapping[int, Path], column: int) -> Values:
    indices = _indices(plan, column)
    chosen = indices[:MAX_DIVERSE]
    if len(chosen) < MIN_PROMPTS or any(one not in files for row in chosen for one in row):
        return [None] * len(indices)
    pictures = np.array([[thumbnail(files[one]) for one in row] for row in chosen])
    values = by_prompt(list(pictures.swapaxes(0, 1)))
    return [*values, *([None] * (len(indices) - len(chosen)))]


def _indices(plan: Plan, column: int) -> list[list[int]]:
    """Of the pictures of a column: by prompt, seed by seed."""
    size = len(plan.seeds)
    first = column * len(plan.prompts) * size
    return [
        list(range(start, start + size))
        for start in range(first, first + len(plan.prompts) * size, size)
    ]


def _known(values: Values) -> list[float]:
    return [value for value in values if value is not None]
