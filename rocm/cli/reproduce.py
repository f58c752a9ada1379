"""`python -m rocm reproduce tiny|loop`: the paper's comparison, the closed loop; embedded model."""

import argparse
from functools import partial
from pathlib import Path

from rocm.cli.engines import add_engine_argument
from rocm.cli.lazy import lazy
from rocm.errors import ConfigError
from rocm.runs.engines.base import chosen_engine

run_campaign = lazy("rocm.experiments.reproduce.campaign:reproduce")
make_plan = lazy("rocm.experiments.reproduce.plan:make_plan")
carry_out_loop = lazy("rocm.cli.campaign:carry_out")
loop_plan = lazy("rocm.cli.campaign:loop_plan")
train_afar = lazy("rocm.experiments.reproduce.campaign:Afar")
silence_libraries = lazy("rocm.cli.trainer:silence_libraries")
SECONDS, QUERIES = 45.0, 192


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `reproduce`."""
    add = parser.add_argument
    add("what", choices=["tiny", "loop"], help="tiny: the paper's table. loop: from votes to votes")
    add("--seconds-per-run", type=float, default=SECONDS, help="tiny: budget, seconds of updates")
    add("--queries-per-run", type=int, default=QUERIES, help="tiny: budget, pictures scored")
    add("--quick", action="store_true", help="2 updates, 1 seed: not evidence")
    add_engine_argument(parser)
    add("--out", type=Path, help="folder of runs and report")
    parser.set_defaults(run=reproduce)


def reproduce(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Run the comparison, or continue it, and print the path of the report."""
    if not 1 <= options.seconds_per_run <= 86_400:
        raise ConfigError(f"--seconds-per-run {options.seconds_per_run:g} is outside 1 to 86400.")
    if not 16 <= options.queries_per_run <= 1_000_000:
        raise ConfigError(f"--queries-per-run {options.queries_per_run} is outside 16 to 1000000.")
    silence_libraries()
    say = partial(print, flush=True)
    name = f"{options.what}-quick" if options.quick else options.what
    folder = options.out or home / "reproduce" / name
    if options.what == "loop":
        if (options.seconds_per_run, options.queries_per_run) != (SECONDS, QUERIES):
            raise ConfigError("Budgets are settings of reproduce tiny. Leave them out.")
        if options.engine not in ("", None, "local"):
            raise ConfigError("reproduce loop trains on this machine only. Leave --engine out.")
        print(carry_out_loop(loop_plan(is_quick=options.quick), folder, say))
        return
    plan = make_plan(options.seconds_per_run, options.queries_per_run, options.quick)
    engine = chosen_engine(options.engine)
    afar = None if engine == "local" else train_afar(home, engine)
    print(run_campaign(plan, folder, say, afar))
