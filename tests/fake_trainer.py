"""A trainer without a model: writes the same run directory, twenty updates a second.

Called as MANNER DIR, like `rocm.cli.trainer`. Manners: `good`, `deaf` (ignores stop and SIGTERM)
and `nan`.
"""

import json
import math
import random
import signal
import sys
import time
from pathlib import Path

from PIL import Image

from rocm.config import RunConfig
from rocm.runs.run_dir import RunDir
from rocm.storage.files import replace_folder

PROMPTS = ["a glossy emoji of a red apple", "a <b>flat</b> emoji of a cat & a dog", "a blue whale"]


def main(manner: str, folder: str) -> None:
    if manner == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    run = RunDir(Path(folder))
    with run.acquire_lock():
        train(run, bool(run.checkpoints()), manner)


def train(run: RunDir, is_resumed: bool, manner: str) -> None:
    config = run.config()
    step = int(run.checkpoints()[-1].name[5:]) if is_resumed else 0
    run.write_state("running", step=step, num_steps=config.num_steps)
    run.truncate_metrics(step) if is_resumed else evaluate(run, {"step": 0}, 0.0)
    while step < config.num_steps:
        step += 1
        time.sleep(0.05)
        if manner == "nan" and step == 5:
            run.write_state("failed", error="The loss is not finite in update 5.")
            sys.exit(2)
        update(run, step, config)
        run.write_state("running", step=step)
        if manner != "deaf" and run.take_control("stop"):
            checkpoint(run, step)
            return end(run, "stopped", step)
    return end(run, "finished", step)


def update(run: RunDir, step: int, config: RunConfig) -> None:
    progress = step / config.num_steps
    per_step = [progress * share / (1 + config.beta) for share in (0.1, 0.2, 0.3, 0.4)]
    row = {
        "step": step,
        "reward": 3 * math.sqrt(progress) + random.Random(step).gauss(0, 0.3),
        "reward/colorfulness": 40 + 30 * progress,
        "divergence": sum(per_step),
        "images_per_s": 20.0,
    }
    row |= {f"divergence/step_{index}": value for index, value in enumerate(per_step)}
    if step % config.eval_every == 0 or step == config.num_steps:
        evaluate(run, row, progress)
        if progress >= 0.5 and all(event["kind"] != "warning" for event in run.events()):
            words = "Reward hacking: the held-out judge fell. Raise beta."
            run.append_event("warning", step=step, warning="hacking", message=words)
    else:
        run.append_metrics(row)


def evaluate(run: RunDir, row: dict, progress: float) -> None:
    row |= {
        "eval/reward": 3 * math.sqrt(progress),
        "heldout/tiny-judge": 0.5 - 0.2 * progress,
        "eval/reward/tiny-clip": 0.3 - 0.05 * progress,
        "eval/diversity": 1 - 0.5 * progress,
    }
    with replace_folder(run.samples_dir(row["step"])) as folder:
        pictures = []
        for index, prompt in enumerate(PROMPTS):
            color = (int(200 * progress) + 40, 90 * index, 160 - 60 * index)
            Image.new("RGB", (64, 64), color).save(folder / f"{index:03d}.webp", lossless=True)
            pictures.append({"file": f"{index:03d}.webp", "prompt": prompt, "seed": index})
        (folder / "manifest.json").write_text(json.dumps(pictures))
    run.append_metrics(row)
    checkpoint(run, row["step"])


def checkpoint(run: RunDir, step: int) -> None:
    with replace_folder(run.checkpoint_dir(step)) as folder:
        (folder / "adapter.safetensors").write_bytes(b"")


def end(run: RunDir, state: str, step: int) -> None:
    run.append_event(state, step=step)
    run.write_state(state, step=step)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
