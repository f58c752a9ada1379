"""A grid of settings, each with several seeds, trained over the queue; and the results.

A sweep is a folder with its plan, `sweeps/ID/sweep.json`. The id is a hash of the plan, so the same
command continues the same sweep; its run k is named ID-00k, so nothing is done twice.
"""

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from rocm.algorithms.intervals import Interval, interval
from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingFile, RocmError, RunError
from rocm.evaluation.formats import csv_text, ends
from rocm.experiments.overoptimization import Point, run_points
from rocm.rewards.names import audited
from rocm.runs.queue import Queue
from rocm.runs.run_dir import RunDir
from rocm.storage.files import make_folder, read_json, write_atomic

MAX_RUNS = 1000
MEASURES = ("reward", "judge", "divergence", "audit")  # fields of a cell


class SweepPlan(BaseModel):
    """Content of sweep.json: shared settings, settings of each cell, number of seeds."""

    preset: str
    config: dict[str, Any]
    grid: dict[str, list[Any]]
    cells: list[dict[str, Any]]
    num_seeds: int = Field(ge=1, le=MAX_RUNS)
    created: float


@dataclass(frozen=True)
class SweepCell:
    """A combination of settings."""

    settings: dict[str, Any]  # the varied settings by name
    run_ids: list[str]  # a run for each seed
    states: list[str]  # of the runs; `missing` if not there, `damaged` if unreadable
    reward: Interval | None  # `eval/reward` at the end; with `standardize` in deviations
    judge: Interval | None  # the judge at the end; not held out if beta is auto
    divergence: Interval | None  # mean over the last tenth of the updates
    audit: Interval | None = None  # as the judge; nothing is chosen by it


@dataclass(frozen=True)
class SweepReport:
    """Results of a sweep so far."""

    sweep_id: str
    preset: str
    created: float  # Unix time, in seconds
    grid: dict[str, list[Any]]  # values by varied setting
    num_seeds: int  # runs of each cell
    cells: list[SweepCell]  # in the grid's order
    peak: int | None  # index of the finished cell with the highest judge, or reward without a judge
    num_done: int  # number of finished runs
    num_runs: int


class Sweeps:
    """The sweeps of a home."""

    def __init__(self, home: Path, queue: Queue, engine: str = "local"):
        """Keep plans below `home`/sweeps and put runs into `queue`, or hand them to an `engine`."""
        self.path = home / "sweeps"
        self.queue = queue
        self._engine = engine

    def ids(self) -> list[str]:
        """Ids of all sweeps, newest first, damaged ones at the end."""
        plans = self.path.glob("*/sweep.json")
        return [path.parent.name for path in sorted(plans, key=_created, reverse=True)]

    def plan(self, preset: str, config: RunConfig, grid: dict[str, list[Any]], seeds: int) -> str:
        """Write a sweep of `seeds` runs per combination, from `config.seed` on; returns its id.

        An equal plan gives the same id. ConfigError for a bad setting or value, or too many runs.
        """
        cells = combinations(config, grid)
        if not 1 <= seeds <= MAX_RUNS // len(cells):
            raise ConfigError(
                f"{len(cells)} combinations with num_seeds={seeds}: a sweep has 1 to {MAX_RUNS} "
                "runs. Give fewer values or seeds."
            )
        values = {name: [cell[name] for cell in cells] for name in grid}
        plan = {
            "preset": preset,
            "config": config.model_dump(),
            "grid": {name: list(dict.fromkeys(column)) for name, column in values.items()},
            "cells": cells,
            "num_seeds": seeds,
        }
        digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:8]
        sweep_id = f"{preset[:60]}-sweep-{digest}"
        path = self.path / sweep_id / "sweep.json"
        if not path.exists():
            make_folder(path.parent)
            write_atomic(path, json.dumps({**plan, "created": time.time()}, indent=1))
        return sweep_id

    def start(self, preset: str, config: RunConfig, grid: dict[str, list[Any]], seeds: int) -> str:
        """Queue every run of a sweep that is not done, training or waiting; as `plan`."""
        self.queue.check(self._engine)
        sweep_id = self.plan(preset, config, grid, seeds)
        is_here, opened = self._engine == "local", self.open_runs(sweep_id)
        for run, settings in opened:
            if not run.written_state():
                self.create(sweep_id, run, settings, time.time() if is_here else self._engine)
            elif is_here:
                self.queue.add(run, self._engine)
        if opened and not is_here:
            self.queue.submit([run for run, _ in opened], self._engine)
        self.queue.ensure_worker()
        return sweep_id

    def runs(self, sweep_id: str) -> list[RunDir]:
        """All runs of a sweep that exist."""
        return [run for run, _ in self._members(sweep_id) if run.written_state()]

    def open_runs(self, sweep_id: str) -> list[tuple[RunDir, RunConfig]]:
        """New or resumable runs, each with its settings."""
        return [
            (run, settings)
            for run, settings in self._members(sweep_id)
            if not run.written_state() or run.status().is_resumable
        ]

    def create(
        self, sweep_id: str, run: RunDir, config: RunConfig, place: float | str = 0
    ) -> RunDir:
        """Make a run of a sweep; `place` as in `RunDir.mark_waiting`."""
        preset = self._plan(sweep_id).preset
        return RunDir.create(run.path, config, preset, place, sweep=sweep_id)

    def report(self, sweep_id: str) -> SweepReport:
        """Results so far."""
        plan = self._plan(sweep_id)
        members = [run for run, _ in self._members(sweep_id)]
        size = plan.num_seeds
        groups = [members[start : start + size] for start in range(0, len(members), size)]
        cells = [_cell(settings, runs) for settings, runs in zip(plan.cells, groups, strict=True)]
        return SweepReport(
            sweep_id=sweep_id,
            preset=plan.preset,
            created=plan.created,
            grid=plan.grid,
            num_seeds=size,
            cells=cells,
            peak=peak(cells),
            num_done=sum(cell.states.count("finished") for cell in cells),
            num_runs=len(members),
        )

    def end_points(self, sweep_id: str) -> list[Point]:
        """Where each finished run ended: scores against the distance from the base model."""
        ends = [_outcome(run)[1] for run, _ in self._members(sweep_id)]
        return [point for end in ends for point in end.get("points", [])]

    def write_report(self, sweep_id: str) -> Path:
        """Keep the report as report.csv and report.json beside the plan; returns their folder."""
        folder, report = self.path / sweep_id, self.report(sweep_id)
        write_atomic(folder / "report.csv", to_csv(report))
        write_atomic(folder / "report.json", to_json(report))
        return folder

    def _plan(self, sweep_id: str) -> SweepPlan:
        if sweep_id not in self.ids():
            raise MissingFile(f"There is no sweep '{sweep_id[:100]}' in {self.path}.")
        return _read_plan(self.path / sweep_id / "sweep.json")

    def _members(self, sweep_id: str) -> list[tuple[RunDir, RunConfig]]:
        """All runs with their settings: seed by seed, cell by cell."""
        plan = self._plan(sweep_id)
        base = RunConfig.load(plan.config)
        pairs = product(plan.cells, range(plan.num_seeds))
        return [
            (
                RunDir(self.queue.runs / f"{sweep_id}-{number:03d}"),
                RunConfig.load(base.model_dump(), **{**settings, "seed": base.seed + seed}),
            )
            for number, (settings, seed) in enumerate(pairs)
        ]


def combinations(config: RunConfig, grid: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Every distinct combination of the grid's values, checked, in the settings' own types.

    Raises ConfigError if nothing varies, `seed` varies, a value is not allowed, or there are more
    combinations than a sweep has runs.
    """
    if not grid or not all(grid.values()):
        raise ConfigError("The grid is empty. Give values, such as beta=0,0.1,1.")
    if "seed" in grid:
        raise ConfigError("seed cannot be in the grid. Give the number of seeds instead.")
    distinct = [list(dict.fromkeys(values)) for values in grid.values()]
    num = math.prod(map(len, distinct))
    if num > MAX_RUNS:
        raise ConfigError(
            f"{num:,} combinations: a sweep has 1 to {MAX_RUNS} runs. Give fewer values."
        )
    combined = []
    for values in product(*distinct):
        checked = RunConfig.load(config.model_dump(), **dict(zip(grid, values, strict=True)))
        settings = {name: getattr(checked, name) for name in grid}
        if settings not in combined:
            combined.append(settings)
    return combined


def peak(cells: list[SweepCell]) -> int | None:
    """Index of the cell with the highest judge, or the highest reward without a judge."""
    for name in ("judge", "reward"):
        known = {index: getattr(cell, name) for index, cell in enumerate(cells)}
        means = {index: estimate.mean for index, estimate in known.items() if estimate is not None}
        if means:
            return max(means, key=lambda index: means[index])
    return None


def table(report: SweepReport) -> str:
    """The report as aligned text; the best cell is marked."""
    has_audit = any(cell.audit for cell in report.cells)
    measures = [name for name in MEASURES if has_audit or name != "audit"]
    lines = [["", *report.grid, "done", *measures]]
    for index, cell in enumerate(report.cells):
        done = f"{cell.states.count('finished')}/{len(cell.states)}"
        figures = [_words(getattr(cell, name)) for name in measures]
        mark = "*" if index == report.peak else ""
        lines.append([mark, *(f"{value}" for value in cell.settings.values()), done, *figures])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def to_csv(report: SweepReport) -> str:
    """One line per cell: settings, runs that are done, mean and ends of each interval."""
    heads = [f"{name}_{end}" for name in MEASURES for end in ("mean", "low", "high")]
    lines: list[list[object]] = [[*report.grid, "num_done", "num_runs", *heads, "is_peak"]]
    for index, cell in enumerate(report.cells):
        figures = [value for name in MEASURES for value in ends(getattr(cell, name))]
        done = [cell.states.count("finished"), len(cell.states)]
        lines.append([*cell.settings.values(), *done, *figures, int(index == report.peak)])
    return csv_text(lines)


def to_json(report: SweepReport) -> str:
    """The whole report."""
    return json.dumps(asdict(report), indent=1)


def _cell(settings: dict[str, Any], runs: list[RunDir]) -> SweepCell:
    outcomes = [_outcome(run) for run in runs]
    states, ends = [state for state, _ in outcomes], [end for _, end in outcomes if end]
    measures = {}
    for name in MEASURES:
        means = [end[name] for end in ends if end.get(name) is not None]
        measures[name] = interval(means, "seeds")
        prompts = ends[0].get(f"{name}_by_prompt") if len(means) == 1 and len(runs) == 1 else None
        if prompts:
            measures[name] = interval(prompts, "prompts")
    return SweepCell(settings, [run.path.name for run in runs], list(states), **measures)


def _outcome(run: RunDir) -> tuple[str, dict[str, Any]]:
    """State of a run and, if it is finished, its results."""
    try:
        state = run.status().state if run.written_state() else "missing"
        if state != "finished":
            return state, {}
        stat = run.state_file.stat()
        return state, _read_end(run, stat.st_mtime_ns, stat.st_ino)
    except RocmError:  # the list of runs says what is wrong with it
        return "damaged", {}


@lru_cache(maxsize=2 * MAX_RUNS)
def _read_end(run: RunDir, changed: int, file: int) -> dict[str, Any]:
    """Results of a finished run: reward, judge and divergence, by prompt if known."""
    rows, judge, audit = run.metrics(), run.config().judge, audited(run.config())
    evaluated = [row for row in rows if "eval/reward" in row]
    if not evaluated:
        raise RunError(f"{run.path} is finished, but its metrics.jsonl holds no evaluation.")
    last, scores = evaluated[-1], run.scores(evaluated[-1]["step"])
    updates = [row["divergence"] for row in rows if row.get("divergence") is not None]
    return {
        "reward": last["eval/reward"],
        "reward_by_prompt": scores.get("reward"),
        "divergence": fmean(updates[-max(1, len(updates) // 10) :]) if updates else None,
        "judge": last.get(f"heldout/{judge}"),
        "judge_by_prompt": scores.get(judge),
        "audit": last.get(f"audit/{audit}"),
        "audit_by_prompt": scores.get(audit),
        "points": run_points(run)[-1:],
    }


def _words(estimate: Interval | None) -> str:
    if estimate is None:
        return "-"
    half = "" if estimate.high is None else f" +- {estimate.high - estimate.mean:.2g}"
    return f"{estimate.mean:.3g}{half}"


def _created(path: Path) -> float:
    try:
        return _read_plan(path).created
    except RunError:  # said where the sweep is looked at; it must not hide the others
        return 0.0


def _read_plan(path: Path) -> SweepPlan:
    try:
        return SweepPlan.model_validate(read_json(path))
    except ValidationError as error:
        name = ".".join(map(str, error.errors()[0]["loc"])) or "it is no object of JSON"
        raise RunError(f"{path} is damaged ({name}). Delete its folder; runs are kept.") from error
