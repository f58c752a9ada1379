"""The folder of the project, and folders of models and rewards."""

import os
from pathlib import Path

from rocm.errors import MissingFile

ROOT = Path(__file__).resolve().parents[2]


def find_folder(model: str) -> Path:
    """A model's or reward's folder from the working directory or the project; or MissingFile."""
    for folder in (Path(os.path.expanduser(model)), ROOT / model):
        if os.path.isdir(folder):  # unlike Path.is_dir, also for a text that can be no path
            if not os.access(folder, os.R_OK | os.X_OK):
                raise MissingFile(f"{folder} is not readable by this user. Change its permissions.")
            return folder
    if os.path.isfile(os.path.expanduser(model)):
        raise MissingFile(
            f"'{model[:200]}' is a file, and a folder in diffusers' layout is needed, such as "
            "assets/tiny-lcm. A single checkpoint file has to be converted to that layout first."
        )
    places = " or ".join(dict.fromkeys(map(str, (Path.cwd(), ROOT))))
    raise MissingFile(
        f"No folder '{model[:200]}' in {places}. "
        "Give a folder in diffusers' layout, such as assets/tiny-lcm."
    )
