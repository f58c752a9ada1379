"""`python -m rocm advise`: a pilot of all divergences at the same KL, and a verdict."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rocm.cli.engines import add_engine_argument
from rocm.cli.lazy import lazy
from rocm.cli.runs import settings, with_votes
from rocm.config.saved import Presets
from rocm.errors import ConfigError
from rocm.runs.engines.base import chosen_engine
from rocm.runs.queue import Queue

if TYPE_CHECKING:
    from rocm.experiments.sweep import Sweeps

open_sweeps = lazy("rocm.experiments.sweep:Sweeps")
pilots = lazy("rocm.experiments.advise.pilot")
find_hypotheses = lazy("rocm.experiments.advise.hypotheses:hypotheses")
silence_libraries = lazy("rocm.cli.trainer:silence_libraries")
wait_for_sweep = lazy("rocm.cli.sweep:wait_for_sweep")


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
        wait_for_sweep(sweeps, sweep_id, lambda line: say(line.replace(sweep_id, words)))

    print(pilot.cost(), flush=True)
    pilot.carry_out(look, wait)
    print((pilot.folder / "verdict.md").read_text(encoding="utf-8"))
    print(pilot.folder)
