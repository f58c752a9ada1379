"""Ray: each run is a job of the Jobs API, which is plain HTTP: nothing of Ray is imported here."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rocm.errors import ConfigError
from rocm.runs.engines.base import EngineError, Job, RaySettings, Word
from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT

ASK_S = 20.0
START_S = 60.0
RAY = str(Path(sys.executable).with_name("ray"))
LOCAL = "http://127.0.0.1:8265"
WORDS: dict[str, Word] = {
    **{"PENDING": "waiting", "RUNNING": "running", "SUCCEEDED": "done"},
    **{"STOPPED": "cancelled", "FAILED": "failed"},
}
NOT_INSTALLED = "Ray is not installed here. Run: pip install -r requirements-ray.txt"
NOT_SET = "RAY_ADDRESS is not set. Set it to the dashboard's address, such as http://HEAD:8265."


class Ray:
    """The cluster at RAY_ADDRESS, else at `address` of the settings."""

    name = "ray"

    def __init__(self, settings: RaySettings, command: Sequence[str]):
        """Nothing is asked yet; `command DIR` trains the run in DIR."""
        self._settings, self._command = settings, command
        self._address = address(settings)

    def submit(self, runs: Sequence[RunDir], num_active: int) -> list[Job]:
        """Hand runs over; returns the jobs of the first of them, as many as Ray takes now.

        With the `num_active` that wait or train there, at most `at_once`: Ray fails a job that
        waits for long.
        """
        if self._address == "local":
            start_local()
        return [self._submit(run) for run in runs[: max(0, self._settings.at_once - num_active)]]

    def _submit(self, run: RunDir) -> Job:
        own, path = self._settings, run.path.resolve()
        log = shlex.quote(f"{path / 'log.txt'}")
        train = f"exec {shlex.join([*self._command, str(path)])} >>{log} 2>&1"
        asked: dict[str, Any] = {
            "entrypoint": " && ".join([*own.setup, f"cd {shlex.quote(str(ROOT))}", train]),
            "submission_id": f"{path.name}-{token_hex(4)}",
            "entrypoint_num_cpus": own.cpus,
            "entrypoint_num_gpus": own.gpus,
            "entrypoint_memory": own.memory * 1_000_000 or None,
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(max(1, int(own.cpus)))}},
        }
        answer = self._ask("/api/jobs/", asked)
        return Job(self.name, answer["submission_id"], "waiting")

    def words(self, jobs: Collection[str]) -> dict[str, Word]:
        """Ray's word about jobs by handle; a cluster that was started anew knows none of them."""
        listed = {
            job["submission_id"]: WORDS.get(job["status"], "failed")
            for job in self._ask("/api/jobs/")
            if job.get("submission_id")
        }
        return {job: listed.get(job, "gone") for job in jobs}

    def cancel(self, job: str) -> None:
        """By SIGTERM, 3 s later by SIGKILL, unless the cluster sets another time."""
        self._ask(f"/api/jobs/{job}/stop", {})

    def log(self, job: str) -> str:
        """What the job printed; a run's own output is in its log.txt."""
        return str(self._ask(f"/api/jobs/{job}/logs").get("logs", ""))

    def reach(self) -> str:
        """Why the cluster cannot be used, in a sentence; empty if it can."""
        if not self._address:
            return NOT_SET
        if self._address == "local":
            return "" if shutil.which(RAY) else NOT_INSTALLED
        return _silence(self._address)

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        if not self._address:
            raise EngineError(NOT_SET)
        place = LOCAL if self._address == "local" else self._address
        return _answer(place, path, body)


def address(settings: RaySettings) -> str:
    """The dashboard's address, `local`, or empty if none is set; ConfigError for another form."""
    given = (os.environ.get("RAY_ADDRESS") or settings.address).rstrip("/")
    if given and given != "local" and not given.startswith(("http://", "https://")):
        raise ConfigError(
            f"RAY_ADDRESS={given} is not allowed: runs are submitted as jobs. Give the address of "
            "the dashboard, such as http://HEAD:8265, or `local` for a cluster on this machine."
        )
    return given


def start_local() -> None:
    """Start a cluster on this machine, unless one answers; it stays until `ray stop`."""
    if not _silence(LOCAL):
        return
    if not shutil.which(RAY):
        raise EngineError(NOT_INSTALLED)
    command = [RAY, "start", "--head", "--dashboard-host=127.0.0.1", "--disable-usage-stats"]
    done = subprocess.run(command, capture_output=True, text=True)
    until = time.monotonic() + START_S
    while (reason := _silence(LOCAL)) and done.returncode == 0 and time.monotonic() < until:
        time.sleep(0.5)
    if reason:
        raise EngineError(f"Ray could not be started: {done.stderr.strip()[-300:] or reason}")


def _silence(place: str) -> str:
    """Why no cluster answers at an address; empty if one does."""
    try:
        _answer(place, "/api/version", seconds=3.0)
    except EngineError as error:
        return str(error)
    return ""


def _answer(
    place: str, path: str, body: dict[str, Any] | None = None, seconds: float = ASK_S
) -> Any:
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(place + path, data, headers), timeout=seconds) as answer:
            return json.load(answer)
    except HTTPError as error:
        said = error.read().decode(errors="replace").strip().splitlines() or [str(error)]
        raise EngineError(f"Ray at {place} refused {path}: {said[-1][:300]}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise EngineError(
            f"Ray does not answer at {place} ({reason}). Start it, or set RAY_ADDRESS to the "
            "address of its dashboard."
        ) from error
