"""The whole comparison: tune, train missing runs, here or at an engine, and compare.

Finished runs are kept.
"""

import os
import platform
import shutil
import time
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from statistics import fmean

import torch

from rocm.errors import RunError
from rocm.experiments.reproduce import results
from rocm.experiments.reproduce.plan import Budget, Job, Plan
from rocm.experiments.reproduce.report import Findings
from rocm.experiments.reproduce.results import End
from rocm.experiments.reproduce.runner import is_spent, spend, totals, write_budget
from rocm.runs.engines.dispatch import Dispatcher
from rocm.runs.queue import TRAINER
from rocm.runs.run_dir import RunDir
from rocm.storage.files import make_folder, write_atomic

NUM_PICTURES = 4
WAIT_S = 2.0
Say = Callable[[str], None]


class Afar:
    """Trains jobs of a comparison at an engine, as many at a time as it takes."""

    def __init__(self, home: Path, engine: str):
        """Use the engine with the settings of `home`."""
        self._engine, self._dispatcher = engine, Dispatcher(home.resolve(), TRAINER)
        self._dispatcher.check(engine)

    def train(self, jobs: list[Job], budget: Budget, folder: Path, say: Say) -> None:
        """Train those that are not done; RunError if one has not spent its budget in the end."""
        runs = {job.name: RunDir(folder / job.name) for job in jobs}
        opened = [run for run in runs.values() if not is_spent(run.metrics(), budget)]
        new = {job.name: job for job in jobs if not runs[job.name].written_state()}
        submitted = [run for run in opened if run.path.name in new or not _is_at_work(run)]
        for name, job in new.items():
            RunDir.create(runs[name].path, job.config, job.method.preset, self._engine)
        for run in submitted:
            write_budget(run, budget)
        if submitted:
            where = self._engine.capitalize()
            say(f"Submitted to {where}: {len(submitted)} of {len(runs)} runs of this stage.")
            self._dispatcher.submit(submitted, self._engine)
        said = ""
        while left := [run for run in opened if _is_at_work(run)]:
            self._dispatcher.look({self._engine: left})
            line = f"{len(runs) - len(left)} of {len(runs)} runs of this stage are done."
            if line != said:
                say(line)
            said = line
            time.sleep(WAIT_S)
        for run in opened:
            if not is_spent(run.metrics(), budget):
                status = run.status()
                raise RunError(
                    f"{run.path.name} is {status.state}. {status.error} The same command continues."
                )


def _is_at_work(run: RunDir) -> bool:
    status = run.status()
    return status.is_active or status.is_queued


def reproduce(plan: Plan, folder: Path, say: Say, afar: Afar | None = None) -> Path:
    """Carry a plan out and write report.html; `say` gets a line of progress at a time.

    With `afar` the runs are trained by an engine, those of a stage together. RunError if it was
    stopped; the same call continues.
    """
    make_folder(folder)
    tuning = plan.tuning()
    # A guess: how many runs are equal, and so trained once, depends on the rates that are chosen.
    first = {job.method.key: job.config.learning_rate for job in reversed(tuning)}
    expected = len({job.name for job in [*tuning, *plan.results(first)]})
    progress = _Progress(say, expected, afar)
    runs = progress.run_all(tuning, plan, folder)
    measures = list(plan.budget)
    chosen = results.best_learning_rates(plan, _ends(runs, plan, measures[-1]))
    jobs = plan.results(chosen)
    progress.expect(len({job.name for job in [*tuning, *jobs]}))
    runs |= progress.run_all(jobs, plan, folder)
    ends = {measure: _ends(runs, plan, measure) for measure in measures}
    findings = _findings(plan, chosen, jobs, runs, ends)
    write_atomic(folder / "report.html", findings.to_html())
    return folder / "report.html"


class _Progress:
    """Trains jobs one after another and reports progress."""

    def __init__(self, say: Say, num_jobs: int, afar: Afar | None):
        self._say, self._num_jobs, self._afar = say, num_jobs, afar
        self._done: set[str] = set()
        self._seconds: list[float] = []

    def expect(self, num_jobs: int) -> None:
        self._num_jobs = num_jobs

    def run_all(self, jobs: list[Job], plan: Plan, folder: Path) -> dict[str, RunDir]:
        runs = {job.name: RunDir(folder / job.name) for job in jobs}
        if self._afar:
            self._afar.train(jobs, plan.budget, folder, self._say)
        for job in jobs:
            if job.name not in self._done:
                self._done.add(job.name)
                self._train(job, plan, runs[job.name])
        return runs

    def _train(self, job: Job, plan: Plan, run: RunDir) -> None:
        if run.written_state() and is_spent(run.metrics(), plan.budget):
            return
        began = time.monotonic()
        if not run.written_state():
            RunDir.create(run.path, job.config, job.method.preset)
        self._say(f"{len(self._done)}/{self._num_jobs} {_describe(job)}{self._left()}")
        for _ in spend(run, plan.budget):
            pass
        if not is_spent(run.metrics(), plan.budget):
            raise RunError("Stopped. Run the same command to continue.")
        for checkpoint in run.checkpoints()[:-1]:
            shutil.rmtree(checkpoint)
        self._seconds.append(time.monotonic() - began)

    def _left(self) -> str:
        if not self._seconds:
            return ""
        minutes = (self._num_jobs - len(self._done) + 1) * fmean(self._seconds) / 60
        return f", about {minutes:.0f} minutes left"


def _describe(job: Job) -> str:
    config = job.config
    return (
        f"{job.role}: {job.method.label}, reward {config.reward}, beta {config.beta_words}, "
        f"learning rate {config.learning_rate:.2g}, seed {config.seed}"
    )


def _ends(runs: dict[str, RunDir], plan: Plan, measure: str) -> dict[str, End]:
    limit = plan.budget[measure]
    return {name: results.end_of(run, measure, limit) for name, run in runs.items()}


def _findings(
    plan: Plan,
    chosen: dict[str, float],
    jobs: list[Job],
    runs: dict[str, RunDir],
    ends: dict[str, dict[str, End]],
) -> Findings:
    last = list(ends.values())[-1]
    judge = jobs[0].config.judge
    by_method = attrgetter("method.key")
    cells = {
        measure: results.cells_of(jobs, own, "result", by_method) for measure, own in ends.items()
    }
    betas = results.cells_of(jobs, last, "beta", lambda job: float(job.config.beta))
    reported = [job for job in jobs if job.role == "result"]
    rows = {
        key: [runs[job.name].metrics() for job in reported if job.method.key == key]
        for key in cells[next(iter(cells))]
    }
    pictures, prompts = _pictures(reported, runs, last)
    return Findings(
        plan=plan,
        chosen=chosen,
        tuning=[_tuning_line(job, last[job.name], chosen) for job in plan.tuning()],
        cells=cells,
        betas=betas,
        second=results.cells_of(jobs, last, "second", by_method),
        claims=results.claims(cells, betas, judge),
        rows=rows,
        pictures=pictures,
        prompts=prompts,
        judge=judge,
        machine=_machine(runs),
    )


def _tuning_line(job: Job, end: End, chosen: dict[str, float]) -> dict[str, object]:
    config = job.config
    return {
        "method": job.method.label,
        "learning_rate": config.learning_rate,
        "seed": config.seed,
        "objective": end.objective(float(config.beta)),
        "is_chosen": chosen[job.method.key] == config.learning_rate,
    }


def _pictures(
    reported: list[Job], runs: dict[str, RunDir], ends: dict[str, End]
) -> tuple[dict[str, list[Path]], list[str]]:
    """Previews of seed 0 by column: the base model, then every method; and their prompts."""
    firsts = {job.method.label: job for job in reported if job.config.seed == 0}
    start = runs[next(iter(firsts.values())).name].pictures(0)[:NUM_PICTURES]
    columns = {"base model": [picture["path"] for picture in start]}
    for label, job in firsts.items():
        shown = runs[job.name].pictures(ends[job.name].step)[:NUM_PICTURES]
        columns[label] = [picture["path"] for picture in shown]
    return columns, [picture["prompt"] for picture in start]


def _machine(runs: dict[str, RunDir]) -> str:
    device = next(iter(runs.values())).manifest()["device"]
    total = sum(totals(run.metrics(), "seconds")[-1] for run in runs.values())
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.machine()
    return (
        f"{len(runs)} runs on {device} ({name}, {os.cpu_count()} processors, "
        f"{torch.get_num_threads()} threads), {total / 60:.0f} minutes of updates."
    )
