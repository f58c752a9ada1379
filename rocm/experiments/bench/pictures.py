"""Time per picture: drawn by base model and adapter, by the app's own process, and scored."""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from rocm.experiments.bench import timing
from rocm.experiments.bench.counter import Counter
from rocm.experiments.bench.random_model import random_reward
from rocm.experiments.bench.step import Work, make_arm
from rocm.experiments.bench.timing import Report, Row
from rocm.experiments.bench.variants import PLAIN, settings_of
from rocm.generation.draw import Sampling, draw
from rocm.generation.picture import Picture
from rocm.generation.queue import DrawingQueue
from rocm.models.consistency import ConsistencyModel
from rocm.models.lora import adapter_off
from rocm.models.pipelines import DTYPES
from rocm.rewards.base import Reward
from rocm.rewards.load import load_rewards
from rocm.rewards.names import WITHOUT_GRADIENT

PROMPT = "a glossy emoji of a red apple"
SIDE = {"small": 16, "real": 512, "": 64}
NUM_GRID = 64
REWARDS = ("tiny-clip", "tiny-judge")


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


def bench_scoring(work: Work, names: Sequence[str], batches: Sequence[int]) -> Report:
    """Time rewards on random pictures: scores alone, and with the gradient that reaches the pixels.

    Text features are cached, as in training. With random weights the reward is HPSv2's network,
    else those named.
    """
    facts = work.facts
    if work.size:
        tower = random_reward(work.size, work.device, DTYPES[work.base.precision])
        loaded: dict[str, Reward] = {"hpsv2.1": tower}
    else:
        loaded = load_rewards(names, work.device)
    side = SIDE[work.size.name if work.size else ""]
    rows = []
    for batch in batches:
        images = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0))
        rows += _scored_rows(loaded, images.to(work.device), work)
    return Report("Rewards", rows, facts | {"pixels": side})


def _scored_rows(loaded: dict[str, Reward], images: Tensor, work: Work) -> list[Row]:
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    flops: dict[tuple[str, str], int] = {}
    for name, reward in loaded.items():
        kinds = ["score"] if name in WITHOUT_GRADIENT else ["score", "gradient"]
        for kind in kinds:
            call = _scored(reward, images, kind == "gradient")
            call()
            with Counter() as counter:
                call()
            calls[name, kind], flops[name, kind] = call, counter.counts.flops
    rows: list[Row] = []
    for key, spent in timing.interleaved(calls, images.device, work.num_rounds).items():
        row: Row = {"reward": key[0], "what": key[1], "batch": len(images)}
        row |= timing.summary(spent, len(images))
        rows.append(row | timing.rates(flops[key], spent, work.rate))
    return rows


def _scored(reward: Reward, images: Tensor, with_gradient: bool) -> Callable[[], None]:
    prompts = ["a picture"] * len(images)

    def call() -> None:
        with torch.set_grad_enabled(with_gradient):
            pictures = images.clone().requires_grad_(with_gradient)
            scores = reward(pictures, prompts)
            if with_gradient:
                scores.sum().backward()

    return call


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
