"""Package version and checkpoint hash of official scores; no torch."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from rocm.errors import MissingDependency
from rocm.rewards.files import find_weights
from rocm.rewards.names import OFFICIAL

ASK = (
    "import json; from importlib.metadata import version; "
    "print(json.dumps({name: version(name) for name in ('hpsv2', 'image-reward', 'torch')}))"
)


def official_versions(measures: Iterable[str]) -> dict[str, str]:
    """Package, torch and checkpoint of each official score among `measures`, in words by name.

    Raises `MissingDependency` if the environment lacks the packages, `MissingFile` without a
    checkpoint.
    """
    official = [name for name in measures if name in OFFICIAL]
    if not official:
        return {}
    packages = _packages(os.environ["ROCM_REFERENCE_PYTHON"])
    return {name: _words(name.partition(":")[2], packages) for name in official}


def _words(published: str, packages: dict[str, str]) -> str:
    file = find_weights(published)[0]
    package = "hpsv2" if published.startswith("hpsv2") else "image-reward"
    status = file.stat()
    digest = _sha256(file, status.st_size, status.st_mtime_ns)
    return (
        f"{package} {packages[package]}, torch {packages['torch']}, {file.name} with SHA-256 "
        f"{digest}"
    )


def _packages(python: str) -> dict[str, str]:
    try:
        done = subprocess.run([python, "-c", ASK], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingDependency(
            f"ROCM_REFERENCE_PYTHON={python} is not an environment of the official packages. Run: "
            "python -m scripts.reference FOLDER, and set the variable as it says."
        ) from error
    return json.loads(done.stdout)


@lru_cache(maxsize=16)
def _sha256(file: Path, size: int, changed: int) -> str:
    """Of a file's content; size and time of the last change tell one content from another."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
