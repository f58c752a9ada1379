"""Rows of metrics.jsonl as lines for a chart: plain lists, short enough to send every second."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

NOT_DRAWN = ("step", "time")


@dataclass(frozen=True)
class Line:
    """One measurement over the run: `values[i]` was taken after `steps[i]` updates.

    `seconds[i]` is the time at work until then, pauses left out.
    """

    steps: list[int]
    values: list[float]
    seconds: list[float] = field(default_factory=list)


def lines(
    rows: list[dict[str, Any]], max_points: int, resumed: Sequence[float] = ()
) -> dict[str, Line]:
    """Every measurement in `rows` as a line of at most `max_points`, first and last always kept.

    Args:
        rows: as in metrics.jsonl; any key may be absent or null in any row.
        max_points: longest line.
        resumed: Unix times at which a trainer went on with the run.

    Returns:
        Lines by the measurement's name, and `reward/running_mean` over a twentieth of the run.
    """
    found: dict[str, Line] = {}
    for row, second in zip(rows, seconds_at_work(rows, resumed), strict=True):
        for name, value in row.items():
            if name not in NOT_DRAWN and isinstance(value, int | float):
                line = found.setdefault(name, Line([], [], []))
                line.steps.append(row["step"])
                line.values.append(float(value))
                line.seconds.append(second)
    if "reward" in found:
        found["reward/running_mean"] = running_mean(found["reward"])
    return {name: thinned(line, max_points) for name, line in found.items()}


def running_mean(line: Line) -> Line:
    """Mean of the last twentieth of all points, of at least five, up to each point."""
    window = max(5, len(line.values) // 20)
    means, total = [], 0.0
    for index, value in enumerate(line.values):
        total += value - (line.values[index - window] if index >= window else 0.0)
        means.append(total / min(index + 1, window))
    return Line(line.steps, means, line.seconds)


def seconds_at_work(rows: list[dict[str, Any]], resumed: Sequence[float] = ()) -> list[float]:
    """Time from the first row to each, without the pauses between a stop and going on."""
    elapsed, found = 0.0, []
    for before, row in pairwise([*rows[:1], *rows]):
        times = [time for time in resumed if before.get("time", 0) < time < row.get("time", 0)]
        begin = max(times, default=before.get("time", 0))
        elapsed += max(row.get("time", 0) - begin, 0.0)
        found.append(round(elapsed, 3))
    return found


def thinned(line: Line, max_points: int) -> Line:
    """Evenly chosen points of a long line; a short one is returned as it is."""
    length = len(line.steps)
    if length <= max_points:
        return line
    chosen = [round(i * (length - 1) / (max_points - 1)) for i in range(max_points)]
    return Line(*([column[i] for i in chosen if column] for column in vars(line).values()))


def seconds_per_step(rows: list[dict[str, Any]]) -> float | None:
    """Median time between the last twenty updates, None before there are two."""
    times = [row["time"] for row in rows if row["step"] > 0][-20:]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return median(gaps) if gaps else None
