"""The report's charts as SVG text, and its picture sheet as PNG bytes."""

import io
from statistics import fmean, pstdev
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure
from PIL import Image

from rocm.experiments.reproduce.plan import METHODS
from rocm.experiments.reproduce.results import TRAINED, Cell
from rocm.experiments.reproduce.runner import Row, totals

WINDOW = 20
DASHES = {"divergence": "-", "first-order": "--", "policy gradient": ":"}
AXES = {
    "seconds": "seconds",
    "reward_queries": "reward queries",
    "unet_forward": "U-Net forward passes",
}

rcParams["svg.hashsalt"] = "rocm"  # the same data give the same file


def beta_chart(betas: dict[float, Cell], judge: str) -> str:
    """Figure 4: gain of the trained reward and change of the judge against beta, 95 % intervals."""
    figure = Figure((8, 3.2), layout="constrained")
    names = {TRAINED: "gain of the reward, deviations", judge: f"change of {judge}"}
    for axes, (score, label) in zip(figure.subplots(1, 2), names.items(), strict=True):
        gains = [cell.gains[score] for cell in betas.values()]
        means = [gain.mean for gain in gains]
        halves = [0 if gain.high is None else gain.high - gain.mean for gain in gains]
        places = range(len(gains))
        axes.errorbar(places, means, yerr=halves, marker="o", capsize=3, color="#1d4ed8")
        best = max(places, key=means.__getitem__)
        axes.plot(best, means[best], "o", markersize=12, fillstyle="none", color="#c2410c")
        axes.set_xticks(places, [f"{beta:g}" for beta in betas])
        axes.set(xlabel="beta", ylabel=label)
        axes.axhline(0, color="#94a3b8", linewidth=0.8)
    return _svg(figure)


def efficiency_chart(runs: dict[str, list[list[Row]]]) -> str:
    """Figure 5 from each method's runs: running mean of 20 updates, deviation over seeds."""
    figure = Figure((11, 4.4), layout="constrained")
    panels = figure.subplots(1, len(AXES), sharey=True)
    for axes, (measure, label) in zip(panels, AXES.items(), strict=True):
        for number, method in enumerate(METHODS):
            places, means, deviations = _curve(runs[method.key], measure)
            color = f"C{number % 10}" if number < 10 else "black"
            axes.plot(places, means, DASHES[method.kind], color=color, label=method.label)
            ends = np.subtract(means, deviations), np.add(means, deviations)
            axes.fill_between(places, *ends, color=color, alpha=0.12, linewidth=0)
        axes.set(xlabel=label)
    panels[0].set(ylabel="trained reward, deviations")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return _svg(figure)


def picture_sheet(columns: list[list[Any]], height: int) -> bytes:
    """Figure 6: a PNG, a column for each method and a row for each prompt; `height` in pixels."""
    sheet = Image.new("RGB", (len(columns) * height, len(columns[0]) * height), "white")
    for left, paths in enumerate(columns):
        for top, path in enumerate(paths):
            with Image.open(path) as picture:
                shown = picture.convert("RGB").resize((height, height), Image.Resampling.LANCZOS)
            sheet.paste(shown, (left * height, top * height))
    content = io.BytesIO()
    sheet.quantize(256).save(content, "PNG", optimize=True)
    return content.getvalue()


def running_mean(values: list[float]) -> list[float]:
    """Mean of the last 20 values up to each one (the paper's Figure 5)."""
    return [fmean(values[max(0, end - WINDOW) : end]) for end in range(1, len(values) + 1)]


def _curve(runs: list[list[Row]], measure: str) -> tuple[list[float], list[float], list[float]]:
    """Mean cost, mean reward and its deviation over seeds after each update that all runs did."""
    kept = [[row for row in rows if row["step"] > 0] for rows in runs]
    length = min(len(rows) for rows in kept)
    smooth = [running_mean([row["reward"] for row in rows])[:length] for rows in kept]
    spent = [totals(rows, measure)[:length] for rows in kept]
    columns = list(zip(*smooth, strict=True))
    return (
        [fmean(column) for column in zip(*spent, strict=True)],
        [fmean(column) for column in columns],
        [pstdev(column) for column in columns],
    )


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
