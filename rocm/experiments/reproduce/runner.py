"""One run of the comparison: trained until its budgets are spent, evaluated as each runs out.

Spending, and where budgets ended, is read from the metrics, so that an interrupted run continues
from its checkpoint.
"""

import json
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from rocm.distributed import ALONE, Ranks
from rocm.experiments.reproduce.plan import Budget
from rocm.runs.run_dir import RunDir
from rocm.storage.files import read_record, write_atomic
from rocm.training.loop import Progress, train

Row = dict[str, Any]


def cost(row: Row, measure: str) -> float:
    """Cost of an update in a measure: seconds, reward queries, or one update."""
    if row["step"] == 0:
        return 0.0
    return 1.0 if measure == "updates" else float(row[measure])


def totals(rows: list[Row], measure: str) -> list[float]:
    """Cumulative cost after each row."""
    return list(accumulate(cost(row, measure) for row in rows))


def end_of_budget(rows: list[Row], measure: str, limit: float) -> Row | None:
    """The evaluated row after which no update of the same cost fits into the limit.

    Returns the row with `spent`, the total at it; None if the run has not come so far.
    """
    for row, spent in zip(rows, totals(rows, measure), strict=True):
        is_last = row["step"] > 0 and spent + cost(row, measure) > limit
        if is_last and "eval/reward" in row:
            return {**row, "spent": spent}
    return None


def is_spent(rows: list[Row], budget: Budget) -> bool:
    """Whether the ends of all budgets have been evaluated."""
    return all(end_of_budget(rows, *item) is not None for item in budget.items())


def next_is_last(rows: list[Row], budget: Budget) -> bool:
    """Whether, at the last update's cost, some open budget ends with the next update."""
    return any(
        totals(rows, measure)[-1] + 2 * cost(rows[-1], measure) > limit
        for measure, limit in budget.items()
        if end_of_budget(rows, measure, limit) is None
    )


def spent_share(rows: list[Row], budget: Budget) -> float:
    """How much of a run is over, in [0, 1]: it ends with the budget that lasts longest."""
    return min([1.0, *(totals(rows, name)[-1] / limit for name, limit in budget.items())])


def write_budget(run: RunDir, budget: Budget) -> None:
    """Keep a run's budget beside it, for a trainer elsewhere."""
    write_atomic(run.path / "budget.json", json.dumps(budget))


def budget_of(run: RunDir) -> Budget:
    """The budget that `write_budget` kept; empty for a run without."""
    return read_record(run.path / "budget.json", {}) or {}


def spend(run: RunDir, budget: Budget, ranks: Ranks = ALONE) -> Iterator[Progress]:
    """Train a run until its budgets are spent or it is stopped; yields the progress of `train`."""
    is_resumed = bool(run.checkpoints())
    for progress in train(run, is_resumed, ranks, lambda: spent_share(run.metrics(), budget)):
        rows = run.metrics()
        if is_spent(rows, budget):
            run.request("stop")
        elif next_is_last(rows, budget):
            run.request("sample_now")
        yield progress
