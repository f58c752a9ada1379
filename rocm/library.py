"""What a person does with runs and settings: name, note, delete, restore, export, presets."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from rocm.config import RunConfig, check_text, preset_names
from rocm.errors import ConfigError, MissingFile, RunError
from rocm.presets import preset_groups
from rocm.training.files import make_folder, write_atomic
from rocm.training.run_dir import RunDir

PRESET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
EXPORTED = (
    "config.yaml",
    "manifest.json",
    "about.json",
    "metrics.jsonl",
    "events.jsonl",
    "log.txt",
    "samples/**/*",
    "adapter/*",
)
MAX_TITLE = 120
MAX_NOTE = 10_000


@dataclass(frozen=True)
class Preset:
    """A set of settings with a name: shipped, or saved by the user (`is_own`)."""

    name: str
    description: str
    is_own: bool = False


class Bin:
    """Deleted runs, kept in `home`/bin until the bin is emptied."""

    def __init__(self, home: Path):
        """Keep what is deleted below `home`."""
        self.path = home / "bin"

    def runs(self) -> list[RunDir]:
        """What is in the bin, last deleted first."""
        found = [RunDir(path.parent) for path in self.path.glob("*/config.yaml")]
        return sorted(found, key=lambda run: (run.path / "deleted").stat().st_mtime, reverse=True)

    def put(self, run: RunDir) -> None:
        """Move a run that is not at work and does not wait into the bin; a damaged one too."""
        state = "at work" if run.is_locked() else run.written_or_damaged()
        if state == "queued":
            raise RunError(f"{run.path.name} waits and cannot be deleted. Cancel it first.")
        if state == "at work" or (state != "damaged" and run.status().is_active):
            raise RunError(f"{run.path.name} is at work and cannot be deleted. Stop it first.")
        make_folder(self.path)
        write_atomic(run.path / "deleted", f"{time.time()}")
        _move(run.path, self.path / run.path.name)

    def take_out(self, run_id: str, runs: Path) -> None:
        """Move a deleted run back into the folder `runs`."""
        if run_id not in [run.path.name for run in self.runs()]:
            raise MissingFile(f"There is no run '{run_id[:100]}' in the bin, {self.path}.")
        make_folder(runs)
        _move(self.path / run_id, runs / run_id)
        (runs / run_id / "deleted").unlink(missing_ok=True)

    def empty(self) -> int:
        """Delete for good what is in the bin; returns how many runs that were."""
        runs = self.runs()
        for run in runs:
            try:
                shutil.rmtree(run.path)
            except OSError as error:
                raise RunError(f"Cannot delete {run.path}: {error.strerror}.") from error
        return len(runs)


class Presets:
    """Shipped settings, then those that were saved in `home`/presets."""

    def __init__(self, home: Path):
        """Offer the shipped presets and those of `home`."""
        self.path = home / "presets"

    def all(self) -> list[Preset]:
        """Shipped ones by group, then the user's by name; a damaged one's sentence says so."""
        own = [Preset(path.stem, _sentence(path), True) for path in sorted(self._files())]
        shipped = chain.from_iterable(preset_groups().values())
        return [Preset(name, RunConfig.load(name).description) for name in shipped] + own

    def source(self, name: str) -> str | Path:
        """The name of a shipped preset, the file of another; nothing but a name is accepted."""
        files: dict[str, str | Path] = {path.stem: path for path in self._files()}
        files |= {shipped: shipped for shipped in preset_names()}
        if name not in files:
            raise MissingFile(f"There is no preset '{name}'. Presets: {', '.join(sorted(files))}.")
        return files[name]

    def save(self, name: str, config: RunConfig, description: str) -> Path:
        """Keep settings under a new name."""
        if not PRESET_NAME.fullmatch(name):
            raise ConfigError(
                f"'{name[:80]}' cannot name a preset. Use 1 to 60 letters, digits, - and _, "
                "beginning with a letter or digit."
            )
        taken = {preset.name.lower() for preset in self.all()}
        if name.lower() in taken:
            raise ConfigError(f"There is a preset '{name}' already. Choose another name.")
        make_folder(self.path)
        path = self.path / f"{name}.yaml"
        sentence = check_text("description", description).strip()
        described = RunConfig.load(config.model_dump(), description=sentence)
        write_atomic(path, described.to_yaml())
        return path

    def _files(self) -> list[Path]:
        return [path for path in self.path.glob("*.yaml") if PRESET_NAME.fullmatch(path.stem)]


def export(run: RunDir, folder: Path) -> Path:
    """A zip of a run without its checkpoints.

    Args:
        run: in any state.
        folder: where to put it; made if absent. An older export of the run is replaced.

    Returns:
        The file.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    folder = Path(os.path.expanduser(folder))
    make_folder(folder)
    path = folder / f"{run.path.name}.zip"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in _exported(run.path):
                data = file.read_bytes()
                if file.suffix == ".jsonl":
                    data = data[: data.rfind(b"\n") + 1]  # without a row that is being written
                name = f"{run.path.name}/{file.relative_to(run.path).as_posix()}"
                archive.writestr(zipfile.ZipInfo(name, _zip_time(file)), data, zipfile.ZIP_DEFLATED)
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(f"Cannot export to {path}: {error.strerror}. Try again.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


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


def command_line(config: RunConfig, preset: str, base: RunConfig) -> str:
    """The command that trains with these settings, naming only what differs from the preset.

    Args:
        config: the settings.
        preset: its name.
        base: its settings.

    Returns:
        One line for a POSIX shell.
    """
    words = ["python", "-m", "rocm", "train", preset]
    for name, value in config.model_dump(exclude={"description"}).items():
        if value != getattr(base, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


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


def _exported(run: Path) -> Iterator[Path]:
    for pattern in EXPORTED:
        for path in sorted(run.glob(pattern)):
            hidden = any(part.startswith(".") for part in path.relative_to(run).parts)
            if path.is_file() and not hidden:
                yield path


def _zip_time(file: Path) -> tuple[int, int, int, int, int, int]:
    moment = time.localtime(file.stat().st_mtime)
    return (max(moment.tm_year, 1980), *moment[1:6])  # a zip knows no earlier year


def _sentence(path: Path) -> str:
    try:
        return RunConfig.load(path).description
    except ConfigError as error:
        return str(error)


def _move(source: Path, target: Path) -> None:
    if target.exists():
        raise RunError(f"{target} exists already. Rename or remove that folder first.")
    try:
        os.replace(source, target)
    except OSError as error:
        raise RunError(f"Cannot move {source} to {target}: {error.strerror}.") from error
