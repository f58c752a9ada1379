"""`python -m rocm preference fit`: a reward from the votes of closed studies."""

import argparse
from pathlib import Path

from rocm.cli.lazy import lazy
from rocm.rewards.names import WITHOUT_GRADIENT

learn_from_votes = lazy("rocm.cli.learning:learn_from_votes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `preference`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    words = "learn a reward from the votes of closed studies"
    sub = actions.add_parser("fit", help=words, description=f"{words.capitalize()}.")
    sub.add_argument("studies", nargs="+", metavar="study:ID", help="closed studies")
    sub.add_argument("--name", required=True, help="the reward is called preference:NAME")
    words = f"rewards that it starts from, none of {', '.join(WITHOUT_GRADIENT)}; default: all here"
    sub.add_argument("--rewards", default="", help=words)
    sub.add_argument("--embedding", default="", help="CLIP that it reads; default: tiny-clip")
    sub.set_defaults(run=run)


def run(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Learn a reward, or refuse it in a sentence for each reason; prints where the card is."""
    parts = (options.rewards, options.embedding)
    print(learn_from_votes(home, options.studies, options.name, *parts))
