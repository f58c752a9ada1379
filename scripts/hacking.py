"""Reward hacking with and without divergence: three seeds each, as a table, a chart and pictures.

    python -m scripts.hacking --work artifacts/hacking

Finished runs are kept, so that an interrupted call goes on. Writes docs/images/hacking.png (reward
against judge over the runs), docs/images/hacking-pictures.png (the same prompts and noise before
and after) and prints the table that stands in docs/log.md.
"""

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from PIL import Image

from rocm.cli.main import main as rocm
from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT

PRESETS = ("tiny-rocm-beta0", "tiny-rocm-kl")
COLORS = {"tiny-rocm-beta0": "#c2410c", "tiny-rocm-kl": "#1d4ed8"}
SEEDS = (0, 1, 2)
SIDE = 96
SHOWN = (
    "step",
    "eval/reward",
    "heldout/tiny-judge",
    "eval/reward/tiny-clip",
    "eval/diversity",
    "eval/at_limit",
    "kl_nats",
)


def finished_run(work: Path, preset: str, seed: int) -> RunDir:
    """The run of a preset and seed, trained now unless it was before."""
    run = RunDir(work / f"{preset}-seed{seed}")
    if run.status().state == "finished":
        return run
    arguments = ["--resume", str(run.path)]
    if not run.checkpoints():
        settings = ["--seed", str(seed), "--eval-every", "10", "--num-eval-prompts", "64"]
        arguments = [preset, "--run-dir", str(run.path), *settings]
    if rocm(["train", *arguments]) != 0:
        raise SystemExit(f"{run.path} did not finish.")
    return run


def evaluations(run: RunDir) -> list[dict[str, Any]]:
    """The evaluated rows of a run."""
    return [row for row in run.metrics() if "eval/reward" in row]


def at_reward(rows: list[dict[str, Any]], reward: float) -> dict[str, float]:
    """What a run measured when its reward first passed `reward`: linear between evaluations."""
    for before, after in pairwise(rows):
        low, high = before["eval/reward"], after["eval/reward"]
        if low <= reward <= high:
            share = (reward - low) / (high - low)
            return {key: before.get(key, 0.0) * (1 - share) + after[key] * share for key in SHOWN}
    raise SystemExit(f"No two evaluations enclose a reward of {reward:.3f}.")


def table(runs: dict[tuple[str, int], RunDir]) -> str:
    """Changes from step 0: beta 0 at the KL run's last reward and at its own end; KL at its end."""
    head = "| seed | run | update | reward | judge | tiny-clip | diversity | at limit | KL, nats |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|"]
    for seed in SEEDS:
        kl, free = (evaluations(runs[preset, seed]) for preset in reversed(PRESETS))
        shown = [
            ("beta 0, same reward", free[0], at_reward(free, kl[-1]["eval/reward"])),
            ("beta 0, end", free[0], free[-1]),
            ("KL, end", kl[0], kl[-1]),
        ]
        for name, before, after in shown:
            changes = [f"{after[key] - before[key]:+.3f}" for key in SHOWN[1:-1]]
            nats = after.get("kl_nats", 0.0)
            lines.append(
                f"| {seed} | {name} | {after['step']:.0f} | {' | '.join(changes)} | {nats:.0f} |"
            )
    return "\n".join(lines)


def chart(runs: dict[tuple[str, int], RunDir], path: Path) -> None:
    """Judge and diversity against trained reward, one line per run."""
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.8), constrained_layout=True)
    for (preset, seed), run in runs.items():
        rows = evaluations(run)
        reward = [row["eval/reward"] for row in rows]
        for axis, name in zip(axes, ("heldout/tiny-judge", "eval/diversity"), strict=True):
            label = preset if seed == 0 else None
            axis.plot(
                reward, [row[name] for row in rows], "o-", ms=3, c=COLORS[preset], label=label
            )
    for axis, name in zip(axes, ("held-out judge", "diversity between prompts"), strict=True):
        axis.set_xlabel("trained reward, base deviations")
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=110)


def pictures(runs: dict[tuple[str, int], RunDir], path: Path) -> None:
    """Rows: base, KL at its end, beta 0 at its end (seed 0); columns: evaluation prompts."""
    free, kl = runs[PRESETS[0], 0].samples(), runs[PRESETS[1], 0].samples()
    rows = [kl[0], kl[max(kl)], free[max(free)]]
    sheet = Image.new("RGB", (SIDE * len(rows[0]), SIDE * len(rows)))
    for top, row in enumerate(rows):
        for left, picture in enumerate(row):
            tile = Image.open(picture["path"]).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            sheet.paste(tile, (left * SIDE, top * SIDE))
    sheet.save(path)


def main() -> None:
    """Train what is missing, then write the table, the chart and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=ROOT / "artifacts" / "hacking")
    work = parser.parse_args().work
    runs = {
        (preset, seed): finished_run(work, preset, seed) for seed in SEEDS for preset in PRESETS
    }
    images = ROOT / "docs" / "images"
    images.mkdir(exist_ok=True)
    chart(runs, images / "hacking.png")
    pictures(runs, images / "hacking-pictures.png")
    print(table(runs))


if __name__ == "__main__":
    main()
