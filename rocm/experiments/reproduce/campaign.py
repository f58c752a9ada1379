"""The whole comparison: tune, train missing runs, compare. Finished runs are kept."""

import os
import platform
import shutil
import time
from pathlib import Path
from statistics import fmean

import torch

from rocm.errors import RunError
from rocm.experiments.reproduce import results
from rocm.experiments.reproduce.afar import Afar, Say
from rocm.experiments.reproduce.plan import SECOND_METHODS, Job, Plan
from rocm.experiments.reproduce.report import Findings
from rocm.experiments.reproduce.results import TRAINED, End
from rocm.experiments.reproduce.runner import is_spent, spend, totals
from rocm.runs.run_dir import RunDir
from rocm.storage.files import make_folder, write_atomic

NUM_PICTURES = 4


def reproduce(plan: Plan, folder: Path, say: Say, afar: Afar | None = None) -> Path:
    """Carry a plan out and write report.html; `say` gets a line of progress at a time.

    With `afar` the runs are trained by an engine, those of a stage together.
    """
    findings = carry_out(plan, folder, say, afar)
    write_atomic(folder / "report.html", findings.to_html())
    return folder / "report.html"


def carry_out(plan: Plan, folder: Path, say: Say, afar: Afar | None = None) -> Findings:
    """Tune, train and compare; RunError if it was stopped, the same call continues."""
    make_folder(folder)
    tuning = plan.tuning()
    # Tuning does not change how many runs there are, except that equal runs are trained once.
    first = {job.method.key: job.config.learning_rate for job in reversed(tuning)}
    expected = len({job.name for job in [*tuning, *plan.results(first)]})
    progress = _Progress(say, expected, afar)
    runs = progress.run_all(tuning, plan, folder)
    measures = list(plan.budget.limits)
    chosen = results.best_learning_rates(plan, _ends(runs, plan, measures[-1]))
    jobs = plan.results(chosen)
    runs |= progress.run_all(jobs, plan, folder)
    ends = {measure: _ends(runs, plan, measure) for measure in measures}
    return _findings(plan, chosen, jobs, runs, ends)


class _Progress:
    """Trains jobs one after another and reports progress."""

    def __init__(self, say: Say, num_jobs: int, afar: Afar | None):
        self._say, self._num_jobs, self._afar = say, num_jobs, afar
        self._done: set[str] = set()
        self._seconds: list[float] = []

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
    limit = plan.budget.limits[measure]
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
    cells = {measure: results.table(jobs, own) for measure, own in ends.items()}
    betas = results.by_beta(jobs, last)
    reported = [job for job in jobs if job.role == "result"]
    rows = {
        key: [runs[job.name].metrics() for job in reported if job.method.key == key]
        for key in cells[next(iter(cells))]
    }
    pictures, prompts = _pictures(reported, runs, last)
    second: dict[str, list[End]] = {key: [] for key in SECOND_METHODS}
    for job in (job for job in jobs if job.role == "second"):
        second[job.method.key].append(last[job.name])
    return Findings(
        plan=plan,
        chosen=chosen,
        tuning=[_tuning_line(job, last[job.name], chosen) for job in plan.tuning()],
        cells=cells,
        betas=betas,
        second={key: results.cell_of(second[key]) for key in SECOND_METHODS},
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
        "gain": fmean(end.gains[TRAINED]),
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
