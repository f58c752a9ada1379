"""Time per picture: drawn here by base model and adapter, and by the app's own process."""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from rocm.experiments.bench import timing
from rocm.experiments.bench.counter import Counter
from rocm.experiments.bench.step import Work, make_arm
from rocm.experiments.bench.table import Report, Row
from rocm.experiments.bench.variants import PLAIN, settings_of
from rocm.generation.draw import Sampling, draw
from rocm.generation.picture import Picture
from rocm.generation.queue import DrawingQueue
from rocm.models.consistency import ConsistencyModel
from rocm.models.lora import adapter_off

PROMPT = "a glossy emoji of a red apple"


def bench_drawing(work: Work, batches: Sequence[int]) -> Report:
    """Time drawing, noise to pixels on the CPU; `x base` compares rounds timed in turn."""
    facts = work.facts
    model = make_arm(work, settings_of(PLAIN, work.base, "none", 1)).setup.model
    rows: list[Row] = []
    for batch in batches:
        calls = {name: _drawn(model, work, batch, name == "base") for name in ("base", "adapter")}
        for call in calls.values():
            call()
        with Counter() as counter:
            calls["base"]()
        spent = timing.interleaved(calls, work.device, work.num_rounds)
        for name, own in spent.items():
            row: Row = {"model": name, "batch": batch, **timing.summary(own, batch)}
            row["x base"] = timing.speed_up(spent["base"], own)
            rows.append(row | timing.rates(counter.counts.flops, own, work.rate))
    facts |= {"size": work.size.name if work.size else work.base.model}
    facts |= {"num_inference_steps": work.base.num_inference_steps}
    return Report("Drawing", rows, facts)


def _drawn(model: ConsistencyModel, work: Work, batch: int, is_base: bool) -> Callable[[], None]:
    config = work.base
    sampling = Sampling(config.num_inference_steps, config.guidance_scale, config.grid, batch)

    def call() -> None:
        with adapter_off(model.pipeline.unet) if is_base else nullcontext(), torch.no_grad():
            list(draw(model, [PROMPT] * batch, range(batch), sampling))

    return call


NUM_GRID = 64
REWARDS = ("tiny-clip", "tiny-judge")


def latency_table(picture: Picture, num_rounds: int) -> str:
    """Median, minimum and maximum seconds from submission to the last file, as text."""
    with tempfile.TemporaryDirectory() as folder:
        queue = DrawingQueue(Path(folder) / "worker.log")
        grid = [replace(picture, seed=picture.seed + offset) for offset in range(NUM_GRID)]
        scored = f"{NUM_GRID} pictures and {len(REWARDS)} rewards of each, warm"
        cases: dict[str, tuple[list[Picture], tuple[str, ...], int]] = {
            "1 picture, cold: the process starts": ([picture], (), 1),
            "1 picture, warm": ([picture], (), num_rounds),
            f"{NUM_GRID} pictures, warm": (grid, (), num_rounds),
            f"{NUM_GRID} pictures, the rewards are loaded": (grid, REWARDS, 1),
            scored: (grid, REWARDS, num_rounds),
        }
        lines = [
            f"N={picture.num_inference_steps}, {picture.model}; {os.cpu_count()} cores, load "
            f"{os.getloadavg()[0]:.1f} at the beginning",
            f"{'seconds':44} {'median':>8} {'min':>8} {'max':>8}",
        ]
        try:
            for name, (pictures, rewards, times) in cases.items():
                spent = [_seconds(queue, pictures, rewards, Path(folder)) for _ in range(times)]
                lines.append(f"{name:44} {median(spent):8.2f} {min(spent):8.2f} {max(spent):8.2f}")
        finally:
            queue.close()
    return "\n".join(lines)


def _seconds(
    queue: DrawingQueue, pictures: list[Picture], rewards: tuple[str, ...], folder: Path
) -> float:
    began = time.perf_counter()
    for _ in queue.results(queue.submit(pictures, folder, rewards)):
        pass
    return time.perf_counter() - began
