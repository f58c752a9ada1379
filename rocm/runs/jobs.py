"""A run continued on hardware that is paid by the hour: Hugging Face Jobs, from a Space's files."""

import shlex
from dataclasses import dataclass

from huggingface_hub import HfApi, JobInfo, Volume

from rocm.errors import ConfigError
from rocm.storage.hub import asked, is_repository

PRICED = "August 2026"
# Dollars an hour, of https://huggingface.co/docs/hub/jobs-pricing; `hf jobs hardware` has today's.
PRICES = {"cpu-upgrade": 0.03, "t4-small": 0.40, "a100-large": 2.50, "h200": 5.00}
IMAGE = "python:3.12"
MAX_HOURS = 24
# Left of the job's time for its installation, and for a last checkpoint and the upload.
SPARE_MINUTES = 15
NO_OWNER = "YOUR-ACCOUNT"
SCOPE = "jobs"


@dataclass(frozen=True)
class JobPlan:
    """A job that trains from the files of `space` and uploads the adapter, privately, to `owner`.

    `command` trains the run `name`, anew: the job does not see the disk of the Space.
    """

    space: str
    command: str
    name: str
    owner: str
    flavor: str
    hours: int

    def __post_init__(self) -> None:
        if self.flavor not in PRICES:
            raise ConfigError(f"flavor={self.flavor!r} is not one of {', '.join(PRICES)}.")
        if not 1 <= self.hours <= MAX_HOURS:
            raise ConfigError(f"hours={self.hours} is not allowed: give 1 to {MAX_HOURS}.")
        if not is_repository(self.target):
            raise ConfigError(f"{self.owner[:100]!r} is no account of the hub. Check the name.")

    @property
    def target(self) -> str:
        """The model repository that gets the adapter."""
        return f"{self.owner or NO_OWNER}/{self.name}"[:96].rstrip("-.")

    def script(self) -> str:
        """What the job's shell does; the trainer is stopped before the job's time is over."""
        minutes = 60 * self.hours - SPARE_MINUTES
        export = f"python -m rocm export {self.name} --format diffusers --out adapter"
        train = f"timeout -s TERM {minutes}m {self.command} --run-dir data/runs/{self.name}"
        steps = ("cp -r /space app", "cd app", "pip install -q -r requirements.txt")
        return f"{' && '.join(steps)} && {{ {train}; {export} --push-to-hub {self.target}; }}"

    def shell(self) -> str:
        """The same job as a command of the hub's own program."""
        words = ["hf", "jobs", "run", "--name", self.name, "--flavor", self.flavor]
        words += ["--timeout", f"{self.hours}h", "--secrets", "HF_TOKEN"]
        words += ["-v", f"hf://spaces/{self.space}:/space", IMAGE, "bash", "-c", self.script()]
        return shlex.join(words)

    def price(self) -> str:
        """The price in words."""
        hourly = PRICES[self.flavor]
        most = hourly * self.hours
        return (
            f"${hourly:.2f} an hour, at most ${most:.2f}, by the minute, on your account (prices "
            f"of {PRICED}). The job begins the run anew and uploads the adapter to {self.target}."
        )

    def start(self, token: str) -> str:
        """Run the job on the account of a token; returns its address, or raises MissingFile."""

        def run() -> JobInfo:
            return HfApi(token=token).run_job(
                image=IMAGE,
                command=["bash", "-c", self.script()],
                name=self.name,
                flavor=self.flavor,
                timeout=f"{self.hours}h",
                secrets={"HF_TOKEN": token},
                volumes=[Volume(type="space", source=self.space, mount_path="/space")],
            )

        return asked("The job", run, "run").url


def quota_words(token: str) -> str:
    """ZeroGPU seconds that a token's account has left, as a sentence; or raises MissingFile."""
    left = asked("Your quota", lambda: HfApi().get_zero_gpu_quota(token=token), "read")
    reset = f", until {left.resets_at:%H:%M} UTC" if left.resets_at else ""
    return f"ZeroGPU time left: {left.remaining:.0f} of {left.base:.0f} seconds{reset}."
