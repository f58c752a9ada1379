"""`python -m rocm rewards`: which published rewards can be used here, and their download."""

import socket
from collections.abc import Iterator, Sequence

from rocm.errors import ConfigError
from rocm.rewards.files import PUBLISHED, download, is_usable, size_text, weights_folder

TIMEOUT_S = 60


def reward_table() -> str:
    """Every published reward: whether its files are here, or how much is missing."""
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
    """Download what rewards lack.

    Args:
        names: of published rewards.

    Yields:
        A line before each file and one at the end; a file's size stands in it.

    Raises:
        ConfigError: not the name of a published reward.
        MissingFile: a download failed.
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
    from torch.hub import download_url_to_file

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)  # torch's function knows none and would wait for ever
    try:
        download_url_to_file(url, path, sha256 or None)
    finally:
        socket.setdefaulttimeout(before)
