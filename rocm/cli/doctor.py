"""`python -m rocm doctor`: what is installed and what is missing."""

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rocm.cli.lazy import lazy
from rocm.errors import MissingFile
from rocm.storage.paths import ROOT, find_folder

torch = lazy("torch")

PACKAGES = ("torch", "torchvision", "diffusers", "transformers", "peft", "gradio", "plotly")
ASSETS = (
    *("assets/tiny-lcm", "assets/tiny-preference", "assets/tiny-clip", "assets/tiny-judge"),
    *("assets/tiny-eval", "assets/taste"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`doctor` has no arguments."""
    parser.set_defaults(run=doctor)


def doctor(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Print versions, devices and folders; MissingFile for whatever is missing."""
    print(f"python {platform.python_version()}")
    for package in PACKAGES:
        print(f"{package} {_version(package)}")
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    print(f"CUDA device: {cuda}; CPU threads: {torch.get_num_threads()}")
    print(f"ROCM_HOME: {home.resolve()}")
    missing = [folder for folder in ASSETS if not _is_there(folder)]
    if missing:
        raise MissingFile(f"Missing from {ROOT}: {', '.join(missing)}. Clone the repository again.")
    print("Embedded model and rewards: present")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise MissingFile(
            f"{package} is not installed. Run: pip install -r requirements.txt"
        ) from error


def _is_there(folder: str) -> bool:
    try:
        find_folder(folder)
    except MissingFile:
        return False
    return True
