"""`python -m rocm reproduce tiny`: arguments and their bounds."""

import argparse
from pathlib import Path

from rocm.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("what", choices=["tiny"], help="on the embedded model")
    parser.add_argument(
        "--seconds-per-run", type=float, default=45.0, help="of updates: the first budget"
    )
    parser.add_argument(
        "--queries-per-run", type=int, default=192, help="pictures scored: the second budget"
    )
    parser.add_argument("--quick", action="store_true", help="2 updates, 1 seed: not evidence")
    parser.add_argument("--out", type=Path, help="where runs and report go")


def reproduce(options: argparse.Namespace, home: Path) -> Path:
    """Carry the comparison out, or go on with it.

    Args:
        options: as parsed.
        home: folder of all that is stored.

    Returns:
        The report.

    Raises:
        ConfigError: a budget is not allowed.
        RunError: it was stopped; the same command goes on.
    """
    from rocm.experiments.reproduce.campaign import reproduce as carry_out
    from rocm.experiments.reproduce.plan import make_plan

    if not 1 <= options.seconds_per_run <= 86_400:
        raise ConfigError(f"--seconds-per-run {options.seconds_per_run:g} is outside 1 to 86400.")
    if not 16 <= options.queries_per_run <= 1_000_000:
        raise ConfigError(f"--queries-per-run {options.queries_per_run} is outside 16 to 1000000.")
    plan = make_plan(options.seconds_per_run, options.queries_per_run, options.quick)
    folder = options.out or home / "reproduce" / ("tiny-quick" if options.quick else "tiny")
    return carry_out(plan, folder, lambda line: print(line, flush=True))
