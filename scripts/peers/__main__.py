"""Time other projects' updates beside ours: `python -m scripts.peers --peer PATH ...`.

Every flag of `python -m rocm bench step` works here too.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rocm.cli import bench as cli_bench
from rocm.errors import RocmError
from scripts.peers.load import load_peers


def main(arguments: Sequence[str] | None = None) -> int:
    """Time the updates and print the table.

    Args:
        arguments: of the command line, without the program's name.

    Returns:
        Exit code: 0, or 2 for an error that the user can mend.
    """
    parser = argparse.ArgumentParser(prog="python -m scripts.peers", description=__doc__)
    parser.add_argument(
        "--peer",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="a folder that holds TRL 0.23 (or its wheel), or RLCM",
    )
    parser.add_argument(
        "--peer-own-work",
        action="store_true",
        help="TRL's update with its own settings besides: 50 steps with guidance",
    )
    cli_bench.add_step_arguments(parser)
    options = parser.parse_args(arguments)
    options.what = "step"
    try:
        print(
            cli_bench.bench_text(
                options, lambda b: load_peers(options.peer, b, options.peer_own_work)
            )
        )
    except RocmError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
