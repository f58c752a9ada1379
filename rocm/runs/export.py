"""A run as a zip, without its checkpoints."""

import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from rocm.errors import RunError
from rocm.runs.run_dir import RunDir
from rocm.storage.files import make_folder
from rocm.storage.progress import counted

EXPORTED = (
    *("config.yaml", "manifest.json", "about.json", "metrics.jsonl", "events.jsonl", "log.txt"),
    *("samples/**/*", "adapter/*"),
)


def export(run: RunDir, folder: Path) -> Path:
    """A zip of a run in any state, without its checkpoints; replaces an older export in `folder`.

    Raises RunError if the disk is full or the folder cannot be written.
    """
    folder = Path(os.path.expanduser(folder))
    make_folder(folder)
    path = folder / f"{run.path.name}.zip"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in counted(list(_exported(run.path))):
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


def _exported(run: Path) -> Iterator[Path]:
    for pattern in EXPORTED:
        for path in sorted(run.glob(pattern)):
            hidden = any(part.startswith(".") for part in path.relative_to(run).parts)
            if path.is_file() and not hidden:
                yield path


def _zip_time(file: Path) -> tuple[int, int, int, int, int, int]:
    moment = time.localtime(file.stat().st_mtime)
    return (max(moment.tm_year, 1980), *moment[1:6])  # a zip knows no earlier year
