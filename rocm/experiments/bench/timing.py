"""Time, the device's own rate of matrix products to compare it with, and the report of both."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import psutil
import torch

from rocm.errors import RunError

MATRIX = {"cpu": 1024, "cuda": 8192}
NUM_PRODUCTS = 10
Key = TypeVar("Key")
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


def milliseconds(call: Callable[[], object], device: torch.device) -> float:
    """Time of one call, the device's queue empty before and after."""
    _wait(device)
    began = time.perf_counter()
    call()
    _wait(device)
    return 1000 * (time.perf_counter() - began)


def interleaved(
    calls: Mapping[Key, Callable[[], object]], device: torch.device, num_rounds: int
) -> dict[Key, list[float]]:
    """Milliseconds of every round of each call, timed in turn so that a disturbance meets all.

    Each round starts with another call.
    """
    names = list(calls)
    spent: dict[Key, list[float]] = {name: [] for name in names}
    for number in range(num_rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            spent[name].append(milliseconds(calls[name], device))
    return spent


def summary(spent: list[float], batch: int) -> Row:
    """Median, minimum and maximum, in ms, of calls on a batch of pictures; its pictures/s."""
    middle = median(spent)
    rate = 1000 * batch / middle
    return {"ms": middle, "min": min(spent), "max": max(spent), "pictures/s": rate}


def speed_up(slow: list[float], fast: list[float]) -> float:
    """Median of slow / fast over rounds that were timed in turn."""
    return median(a / b for a, b in zip(slow, fast, strict=True))


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large square matrix product, the best of several."""
    size = MATRIX[device.type]
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    spent = [milliseconds(lambda: left @ right, device) for _ in range(NUM_PRODUCTS)]
    return 2 * size**3 / (min(spent) / 1000)


def rates(flops: int, spent: list[float], rate: float) -> Row:
    """`TFLOP/s`, `share` of the rate (FLOP/s), and `floors`, the time over the least possible time.

    None for all if `flops`, the useful FLOPs, is 0.
    """
    if not flops:
        return dict.fromkeys(("TFLOP/s", "share", "floors"))
    achieved = flops / (median(spent) / 1000)
    return {"TFLOP/s": achieved / 1e12, "share": achieved / rate, "floors": rate / achieved}


def environment(device: torch.device) -> dict[str, Any]:
    """Device, threads, cores, load and torch version."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "cores": psutil.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
