"""Runs of the comparison that an engine trains, with their budgets beside them."""

import time
from collections.abc import Callable
from pathlib import Path

from rocm.errors import RunError
from rocm.experiments.reproduce.plan import Budget, Job
from rocm.experiments.reproduce.runner import is_spent, write_budget
from rocm.runs.engines.dispatch import Dispatcher
from rocm.runs.queue import TRAINER
from rocm.runs.run_dir import RunDir

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
