"""`python -m rocm sweep`: a grid of settings and seeds; `advise`: a pilot of all divergences."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rocm.cli.engines import add_engine_argument, bring_here, tell_jobs
from rocm.cli.lazy import lazy
from rocm.cli.runs import preset_with, settings, with_votes
from rocm.config.saved import Presets
from rocm.errors import ConfigError, RocmError
from rocm.runs.engines.base import chosen_engine
from rocm.runs.queue import Queue

if TYPE_CHECKING:
    from rocm.experiments.sweep import Sweeps

open_sweeps = lazy("rocm.experiments.sweep:Sweeps")
table = lazy("rocm.experiments.sweep:table")
pilots = lazy("rocm.experiments.advise.pilot")
find_hypotheses = lazy("rocm.experiments.advise.hypotheses:hypotheses")
silence_libraries = lazy("rocm.cli.trainer:silence_libraries")
watch = lazy("rocm.cli.trainer:watch")


def add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sweep`."""
    add = parser.add_argument
    parser.description = (
        "Train every combination of settings with several seeds, over the queue. Every setting is "
        "a flag. The same command continues the same sweep; finished runs are kept."
    )
    add("source", metavar="PRESET", help="settings that all runs share")
    add("--grid", nargs="+", required=True, metavar="NAME=VALUE,...", help="beta=0,0.1 ...")
    add("--seeds", type=int, default=1, help="runs of each combination")
    add_engine_argument(parser)
    add("--inline", action="store_true", help="train here, not over the queue")
    add("--no-wait", action="store_true", help="queue the runs and return")
    parser.set_defaults(run=sweep, takes_settings=True)


def sweep(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Train the runs of a sweep that are not done, and print its table."""
    grid = read_grid(options.grid)
    config = preset_with(options.source, rest, home)
    engine = chosen_engine("local" if options.inline and not options.engine else options.engine)
    if options.inline and engine != "local":
        raise ConfigError(f"--inline trains here, --engine {engine} does not. Choose one of them.")
    sweeps = open_sweeps(home.resolve(), Queue(home), engine)
    if options.inline:
        sweep_id = sweeps.plan(options.source, config, grid, options.seeds)
        _train_inline(sweeps, sweep_id)
    else:
        sweep_id = sweeps.start(options.source, config, grid, options.seeds)
        tell_jobs(sweeps.runs(sweep_id))
        if not options.no_wait:
            _wait_for(sweeps, sweep_id, partial(print, flush=True))
    print(table(sweeps.report(sweep_id)))
    print(f"{sweeps.write_report(sweep_id)}")


def read_grid(words: Sequence[str]) -> dict[str, list[str]]:
    """Values by setting from words such as `beta=0,0.1,1`; ConfigError for any other form."""
    grid: dict[str, list[str]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        values = [value.strip() for value in text.split(",") if value.strip()]
        if not equals or not values:
            raise ConfigError(f"--grid {word} cannot be read. Write NAME=VALUE,VALUE: beta=0,0.1.")
        grid[name.strip().replace("-", "_")] = values
    return grid


def _train_inline(sweeps: "Sweeps", sweep_id: str) -> None:
    """Train the open runs of a sweep in this process."""
    for run, config in sweeps.open_runs(sweep_id):
        if not run.written_state():
            sweeps.create(sweep_id, run, config)
        bring_here(run)
        print(run.path.name, flush=True)
        try:
            watch(run)
        except RocmError as error:
            print(f"rocm: {run.path.name}: {error}", file=sys.stderr)
        if run.status().state == "stopped":
            print("The same command continues the sweep.")
            break


def _wait_for(sweeps: "Sweeps", sweep_id: str, say: Callable[[str], None]) -> None:
    """Wait until no run of a sweep waits or trains; `say` gets a line whenever a run is done."""
    said = ""
    while True:
        report = sweeps.report(sweep_id)
        states = {state for cell in report.cells for state in cell.states}
        line = f"{sweep_id}: {report.num_done} of {report.num_runs} runs done"
        if line != said:
            say(line)
            said = line
        if not states & {"queued", "submitted", "starting", "running", "stopping"}:
            return
        sweeps.queue.reconcile()
        time.sleep(1.0)


def add_advise_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `advise`."""
    add = parser.add_argument
    parser.description = (
        "Train every divergence at the same joint KL over the queue, compare the judge with that "
        "of KL, and confirm the best one on fresh seeds and prompts. Every setting is a flag. The "
        "same command continues; finished runs are kept."
    )
    add("source", metavar="PRESET", help="settings that all runs share")
    add("--seeds", type=int, default=3, help="seeds of the screening")
    add("--fresh-seeds", type=int, default=4, help="seeds of the confirmation")
    add("--fresh-prompts", type=int, default=40, help="evaluation prompts of the confirmation")
    add_engine_argument(parser)
    add("--yes", action="store_true", help="start it, or continue it")
    parser.set_defaults(run=advise, takes_settings=True)


def advise(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Say what the pilot costs, carry it out, and print the verdict."""
    config = pilots.pilot_settings(Presets(home).source(options.source), settings(rest))
    config = with_votes(config, home)
    size = pilots.Size(options.seeds, options.fresh_seeds, options.fresh_prompts)
    sweeps = open_sweeps(home.resolve(), Queue(home), chosen_engine(options.engine))
    pilot = pilots.Pilot(sweeps, options.source, config, size)
    if not options.yes:
        raise ConfigError(f"{pilot.cost()} Add --yes to start it, or to continue it.")

    def say(words: str) -> None:
        print(words, flush=True)
        pilot.note(words)

    def look() -> list[str]:
        silence_libraries()
        sentences: list[str] = find_hypotheses(config)
        return sentences

    def wait(sweeps: "Sweeps", sweep_id: str, words: str) -> None:
        _wait_for(sweeps, sweep_id, lambda line: say(line.replace(sweep_id, words)))

    print(pilot.cost(), flush=True)
    pilot.carry_out(look, wait)
    print((pilot.folder / "verdict.md").read_text(encoding="utf-8"))
    print(pilot.folder)
