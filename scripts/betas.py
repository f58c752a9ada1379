"""Beta against reward, taste, judge and recognition: the preset at several betas and seeds.

    python -m scripts.betas --work artifacts/betas [--betas auto,0,1.5,3,6,12,24] [--num-seeds 5]
        [--images docs/images] [settings of rocm train]

Finished runs are kept, so that an interrupted call goes on. Changes are from step 0, in standard
deviations of the base model's scores, paired by prompt and noise. Writes betas.png and
betas-pictures.webp into the folder `images` and prints the tables that stand in docs/log.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from matplotlib import pyplot
from PIL import Image

from rocm.algorithms.intervals import Interval, interval, paired_difference
from rocm.cli.main import main as rocm
from rocm.config.objective import AUTO
from rocm.experiments.advise.verdict import deviations
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
Runs = dict[tuple[str, int], RunDir]


def finished_run(work: Path, beta: str, seed: int, settings: Sequence[str]) -> RunDir:
    """The run of a beta and a seed, trained now unless it was before."""
    run = RunDir(work / f"beta{beta}-seed{seed}")
    if run.status().state == "finished":
        return run
    arguments = ["--resume", str(run.path)]
    if not run.checkpoints():
        own = ["--beta", beta, "--seed", str(seed), "--num-eval-prompts", "64", *settings]
        taste = "" if beta == AUTO else "taste,"  # taste is the audit of beta auto
        tracked = f"tiny-clip,colorfulness,{taste}{RECOGNITION}"
        arguments = [PRESET, "--run-dir", str(run.path), *own, "--track", tracked]
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
        lines.append(f"| {beta} | {seed} | {changes} | {last_kl(run):.0f} |")
    lines += ["", head.replace(" seed |", ""), "|---" * (len(MEASURES) + 2) + "|"]
    for beta in betas_of(runs):
        own = [run for (value, _), run in runs.items() if value == beta]
        gains = [interval([change(run, name).mean for run in own], "seeds") for name in MEASURES]
        changes = " | ".join(words(value) if value else "-" for value in gains)
        lines.append(f"| {beta} | {changes} | {mean(map(last_kl, own)):.0f} |")
    return "\n".join(lines)


def beside_auto(runs: Runs, num_seeds: int) -> str:
    """Taste of beta auto minus that of each fixed beta, over prompts and seeds, and the cost."""
    lines = [
        "| beta | auto's taste above it | standard error | auto's seconds / its |",
        "|---" * 4 + "|",
    ]
    own = [runs[AUTO, seed] for seed in range(num_seeds)]
    for beta in betas_of(runs)[1:]:
        others = [runs[beta, seed] for seed in range(num_seeds)]
        gaps = np.stack(
            [_taste(one) - _taste(two) for one, two in zip(own, others, strict=True)], 1
        )
        cost = sum(map(seconds, own)) / sum(map(seconds, others))
        lines.append(f"| {beta} | {gaps.mean():+.3f} | {deviations(gaps).std():.3f} | {cost:.2f} |")
    return "\n".join(lines)


def _taste(run: RunDir) -> np.ndarray:
    steps = run.sample_steps()
    return np.array(run.scores(steps[-1])["taste"]) / stdev(run.scores(steps[0])["taste"])


def seconds(run: RunDir) -> float:
    """Wall time of a run that nothing interrupted."""
    times = [event["time"] for event in run.events()]
    return float(times[-1] - times[0])


def last_kl(run: RunDir) -> float:
    """Joint KL in nats of the last update."""
    return next(row["kl_nats"] for row in reversed(run.metrics()) if "kl_nats" in row)


def betas_of(runs: Runs) -> list[str]:
    """The betas as they were given."""
    return list(dict.fromkeys(beta for beta, _ in runs))


def chart(runs: Runs, path: Path) -> None:
    """Mean change of every measure over beta, the seeds as dots."""
    figure, axes = pyplot.subplots(1, len(MEASURES), figsize=(14, 3.4), constrained_layout=True)
    betas = betas_of(runs)
    for axis, (name, label) in zip(axes, MEASURES.items(), strict=True):
        changes = {key: change(run, name).mean for key, run in runs.items()}
        means = [mean(v for (beta, _), v in changes.items() if beta == own) for own in betas]
        fixed = int(betas[0] == AUTO)  # where the line begins
        axis.plot(range(fixed, len(betas)), means[fixed:], "-", color="#1d4ed8")
        places = [betas.index(beta) for beta, _ in changes]
        axis.plot(places, list(changes.values()), "o", ms=4, color="#1d4ed8", alpha=0.5)
        axis.axhline(0, color="black", lw=0.6)
        axis.set_xticks(range(len(betas)), betas)
        axis.set_xlabel("beta")
        axis.set_title(label)
    axes[0].set_ylabel("change in base deviations")
    figure.savefig(path, dpi=110)


def pictures(runs: Runs, betas: Sequence[str], path: Path) -> None:
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
    parser.add_argument("--betas", default="auto,0,1.5,3,6,12,24", help="auto comes first")
    parser.add_argument("--num-seeds", type=int, default=5)
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images")
    options, settings = parser.parse_known_args()
    betas, seeds = options.betas.split(","), range(options.num_seeds)
    runs = {
        (beta, seed): finished_run(options.work, beta, seed, settings)
        for seed in seeds
        for beta in betas
    }
    chart(runs, options.images / "betas.png")
    pictures(runs, betas, options.images / "betas-pictures.webp")
    print(tables(runs))
    if betas[0] == AUTO:
        print(beside_auto(runs, options.num_seeds))


if __name__ == "__main__":
    main()
