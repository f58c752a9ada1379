"""Rows of arms, columns of measures: mean and paired difference to the base model, with intervals.

The value of a prompt is the mean over its seeds; intervals are Student's over prompts, 95 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image

from rocm.algorithms.intervals import Interval, interval, paired_difference
from rocm.errors import RunError
from rocm.evaluation.plan import ComparisonPlan, Result

DIVERSITY = "diversity"
MIN_PROMPTS, MAX_DIVERSE = 3, 128
SIDE = 16  # of the pictures that are compared

Values = list[float | None]
"""One for each prompt; None where not all of its seeds are drawn."""


@dataclass(frozen=True)
class Row:
    """A column of the grid as a row of the table."""

    title: str  # of the arm and its value of the axis
    trained: tuple[str, ...]  # rewards that it was trained on
    is_base: bool
    means: dict[str, Interval | None]  # by measure; None if nothing is drawn
    differences: dict[str, Interval | None]  # to the base model; None without it


@dataclass(frozen=True)
class ComparisonTable:
    """A comparison in figures."""

    measures: tuple[str, ...]
    judge: str  # the held-out reward among the measures, or empty
    rows: tuple[Row, ...]  # one for each column of the grid
    num_prompts: int  # requested
    num_seeds: int  # of each prompt
    official: dict[str, str] = field(default_factory=dict)  # package and checkpoint, or file

    @property
    def computed(self) -> str:
        """Package and checkpoint of each official score, as sentences."""
        return "".join(f" {name} by {words}." for name, words in self.official.items())

    @property
    def unfinished(self) -> str:
        """A sentence on arms with missing prompts, whose means are not over all prompts."""
        means = {row.title: row.means[self.measures[0]] for row in self.rows}
        drawn = {title: estimate.num if estimate else 0 for title, estimate in means.items()}
        lacking = [f"{title} {num}" for title, num in drawn.items() if num < self.num_prompts]
        return f"Unfinished, prompts so far: {', '.join(lacking)}. " if lacking else ""


def make_table(plan: ComparisonPlan, results: list[Result]) -> ComparisonTable:
    """The table of the pictures drawn so far.

    Means are over the prompts that are complete, differences over those complete in both arms.
    """
    scores = {result.index: result.scores for result in results}
    files = {result.index: result.file for result in results}
    measures = (*plan.measures[:-1], DIVERSITY, plan.measures[-1])
    columns = [
        {
            name: _diversity(plan, files, column)
            if name == DIVERSITY
            else _by_prompt_mean(plan, scores, column, name)
            for name in measures
        }
        for column in range(len(plan.columns))
    ]
    rows = [_row(plan, columns, column) for column in range(len(columns))]
    sizes = (len(plan.prompts), len(plan.seeds))
    return ComparisonTable(measures, plan.judge, tuple(rows), *sizes, plan.official)


def _by_prompt_mean(
    plan: ComparisonPlan, scores: Mapping[int, Mapping[str, float]], column: int, name: str
) -> Values:
    """A measure of each of P prompts, the mean over its seeds; None if a seed is missing."""
    values: Values = []
    for indices in _indices(plan, column):
        known = [scores[index][name] for index in indices if index in scores]
        values.append(fmean(known) if len(known) == len(indices) else None)
    return values


def _row(plan: ComparisonPlan, columns: list[dict[str, Values]], column: int) -> Row:
    own, arm = columns[column], plan.columns[column]
    base = None if arm.is_base else plan.base_of(column)
    means = {
        name: interval([value for value in values if value is not None], "prompts")
        for name, values in own.items()
    }
    differences = {
        name: None if base is None else paired_difference(values, columns[base][name], "prompts")
        for name, values in own.items()
    }
    return Row(arm.title, arm.trained, arm.is_base, means, differences)


def _diversity(plan: ComparisonPlan, files: Mapping[int, Path], column: int) -> Values:
    indices = _indices(plan, column)
    chosen = indices[:MAX_DIVERSE]
    if len(chosen) < MIN_PROMPTS or any(index not in files for row in chosen for index in row):
        return [None] * len(indices)
    pictures = np.array([[thumbnail(files[index]) for index in row] for row in chosen])
    values = by_prompt(list(pictures.swapaxes(0, 1)))
    return [*values, *([None] * (len(indices) - len(chosen)))]


def _indices(plan: ComparisonPlan, column: int) -> list[list[int]]:
    """Of the pictures of a column: by prompt, seed by seed."""
    seeds = range(len(plan.seeds))
    return [[plan.index(column, p, s) for s in seeds] for p in range(len(plan.prompts))]


def read_picture(file: Path) -> Image.Image:
    """A picture in RGB; RunError if its file is damaged."""
    try:
        with Image.open(file) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise RunError(f"{file} is damaged. Delete it, and compare again.") from error


def thumbnail(file: Path) -> np.ndarray:
    """A picture at 16 x 16 pixels by area, flat, (768,) in [0, 1]."""
    small = read_picture(file).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64).ravel() / 255


def distances(pictures: np.ndarray) -> np.ndarray:
    """Root-mean-square differences (P, P) of P flat pictures (P, D)."""
    squares = (pictures**2).sum(1)
    gram = squares[:, None] + squares[None] - 2 * pictures @ pictures.T
    roots: np.ndarray = np.sqrt(np.maximum(gram, 0) / pictures.shape[1])
    return roots


def by_prompt(pictures: Sequence[np.ndarray]) -> list[float]:
    r"""Diversity between prompts as one value per prompt, with mean `eval/diversity`.

    Distances to the other prompts are not independent, so the interval of their mean would be half
    as wide as it should be. These are the jackknife's pseudo-values instead:

    .. math:: v_p = P\,U - (P - 1)\,U_{-p}, \qquad U = \frac{2}{P (P - 1)} \sum_{i < j} d_{ij}

    `pictures` are, for each seed, the flat pictures (P, D) of all prompts, P >= 3; d is the mean
    over seeds of the distances of a seed's pictures.
    """
    matrix = np.mean([distances(of_seed) for of_seed in pictures], axis=0)
    num = len(matrix)
    np.fill_diagonal(matrix, 0)
    whole = matrix.sum() / 2
    mean = whole / (num * (num - 1) / 2)
    without = (whole - matrix.sum(1)) / ((num - 1) * (num - 2) / 2)
    return [float(value) for value in num * mean - (num - 1) * without]
