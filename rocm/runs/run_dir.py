"""The run directory: the only thing that the trainer and its readers share.

docs/metrics.md, "The run directory", has its files, and how they are written and read. A run whose
state says that it works but whose process is gone, and whose lock is free, reads as `interrupted`;
that of another machine is alive by its lease. Nothing here knows torch, so the page can read a run
while another process trains.
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

import psutil

from rocm.config import RunConfig
from rocm.errors import MissingFile, RunError
from rocm.rewards.user_files import copy_user_files
from rocm.runs.lease import Lease, check_lease, judge_afar, newest_claim
from rocm.runs.liveness import (
    ABOUT,
    ACTIVE,
    CLOCK_SLACK_S,
    LAUNCH,
    STATE,
    STOP,
    RunStatus,
    State,
    family,
    host,
    identity,
    judge,
)
from rocm.storage import files

# Events after which the state is another, and whether they end the run in a state of that name.
TURNS = {"started": False, "resumed": False, "stopped": True, "failed": True, "finished": True}
REBUILT = "state.json was damaged; this is what the run's events say. python -m rocm runs repair {}"
NOBODY = dict.fromkeys(("host", "pid", "create_time", "start_ticks"))
Control = Literal["stop", "save_now", "sample_now", "hand_back"]


@dataclass(frozen=True)
class RunDir:
    """A run's directory: methods of the trainer first, then those of every reader."""

    path: Path

    # Writer

    @classmethod
    def create(
        cls,
        path: Path,
        config: RunConfig,
        preset: str = "",
        place: float | str = 0,
        sweep: str = "",
    ) -> Self:
        """A new run at `path`, with copies of the user's own reward files.

        `preset` is the name of the settings it starts from, `place` as in `mark_waiting`.
        RunError if `path` holds files; RocmError if a reward file is missing or wrong.
        """
        run = cls(Path(path))
        if run._file("config.yaml").exists():
            raise RunError(
                f"{run.path} already holds a run. Continue it with --resume {run.path}, or "
                "choose another --run-dir."
            )
        if run.path.is_file():
            raise RunError(f"{run.path} is a file. Choose an empty or new --run-dir.")
        if run.path.exists() and any(run.path.iterdir()):
            raise RunError(f"{run.path} holds other files. Choose an empty or new --run-dir.")
        copy_user_files(config.user_rewards, run.rewards_dir)
        for folder in ("control", "samples", "checkpoints"):
            files.make_folder(run.path / folder)
        run.describe(preset=preset, sweep=sweep, created=time.time())
        # The state goes first: whoever sees config.yaml sees a run, and must not take it for dead.
        run.mark_waiting(place, num_steps=config.num_steps)
        files.write_atomic(run._file("config.yaml"), config.to_yaml())
        return run

    def acquire_lock(self) -> Lease:
        """The run's lease, a context manager to hold while training; RunError if it is taken.

        Also drops what a killed trainer left: a torn last line, a stale stop request.
        """
        lease = Lease(self.path)
        for name in ("metrics.jsonl", "events.jsonl"):
            files.drop_torn_line(self._file(name))
        self._drop_stale_requests()
        self.write_state("starting")
        return lease

    def write_state(self, state: State, **fields: Any) -> None:
        """Replace state.json; omitted `fields` (`step`, `num_steps`) stay, `error` does not."""
        check_lease(self.path)
        own = {**identity(os.getpid()), "heartbeat": time.time()}
        self._replace_state({"error": "", **fields, "state": state, **own})

    def mark_waiting(self, place: float | str = 0, **fields: Any) -> None:
        """Record that a run waits at `place` of the queue or at that engine; 0: it starts now."""
        for name in ("launch.json", "stop.json"):
            self._file(name).unlink(missing_ok=True)
        for name in get_args(Control):
            self._request(name).unlink(missing_ok=True)
        engine, place = (place, 0) if isinstance(place, str) else ("", place)
        own = {"engine": engine, "place": place, **NOBODY, "heartbeat": time.time()}
        state = "submitted" if engine else "queued" if place else "starting"
        self._replace_state({"error": "", **fields, "state": state, **own})

    def mark_ended(self, state: State, error: str = "") -> None:
        """Record the end of a run whose trainer cannot do so: its state and a sentence."""
        self._replace_state({"state": state, "error": error, **NOBODY})

    def rewrite_state(self) -> None:
        """Replace a damaged or lost state.json by what events, metrics and checkpoints say."""
        state = {**self._rebuilt_state(), "error": "", **NOBODY, "heartbeat": time.time()}
        files.write_atomic(self._file("state.json"), json.dumps(state))

    def write_launch(self, pid: int) -> None:
        """Name a started process until it takes the lock and reports itself."""
        files.write_atomic(self._file("launch.json"), json.dumps(identity(pid)))

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace manifest.json."""
        files.write_atomic(self._file("manifest.json"), json.dumps(manifest, indent=2) + "\n")

    def describe(self, **fields: Any) -> None:
        """Change about.json: `title`, `note`, `preset`, `sweep`, `created` (Unix seconds)."""
        files.write_atomic(self._file("about.json"), json.dumps({**self.about(), **fields}))

    def extend(self, num_steps: int) -> None:
        """Set the number of updates after which a resumed run ends."""
        config = RunConfig.load(self.config().model_dump(), num_steps=num_steps)
        files.write_atomic(self._file("config.yaml"), config.to_yaml())

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Append the measurements of an update; `time` (Unix seconds) is added."""
        check_lease(self.path)
        files.append_json_line(self._file("metrics.jsonl"), {"time": time.time(), **row})

    def append_event(self, kind: str, **fields: Any) -> None:
        """Append an event, such as started, checkpoint, sample, warning, failed or finished.

        `fields` are `step`, `message` (a sentence for the reader) and others.
        """
        check_lease(self.path)
        files.append_json_line(
            self._file("events.jsonl"), {"time": time.time(), "kind": kind, **fields}
        )

    def truncate_metrics(self, step: int) -> None:
        """Drop rows after `step`, so that a resumed run measures no update twice."""
        rows = [row for row in self.metrics() if row["step"] <= step]
        text = "".join(files.json_line(row) for row in rows)
        files.write_atomic(self._file("metrics.jsonl"), text)

    def take_control(self, name: Control) -> bool:
        """Whether a request was made since the last call; it is consumed."""
        try:
            self._request(name).unlink()
        except FileNotFoundError:
            return False
        if name == "stop":
            self.write_state("stopping")
        return True

    @property
    def rewards_dir(self) -> Path:
        """Folder of the copies of the user's own reward files; absent without any."""
        return self.path / "rewards"

    def samples_dir(self, step: int) -> Path:
        """Folder of the previews drawn after `step` updates."""
        return self.path / "samples" / f"step_{step:06d}"

    def checkpoint_dir(self, step: int) -> Path:
        """Folder of the checkpoint after `step` updates; write it with `replace_folder`."""
        return self.path / "checkpoints" / f"step_{step:06d}"

    # Reader

    def config(self) -> RunConfig:
        """The run's settings; MissingFile if there is no run."""
        path = self._file("config.yaml")
        if not os.path.isfile(path):
            raise MissingFile(f"{self.path} holds no run: config.yaml is missing.")
        return RunConfig.load(path)

    def manifest(self) -> dict[str, Any]:
        """Content of manifest.json; empty before the trainer wrote it."""
        return files.read_record(self._file("manifest.json"), {}) or {}

    def about(self) -> dict[str, Any]:
        """Content of about.json; empty without it."""
        return files.read_record(self._file("about.json"), ABOUT) or {}

    def trainer_born(self) -> float | None:
        """Unix time at which the trainer's process started; None if unknown."""
        return self._state().get("create_time")

    def place(self) -> float:
        """Place of a waiting run: smaller is earlier."""
        return float(self._state().get("place", 0.0))

    def stop_asked(self) -> dict[str, float] | None:
        """When a stop was requested (`time`) and how long it may take (`grace_s`), in seconds."""
        return files.read_record(self._file("stop.json"), STOP)

    def status(self) -> RunStatus:
        """The run's state now, from its process as well as from its last record."""
        record = self._state()
        is_afar = record.get("engine") or record.get("host") not in (None, host())
        if is_afar and record.get("state") in ACTIVE:
            state, error = judge_afar(self.path, record)
        else:
            state, error = judge(record, self._launch())
        if not is_afar and record.get("state") in ACTIVE and state not in ACTIVE:
            record = self._state()  # its last words may have come between the reading and its end
            state, error = judge(record, self._launch())
            if state not in ACTIVE and self.is_locked():  # whatever ids and clocks say
                state, error = record["state"], ""
        if state == "failed" and not error:
            error = self.log_tail(1) or "The training process ended before the first update."
        if state in ACTIVE and self._request("stop").exists():
            state = "stopping"
        return RunStatus(
            state=state,
            step=record.get("step", 0),
            num_steps=record.get("num_steps", 0),
            pid=record.get("pid"),
            error=error,
            engine=record.get("engine") or "",
        )

    @property
    def engine(self) -> str:
        """Name of the engine that trains the run; empty for this machine."""
        return str(self._state().get("engine") or "")

    @property
    def state_file(self) -> Path:
        """Replaced whole whenever the state changes."""
        return self._file("state.json")

    def written_state(self) -> str:
        """The last written state, true or not; empty before there is one."""
        return str(self._state().get("state", ""))

    def written_or_damaged(self) -> str:
        """The last written state; `damaged` if it cannot be read."""
        try:
            return self.written_state()
        except RunError:
            return "damaged"

    def is_locked(self) -> bool:
        """Whether a trainer holds the run now, here or on another machine."""
        if files.is_locked(self._file("lock")):
            return True
        claim = newest_claim(self.path)
        return claim.is_fresh and claim.host != host()

    def processes(self) -> list[psutil.Process]:
        """The living trainer and its descendants."""
        launch = self._launch() or {}
        record = self._state()
        owner = record if record.get("pid") else launch
        return family(owner) if owner else []

    def metrics(self) -> list[dict[str, Any]]:
        """All rows of metrics.jsonl, oldest first; damaged and half-written lines are left out."""
        return self._lines("metrics.jsonl")

    def events(self) -> list[dict[str, Any]]:
        """All events, oldest first; damaged and half-written lines are left out."""
        return self._lines("events.jsonl")

    def sample_steps(self) -> list[int]:
        """Steps with a complete set of previews, oldest first."""
        folders = files.step_folders(self.path / "samples")
        return [step for step, folder in folders if (folder / "manifest.json").is_file()]

    def pictures(self, step: int) -> list[dict[str, Any]]:
        """The previews of one of `sample_steps`: dictionaries with `path`, `prompt`, `seed`."""
        folder = self.samples_dir(step)
        records = files.read_pictures(folder / "manifest.json")
        return [{**record, "path": folder / Path(record["file"]).name} for record in records]

    def scores(self, step: int) -> dict[str, list[float]]:
        """Values of each reward by prompt in the evaluation at `step`, and the trained `reward`."""
        return files.read_record(self.samples_dir(step) / "scores.json", {}) or {}

    def thumbnail(self) -> Path | None:
        """The first picture of the newest complete previews, None before there are any."""
        steps = self.sample_steps()
        pictures = self.pictures(steps[-1]) if steps else []
        return pictures[0]["path"] if pictures else None

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return [folder for _, folder in files.step_folders(self.path / "checkpoints")]

    def log_tail(self, num_lines: int) -> str:
        """The last lines that the trainer printed."""
        try:
            text = self._file("log.txt").read_bytes()[-16_384:].decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.strip().splitlines()[-num_lines:])

    def request(self, name: Control) -> None:
        """Send a request to the trainer, which looks after every update."""
        if name not in get_args(Control):
            raise RunError(f"'{name}' is no request. Requests: {', '.join(get_args(Control))}.")
        files.write_atomic(self._request(name), "")

    def request_stop(self, grace_s: float) -> None:
        """Request a stop; after `grace_s` seconds a signal enforces it, after twice that a kill."""
        files.write_atomic(
            self._file("stop.json"), json.dumps({"time": time.time(), "grace_s": grace_s})
        )
        self.request("stop")

    # Shared

    def _file(self, name: str) -> Path:
        return self.path / name

    def _request(self, name: Control) -> Path:
        return self.path / "control" / name

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self._file(name)
        try:
            complete = path.read_bytes().rpartition(b"\n")[0]
        except FileNotFoundError:
            return []
        return [row for _, row in files.whole_lines(path, complete)]

    def _state(self) -> dict[str, Any]:
        try:
            return files.read_record(self._file("state.json"), STATE) or {}
        except RunError:
            return self._rebuilt_state()

    def _rebuilt_state(self) -> dict[str, Any]:
        """The state that events, metrics and checkpoints tell, where state.json is damaged."""
        kinds = [event["kind"] for event in self.events() if event["kind"] in TURNS]
        ended = kinds[-1] if kinds and TURNS[kinds[-1]] else "interrupted"
        steps = [row["step"] for row in self.metrics()]
        steps += [step for step, _ in files.step_folders(self.path / "checkpoints")]
        return {
            "state": "running" if self.is_locked() else ended,
            "step": max(steps, default=0),
            "num_steps": self.config().num_steps,
            "error": REBUILT.format(self.path.name),
        }

    def _launch(self) -> dict[str, Any] | None:
        return files.read_record(self._file("launch.json"), LAUNCH)

    def _replace_state(self, fields: dict[str, Any]) -> None:
        files.write_atomic(self._file("state.json"), json.dumps({**self._state(), **fields}))

    def _drop_stale_requests(self) -> None:
        born = psutil.Process().create_time() - CLOCK_SLACK_S
        requests = [self._request(name) for name in get_args(Control)]
        for request in (*requests, self._file("stop.json")):
            if request.exists() and request.stat().st_mtime < born:
                request.unlink()
