"""Beta against reward, taste, judge and recognition: the preset at several betas and seeds.

    python -m scripts.betas --work artifacts/betas [--betas 0,1.5,3,6,12,24] [--num-seeds 5]

Finished runs are kept, so that an interrupted call goes on. Changes are from step 0, in standard
deviations of the base model's scores, paired by prompt and noise. Writes docs/images/betas.png and
docs/images/betas-pictures.webp and prints the tables that stand in docs/log.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from matplotlib import pyplot
from PIL import Image

from rocm.algorithms.intervals import Interval, interval, paired_difference
from rocm.cli.main import main as rocm
from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT

PRESET = "tiny-rocm-kl"
RECOGNITION = "clip:assets/tiny-eval"
MEASURES = {
    "reward": "trained reward",
    "taste": "taste",
    "tiny-judge": "judge",
    RECOGNITION: "recognition",
}
SHOWN = (0, 1, 2, 3, 4, 5, 6, 7)
SIDE = 96
Runs = dict[tuple[float, int], RunDir]


def finished_run(work: Path, beta: float, seed: int) -> RunDir:
    """The run of a beta and a seed, trained now unless it was before."""
    run = RunDir(work / f"beta{beta:g}-seed{seed}")
    if run.status().state == "finished":
        return run
    arguments = ["--resume", str(run.path)]
    if not run.checkpoints():
        settings = ["--beta", str(beta), "--seed", str(seed), "--num-eval-prompts", "64"]
        tracked = f"tiny-clip,colorfulness,taste,{RECOGNITION}"
        arguments = [PRESET, "--run-dir", str(run.path), *settings, "--track", tracked]
    if rocm(["train", *arguments]) != 0:
        raise SystemExit(f"{run.path} did not finish.")
    return run


def change(run: RunDir, measure: str) -> Interval:
    """Mean change of a measure over the run, in base deviations, with its 95 % interval."""
    steps = run.sample_steps()
    before, after = run.scores(steps[0])[measure], run.scores(steps[-1])[measure]
    spread = stdev(before)
    paired = paired_difference([v / spread for v in after], [v / spread for v in before], "prompts")
    if paired is None:
        raise SystemExit(f"{run.path} has too few evaluation prompts for an interval.")
    return paired


def words(change: Interval) -> str:
    """An interval as mean and half width."""
    if change.low is None or change.high is None:
        return f"{change.mean:+.2f}"
    return f"{change.mean:+.2f} \N{PLUS-MINUS SIGN} {(change.high - change.low) / 2:.2f}"


def tables(runs: Runs) -> str:
    """A row for each run, then a row for each beta with intervals over seeds."""
    head = f"| beta | seed | {' | '.join(MEASURES.values())} | KL, nats |"
    lines = [head, "|---" * (len(MEASURES) + 3) + "|"]
    for (beta, seed), run in runs.items():
        changes = " | ".join(words(change(run, name)) for name in MEASURES)
        lines.append(f"| {beta:g} | {seed} | {changes} | {last_kl(run):.0f} |")
    lines += ["", head.replace(" seed |", ""), "|---" * (len(MEASURES) + 2) + "|"]
    for beta in betas_of(runs):
        own = [run for (value, _), run in runs.items() if value == beta]
        gains = [interval([change(run, name).mean for run in own], "seeds") for name in MEASURES]
        changes = " | ".join(words(value) if value else "-" for value in gains)
        lines.append(f"| {beta:g} | {changes} | {mean(map(last_kl, own)):.0f} |")
    return "\n".join(lines)


def last_kl(run: RunDir) -> float:
    """Joint KL in nats of the last update."""
    return next(row["kl_nats"] for row in reversed(run.metrics()) if "kl_nats" in row)


def betas_of(runs: Runs) -> list[float]:
    """The betas, rising."""
    return sorted({beta for beta, _ in runs})


def chart(runs: Runs, path: Path) -> None:
    """Mean change of every measure over beta, the seeds as dots."""
    figure, axes = pyplot.subplots(1, len(MEASURES), figsize=(14, 3.4), constrained_layout=True)
    betas = betas_of(runs)
    for axis, (name, label) in zip(axes, MEASURES.items(), strict=True):
        changes = {key: change(run, name).mean for key, run in runs.items()}
        means = [mean(v for (beta, _), v in changes.items() if beta == own) for own in betas]
        axis.plot(range(len(betas)), means, "-", color="#1d4ed8")
        places = [betas.index(beta) for beta, _ in changes]
        axis.plot(places, list(changes.values()), "o", ms=4, color="#1d4ed8", alpha=0.5)
        axis.axhline(0, color="black", lw=0.6)
        axis.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
        axis.set_xlabel("beta")
        axis.set_title(label)
    axes[0].set_ylabel("change in base deviations")
    figure.savefig(path, dpi=110)


def pictures(runs: Runs, betas: Sequence[float], path: Path) -> None:
    """Rows: the base model, then each beta at its end, seed 0; columns: evaluation prompts."""
    first = runs[betas[0], 0]
    rows = [first.pictures(0), *(runs[b, 0].pictures(runs[b, 0].sample_steps()[-1]) for b in betas)]
    sheet = Image.new("RGB", (SIDE * len(SHOWN), SIDE * len(rows)))
    for top, row in enumerate(rows):
        for left, index in enumerate(SHOWN):
            tile = Image.open(row[index]["path"]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            sheet.paste(tile, (left * SIDE, top * SIDE))
    sheet.save(path, quality=90)


def main() -> None:
    """Train what is missing, then write the tables, the chart and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=ROOT / "artifacts" / "betas")
    parser.add_argument("--betas", default="0,1.5,3,6,12,24")
    parser.add_argument("--num-seeds", type=int, default=5)
    options = parser.parse_args()
    betas = [float(word) for word in options.betas.split(",")]
    seeds = range(options.num_seeds)
    runs = {(b, seed): finished_run(options.work, b, seed) for seed in seeds for b in betas}
    images = ROOT / "docs" / "images"
    chart(runs, images / "betas.png")
    pictures(runs, betas, images / "betas-pictures.webp")
    print(tables(runs))


if __name__ == "__main__":
    main()
