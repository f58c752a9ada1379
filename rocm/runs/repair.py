"""Mends the files of a run that a crash or a full disk has damaged."""

from pathlib import Path

from rocm.errors import RunError
from rocm.runs.liveness import STATE
from rocm.runs.run_dir import RunDir
from rocm.storage.files import json_line, read_record, whole_lines, write_atomic

LINES = ("metrics.jsonl", "events.jsonl")


def repair(run: RunDir) -> list[str]:
    """Drop damaged lines, of which NAME.damaged keeps a copy, and write a lost state down again.

    Returns what was done, in sentences; RunError while the run trains.
    """
    if run.is_locked():
        raise RunError(f"{run.path.name} is training. Stop it first.")
    done = [words for name in LINES if (words := _mend_lines(run.path / name))]
    if _has_no_state(run):
        run.rewrite_state()
        done.append(f"The state was written down again: {run.status().state}.")
    return done


def _mend_lines(path: Path) -> str:
    text = path.read_bytes() if path.exists() else b""
    rows = [row for _, row in whole_lines(path, text)]
    num_damaged = len(text.splitlines()) - len(rows)
    if not num_damaged:
        return ""
    write_atomic(path.with_name(f"{path.name}.damaged"), text)
    write_atomic(path, "".join(json_line(row) for row in rows))
    return f"{path.name}: {num_damaged} damaged lines were dropped, {len(rows)} kept."


def _has_no_state(run: RunDir) -> bool:
    try:
        return read_record(run.state_file, STATE) is None
    except RunError:
        return True
