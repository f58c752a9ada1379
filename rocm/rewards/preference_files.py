"""Rewards that were learned from votes, `preference:NAME`: their folders, read without torch.

A folder `ROCM_HOME/rewards/NAME` holds `preference.safetensors` (the tensors), `preference.json`
(what they are of, their SHA-256, the studies' manifests and ends of votes) and the card. Of a
refused reward there is only the card.
"""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rocm.errors import ConfigError, MissingFile
from rocm.storage.files import read_record

PREFIX = "preference:"
TENSORS, RECORD = "preference.safetensors", "preference.json"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
KINDS = {"rewards": list, "embedding": str, "model": str, "studies": dict, "sha256": str}


def rewards_folder(home: Path | None = None) -> Path:
    """The folder of learned rewards below a home, by default ROCM_HOME."""
    given = os.path.expanduser(os.environ.get("ROCM_HOME") or "data")
    return (home or Path(given)) / "rewards"


def check_new_name(name: str, folder: Path) -> Path:
    """The folder of a new reward; ConfigError for a bad name or one that is taken."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"name={name[:60]!r} is not allowed. Use at most 41 lower-case letters, digits, - and "
            "_, such as my-raters."
        )
    if (folder / name / RECORD).exists():
        raise ConfigError(
            f"The reward {PREFIX}{name} exists, and runs may use it. Choose another name."
        )
    return folder / name


def is_preference(name: str) -> bool:
    """Whether a reward's name has the form `preference:NAME`."""
    return name.startswith(PREFIX)


def read_preference(name: str) -> tuple[Path, dict[str, Any]]:
    """The file of the tensors, and the record with the types of `KINDS`.

    Raises `MissingFile` without the reward, `RunError` if the record is damaged, `ConfigError` if
    it names a learned reward as a part, or the tensors are not those that it names.
    """
    short, parent = name.removeprefix(PREFIX), rewards_folder()
    record = read_record(parent / short / RECORD, KINDS) if NAME.fullmatch(short) else None
    file = parent / short / TENSORS
    if record is None or not file.is_file():
        raise MissingFile(
            f"reward={name[:80]} is not in {parent}. Rewards there: "
            f"{', '.join(learned_here()) or 'none'}. Learn one from a closed study: "
            "python -m rocm preference fit study:ID --name NAME"
        )
    if hashlib.sha256(file.read_bytes()).hexdigest() != record["sha256"]:
        raise ConfigError(f"reward={name}: {file} was changed. Restore it, or learn it anew.")
    parts = [part for part in (*record["rewards"], record["embedding"]) if is_preference(str(part))]
    if parts:  # such as itself
        raise ConfigError(f"reward={name} is made of {parts[0]}, a learned reward. Learn it anew.")
    return file, record


def learned_here() -> list[str]:
    """Names of the learned rewards of ROCM_HOME, sorted."""
    return sorted(f"{PREFIX}{file.parent.name}" for file in rewards_folder().glob(f"*/{RECORD}"))


def check_base(names: Iterable[str], model: str) -> None:
    """ConfigError if a learned reward among `names` has only seen another base model's pictures."""
    for name in filter(is_preference, names):
        seen = read_preference(name)[1]["model"]
        if seen != model:
            raise ConfigError(
                f"reward={name} was learned from pictures of {seen}, and these are drawn with "
                f"{model}. Set model={seen}, or learn a reward from votes on this model's pictures."
            )
