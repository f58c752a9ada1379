"""How long a picture takes, measured through the real queue and process."""

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from rocm.drawing.picture import Picture
from rocm.drawing.queue import DrawingQueue

PROMPT = "a glossy emoji of a red apple"
NUM_GRID = 64
REWARDS = ("tiny-clip", "tiny-judge")


def latency_table(picture: Picture, num_rounds: int) -> str:
    """Time requests from submission to the last file.

    Args:
        picture: settings of every picture; seeds follow each other.
        num_rounds: repetitions of the warm requests.

    Returns:
        Text: median, minimum and maximum seconds of each kind of request.
    """
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
