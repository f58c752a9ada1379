"""Shared by the commands that train: where they train, and what an engine was told."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from rocm.errors import RunError
from rocm.runs.engines.base import ENGINES, job_of
from rocm.runs.run_dir import RunDir


def add_engine_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --engine; empty if it is not given."""
    text = "where to train; default ROCM_ENGINE, else local: docs/deploy.md"
    parser.add_argument("--engine", choices=ENGINES, default="", help=text)


def bring_here(run: RunDir) -> None:
    """Let this process train a run that an engine trained before; RunError while it does."""
    if not run.engine:
        return
    status = run.status()
    if status.is_active or status.is_queued:
        where = f"{status.state} at {run.engine.capitalize()}"
        raise RunError(f"{run.path.name} is {where}. Stop it first: python -m rocm runs stop ...")
    run.mark_waiting()
    run.write_launch(os.getpid())


def tell_jobs(runs: Iterable[RunDir]) -> None:
    """Print each script that was submitted, and the job of each run."""
    scripts: set[str] = set()
    for run in runs:
        job = job_of(run)
        if job is None:
            continue
        if job.script and job.script not in scripts:
            scripts.add(job.script)
            print(f"{Path(job.script).read_text(encoding='utf-8')}Submitted: {job.script}")
        print(f"{run.path.name}: {job.label}", flush=True)
