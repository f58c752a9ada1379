"""Reward against what it cost: seconds, reward queries, U-Net calls (the paper's Figure 5)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean, pstdev
from typing import Any

WINDOW = 20
COSTS: dict[str, tuple[str, ...]] = {
    "seconds": ("seconds",),
    "reward queries": ("reward_queries",),
    "U-Net calls": ("unet_forward", "unet_backward"),
}


@dataclass(frozen=True)
class Curve:
    """Running reward of a run against its cost so far."""

    cost: list[float]  # until the end of each update
    mean: list[float]  # of the reward over the last 20 updates
    low: list[float]  # mean minus the standard deviation of these updates
    high: list[float]  # mean plus it


def curve(rows: Sequence[dict[str, Any]], cost: str, max_points: int = 500) -> Curve:
    """The curve of a run from its rows of metrics.jsonl, against a cost of `COSTS`.

    Evaluations and pauses cost nothing; rows without the counters (step 0) are left out. At most
    `max_points`, evenly chosen, the last among them.
    """
    names = COSTS[cost]
    known = [row for row in rows if row.get("reward") is not None and row.get(names[0]) is not None]
    spent = list(accumulate(sum(row[name] for name in names) for row in known))
    rewards = [row["reward"] for row in known]
    stride = max(1, math.ceil(len(known) / max_points))
    chosen = [*range(len(known) - 1, -1, -stride)][::-1]
    windows = [rewards[max(0, end - WINDOW + 1) : end + 1] for end in chosen]
    mean = [fmean(window) for window in windows]
    spread = [pstdev(window) for window in windows]
    return Curve(
        cost=[spent[end] for end in chosen],
        mean=mean,
        low=[a - b for a, b in zip(mean, spread, strict=True)],
        high=[a + b for a, b in zip(mean, spread, strict=True)],
    )
