"""The state of a run, from its process as well as from its last record."""

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import psutil

Active = Literal["starting", "running", "stopping"]
Resumable = Literal["stopped", "failed", "interrupted", "cancelled", "lost"]
State = Literal["queued", "submitted", "finished", Active, Resumable]

ACTIVE: tuple[State, ...] = get_args(Active)
RESUMABLE: tuple[State, ...] = get_args(Resumable)

# Types of what stands in the run directory's records; where None is allowed a name may be absent.
STATE = {
    **dict.fromkeys(("state", "error", "host", "engine"), str | None),
    **dict.fromkeys(("pid", "start_ticks", "step", "num_steps"), int | None),
    **dict.fromkeys(("create_time", "heartbeat", "place"), int | float | None),
}
LAUNCH = {"pid": int, "create_time": int | float, "start_ticks": int | None}
STOP = {"time": int | float, "grace_s": int | float}
JOB = {**dict.fromkeys(("engine", "job", "word", "script"), str), "attempt": int}
ABOUT = {"created": int | float | None} | dict.fromkeys(
    ("title", "note", "preset", "sweep"), str | None
)

LAUNCH_GRACE_S = 30.0
CLOCK_SLACK_S = 2.0


@dataclass(frozen=True)
class RunStatus:
    """The state of a run, without its metrics."""

    state: State
    step: int = 0
    num_steps: int = 0
    pid: int | None = None
    error: str = ""
    engine: str = ""  # that trains it; empty: this machine

    @property
    def is_resumable(self) -> bool:
        """Whether it can be queued again, from its last checkpoint or from the start."""
        return self.state in RESUMABLE

    @property
    def is_active(self) -> bool:
        """Whether a trainer works on the run, or is about to."""
        return self.state in ACTIVE

    @property
    def is_queued(self) -> bool:
        """Whether the run waits, in the queue of this home or in that of an engine."""
        return self.state in ("queued", "submitted")


def is_alive(record: Mapping[str, Any]) -> bool:
    """Whether the process that `identity` described still works (a zombie does not)."""
    try:
        process, ticks = psutil.Process(record["pid"]), record.get("start_ticks")
        if ticks is not None:
            is_same = start_ticks(process.pid) == ticks
        else:
            born = record.get("create_time") or 0.0
            is_same = abs(process.create_time() - born) < CLOCK_SLACK_S
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # denied: another user's, so not ours
        return False


def start_ticks(pid: int) -> int | None:
    """Ticks from the boot to the start of a process, which no change of the clock moves.

    None where the system does not tell, or the process is gone.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])


def host() -> str:
    """This machine's name: in a job of Slurm that of the node, else the host's."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def identity(pid: int) -> dict[str, Any]:
    """`host`, `pid`, `create_time` (Unix time of its start; 0 if it is gone) and `start_ticks`."""
    try:
        born = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        born = 0.0
    return {"host": host(), "pid": pid, "create_time": born, "start_ticks": start_ticks(pid)}


def family(record: Mapping[str, Any]) -> list[psutil.Process]:
    """The process that `identity` described, after all its descendants."""
    if not is_alive(record):
        return []
    try:
        parent = psutil.Process(record["pid"])
        return [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return []


def judge(record: dict[str, Any], launch: dict[str, Any] | None) -> tuple[State, str]:
    """State now, and what went wrong, from state.json and launch.json (None without that file)."""
    state, error = record.get("state", "interrupted"), record.get("error", "")
    if state not in ACTIVE:
        return state, error
    if record.get("pid"):
        if is_alive(record):
            return state, error
        return "interrupted", "The training process ended unexpectedly; see log.txt."
    if launch:
        if is_alive(launch):
            return state, error
        return "failed", ""
    if time.time() - record.get("heartbeat", 0) < LAUNCH_GRACE_S:
        return state, error
    return "interrupted", "The training process was never started."
