"""Settings of the engines, and the job of a run, which is kept in the run's directory.

An engine, `Slurm` or `Ray`, starts `COMMAND DIR` on another machine that sees the same folders. It
never holds truth about a run: the run's directory does, and an engine's word counts where that is
silent. Methods of an engine raise `EngineError` if it cannot be reached or refuses.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rocm.errors import ConfigError, RocmError
from rocm.runs.liveness import JOB
from rocm.runs.run_dir import RunDir
from rocm.storage.files import read_record, read_yaml, write_atomic

Word = Literal["", "waiting", "running", "done", "failed", "cancelled", "gone", "silent"]
"""An engine's word about a job: `gone` is unknown to it, `silent` when it does not answer."""
ENDED: dict[Word, str] = {
    "done": "ended before the run",
    "failed": "failed",
    "cancelled": "was canceled",
    "gone": "is no longer known",
}
ENGINES = ("local", "slurm", "ray")


class EngineError(RocmError):
    """An engine that is missing, cannot be reached or refuses a job."""


@dataclass(frozen=True)
class Job:
    """Content of engine.json: the engine's handle of a run, and its last word."""

    engine: str
    job: str = ""  # empty until the engine has taken it
    word: Word = ""
    script: str = ""  # the file that was submitted, if any
    attempt: int = 0  # how often it was submitted again

    @property
    def label(self) -> str:
        """Engine and handle for people."""
        return f"{self.engine.capitalize()} job {self.job}" if self.job else "no job yet"

    def write(self, run: RunDir) -> "Job":
        """Keep it in the run's directory; returns it."""
        write_atomic(run.path / "engine.json", json.dumps(asdict(self)))
        return self


def job_of(run: RunDir) -> Job | None:
    """The job of a run; None if no engine trains it."""
    record = read_record(run.path / "engine.json", JOB) if run.engine else None
    return Job(**{name: record[name] for name in JOB}) if record else None


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")


REASONS = {
    "extra_forbidden": "is no setting",
    "string_pattern_mismatch": "a character or the form of it is not what Slurm's option takes",
}
LINE = r"^[^\s#'\"`$;&|<>\\]*$"


class SlurmSettings(_Settings):
    """Section `slurm` of engines.yaml."""

    partition: str = Field(default="", pattern=LINE)
    account: str = Field(default="", pattern=LINE)
    qos: str = Field(default="", pattern=LINE)
    time: str = Field(default="", pattern=r"^[\d:-]*$")  # of a job, as sbatch takes it: 04:00:00
    gres: str = Field(default="", pattern=LINE)  # gpu:1
    memory: str = Field(default="", pattern=r"^\d*[KMGT]?$")
    cpus: int = Field(default=1, ge=1)
    at_once: int = Field(default=8, ge=1)  # runs of a sweep that train at the same time
    signal_s: int = Field(default=120, ge=1)  # before the time limit: checkpoint, requeue
    lines: list[str] = []  # further #SBATCH lines
    setup: list[str] = []  # commands before the trainer: module load, source


class RaySettings(_Settings):
    """Section `ray` of engines.yaml."""

    address: str = ""  # of the dashboard, http://HEAD:8265; RAY_ADDRESS wins; `local` starts one
    cpus: float = Field(default=1, ge=0)
    gpus: float = Field(default=0, ge=0)
    memory: int = Field(default=0, ge=0)  # MB; 0: not reserved
    at_once: int = Field(default=8, ge=1)  # jobs; Ray fails one that waits 15 minutes
    setup: list[str] = []


class Settings(_Settings):
    """Content of engines.yaml in the home, the machine's side of a run: no run's hash has it."""

    slurm: SlurmSettings = SlurmSettings()
    ray: RaySettings = RaySettings()
    retries: int = Field(default=2, ge=0)  # how often a job that died is submitted again


def read_settings(home: Path) -> Settings:
    """The settings of a home, all defaults without the file; ConfigError says what is wrong."""
    path = home / "engines.yaml"
    try:
        return Settings.model_validate(read_yaml(path, "docs/deploy.md has an example.") or {})
    except FileNotFoundError:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "the file"
        reason = REASONS.get(first["type"], first["msg"])
        raise ConfigError(
            f"{path}: {name}={first['input']!r} is not allowed: {reason}. docs/deploy.md lists the "
            "names and values."
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error


def chosen_engine(name: str = "") -> str:
    """The engine of this name, that of ROCM_ENGINE without one, or `local`."""
    wanted = name or os.environ.get("ROCM_ENGINE") or "local"
    if wanted not in ENGINES:
        raise ConfigError(f"ROCM_ENGINE={wanted} is not allowed. Choose {', '.join(ENGINES)}.")
    return wanted
