"""Shared by the commands that train: where they train, and what an engine was told."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from rocm.runs.engines.base import ENGINES, job_of
from rocm.runs.run_dir import RunDir


def add_engine_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --engine; empty if it is not given."""
    text = "where to train; default ROCM_ENGINE, else local: docs/deploy.md"
    parser.add_argument("--engine", choices=ENGINES, default="", help=text)


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
