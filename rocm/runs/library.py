"""A run's title and note, and its folder on the screen."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from rocm.errors import ConfigError, RunError
from rocm.storage.files import check_text

MAX_TITLE = 120
MAX_NOTE = 10_000


def open_in_file_manager(path: Path) -> None:
    """Show a folder on this machine's screen; RunError where there is no file manager."""
    if sys.platform == "win32":
        os.startfile(path)
        return
    program = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if program is None:
        raise RunError(f"There is no file manager here. The folder is {path}.")
    subprocess.Popen(
        [program, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def checked_title(title: str) -> str:
    """A title on one line, at most 120 characters long."""
    text = " ".join(check_text("title", title).split())
    if len(text) > MAX_TITLE:
        raise ConfigError(f"The title has {len(text)} characters; at most {MAX_TITLE} are allowed.")
    return text


def checked_note(note: str) -> str:
    """A note of at most 10,000 characters."""
    if len(note) > MAX_NOTE:
        raise ConfigError(
            f"The note has {len(note):,} characters; at most {MAX_NOTE:,} are allowed."
        )
    return check_text("note", note).strip()
