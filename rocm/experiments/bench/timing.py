"""Time, and the device's own rate of matrix products to compare it with."""

import os
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import psutil
import torch

from rocm.experiments.bench.table import Row

MATRIX = {"cpu": 1024, "cuda": 8192}
NUM_PRODUCTS = 10


def milliseconds(call: Callable[[], object], device: torch.device) -> float:
    """Time of one call, the device's queue empty before and after."""
    _wait(device)
    began = time.perf_counter()
    call()
    _wait(device)
    return 1000 * (time.perf_counter() - began)


def interleaved(
    calls: Mapping[str, Callable[[], object]], device: torch.device, num_rounds: int
) -> dict[str, list[float]]:
    """Milliseconds of every round of each call, timed in turn so that a disturbance meets all.

    Each round starts with another call.
    """
    names = list(calls)
    spent: dict[str, list[float]] = {name: [] for name in names}
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
