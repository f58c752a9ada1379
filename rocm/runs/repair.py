"""Mends the files of a run that a crash or a full disk has damaged."""

import os
from pathlib import Path

from rocm.errors import RunError
from rocm.runs.run_dir import RunDir
from rocm.storage.files import json_line, read_json, whole_lines, write_atomic

LINES = ("metrics.jsonl", "events.jsonl")
RECORDS = ("about.json", "launch.json", "stop.json")


def repair(run: RunDir) -> list[str]:
    """Drop damaged lines and records, kept as NAME.damaged, and write a lost state down again.

    Returns what was done, in sentences; RunError while the run trains.
    """
    if run.is_locked():
        raise RunError(f"{run.path.name} is training. Stop it first.")
    done = [words for name in LINES if (words := _mend_lines(run.path / name))]
    for path in (run.path / name for name in RECORDS):
        if _is_damaged(path):
            os.replace(path, _aside(path))
            done.append(f"{path.name} was damaged and is gone.")
    if _is_damaged(run.state_file) or not run.state_file.exists():
        run.rewrite_state()
        done.append(f"The state was written down again: {run.status().state}.")
    return done


def _mend_lines(path: Path) -> str:
    text = path.read_bytes() if path.exists() else b""
    rows = [row for _, row in whole_lines(path, text)]
    num_damaged = len(text.splitlines()) - len(rows)
    if not num_damaged:
        return ""
    write_atomic(_aside(path), text)
    write_atomic(path, "".join(json_line(row) for row in rows))
    return f"{path.name}: {num_damaged} damaged lines were dropped, {len(rows)} kept."


def _is_damaged(path: Path) -> bool:
    try:
        return not isinstance(read_json(path), dict) and path.exists()
    except RunError:
        return True


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")
