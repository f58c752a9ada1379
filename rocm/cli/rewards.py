"""`python -m rocm rewards`: which published rewards can be used here, and their download."""

import argparse
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from rocm.cli.lazy import lazy
from rocm.errors import ConfigError
from rocm.rewards.files import PUBLISHED, download, is_usable, size_text, weights_folder

download_url_to_file = lazy("torch.hub:download_url_to_file")

TIMEOUT_S = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `rewards`."""
    parser.add_argument(
        "--download", nargs="+", default=[], metavar="NAME", help="download these rewards"
    )
    parser.set_defaults(run=rewards)


def rewards(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Download the named rewards, then print the table of all."""
    for line in fetch_rewards(options.download):
        print(line, flush=True)
    print(reward_table())


def reward_table() -> str:
    """Every published reward: whether its files are present, or the size of the missing ones."""
    rows = [["reward", "files", "usual values", "reads the prompt"]]
    for name, published in PUBLISHED.items():
        missing = [file for file in published.files if not file.find()]
        state = f"missing, {size_text(missing)}" if missing else "present"
        low, high = published.native_range
        reads = "yes" if published.needs_prompt else "no"
        rows.append([name, state, f"{low:g} to {high:g}", reads])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, f"Own files: {weights_folder()}; others: the hub's cache."])


def fetch_rewards(names: Sequence[str]) -> Iterator[str]:
    """Download the missing files of published rewards; yields a line of progress for each file.

    Raises ConfigError for an unknown name, MissingFile if a download fails.
    """
    for name in names:
        if name not in PUBLISHED:
            raise ConfigError(f"No published reward '{name}'. Published: {', '.join(PUBLISHED)}.")
    for name in names:
        if is_usable(name):
            yield f"{name}: present"
            continue
        for file in download(name, _fetch):
            yield f"{name}: downloading {file.name} of {file.repository} ({size_text([file])})"
        yield f"{name}: ready"


def _fetch(url: str, path: str, sha256: str) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)  # torch's function has no timeout
    try:
        download_url_to_file(url, path, sha256 or None)
    finally:
        socket.setdefaulttimeout(before)
