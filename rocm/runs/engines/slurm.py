"""Slurm: runs as a job array, with a checkpoint before the time limit and a requeue after it."""

import getpass
import shlex
import shutil
import subprocess
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from secrets import token_hex

from rocm.errors import ConfigError
from rocm.runs.engines.base import EngineError, Job, SlurmSettings, Word
from rocm.runs.run_dir import RunDir
from rocm.storage.files import make_folder, write_atomic
from rocm.storage.paths import ROOT

ASK_S = 20.0
HANDED_BACK = 75  # exit code of a trainer whose job ended before the run
WAITING = "PENDING CONFIGURING REQUEUED REQUEUE_FED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT".split()
RUNNING = "RUNNING COMPLETING STAGE_OUT SUSPENDED STOPPED SIGNALING RESIZING".split()
WORDS: dict[str, Word] = {
    **dict.fromkeys(WAITING, "waiting"),
    **dict.fromkeys(RUNNING, "running"),
    **{"COMPLETED": "done", "CANCELLED": "cancelled", "REVOKED": "cancelled"},
}
MISSING = (
    "Slurm is not installed here: there is no sbatch. Run this on a login node of the cluster."
)
# Slurm signals the script alone. SIGUSR1 comes before the time limit: the trainer hands the run
# back with a checkpoint, and the job waits again. SIGTERM is a cancellation or a preemption, after
# which Slurm itself decides. A signal ends `wait` early, so it is repeated.
SCRIPT = """#!/bin/bash
{lines}

run=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {runs})
exec >>"$run/log.txt" 2>&1
cut= trainer=
trap 'cut=yes; kill -USR1 $trainer' USR1
trap 'kill -TERM $trainer' TERM
echo "Job $SLURM_ARRAY_JOB_ID"_"$SLURM_ARRAY_TASK_ID on $SLURMD_NODENAME, $(date)"
{setup}
cd {root} || exit 1
export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-${{SLURM_CPUS_PER_TASK:-1}}}}"
{command} "$run" &
trainer=$!
while kill -0 $trainer 2>/dev/null; do wait $trainer; done
wait $trainer
code=$?
if [ "$cut" ] && [ "$code" = {handed_back} ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


class Slurm:
    """The cluster whose `sbatch` is on the path."""

    name = "slurm"

    def __init__(self, home: Path, settings: SlurmSettings, command: Sequence[str]):
        """Keep scripts below `home`/jobs; `command DIR` trains the run in DIR."""
        self._folder, self._settings, self._command = home / "jobs", settings, command
        self._missing: set[str] = set()  # jobs that squeue did not list when asked last

    def reach(self) -> str:
        """Why Slurm cannot be used here, in a sentence; empty if it can."""
        try:
            answer = _ask(["scontrol", "ping"], 5.0)
        except EngineError as error:
            return str(error)
        return "" if "UP" in answer else f"Slurm does not answer: {answer.strip()}."

    def submit(self, runs: Sequence[RunDir], num_active: int) -> list[Job]:
        """Hand runs over as one job array, whose script is kept; returns the jobs of all.

        `at_once` of them train at a time, whatever else trains.
        """
        name = f"{datetime.now():%Y%m%d-%H%M%S}-{token_hex(2)}"
        folder = self._folder / name
        make_folder(folder)
        write_atomic(folder / "runs.txt", "".join(f"{run.path.resolve()}\n" for run in runs))
        script = folder / "job.sh"
        write_atomic(script, self.script(len(runs), folder))
        number = _ask(["sbatch", "--parsable", str(script)]).partition(";")[0].strip()
        return [Job(self.name, f"{number}_{k}", "waiting", f"{script}") for k in range(len(runs))]

    def script(self, num: int, folder: Path) -> str:
        """The script of `num` runs, whose directories are the lines of `folder`/runs.txt."""
        own = self._settings
        options = {
            "job-name": "rocm",
            "array": f"0-{num - 1}%{own.at_once}",
            "output": f"{folder}/%A_%a.out",
            **{name: getattr(own, name) for name in ("partition", "account", "qos", "time")},
            **{"gres": own.gres, "mem": own.memory, "cpus-per-task": own.cpus},
            "signal": f"B:USR1@{own.signal_s}",
        }
        lines = [f"#SBATCH --{name}={value}" for name, value in options.items() if value]
        lines += ["#SBATCH --requeue", "#SBATCH --open-mode=append", *map(_sbatch_line, own.lines)]
        return SCRIPT.format(
            lines="\n".join(lines),
            runs=shlex.quote(f"{folder / 'runs.txt'}"),
            setup="\n".join(own.setup),
            root=shlex.quote(f"{ROOT}"),
            command=shlex.join(self._command),
            handed_back=HANDED_BACK,
        )

    def words(self, jobs: Collection[str]) -> dict[str, Word]:
        """Slurm's word about jobs by handle; a job without news is left out.

        From squeue; those that it does not list, from sacct, at the next call.
        """
        missing, self._missing = self._missing & set(jobs), set()
        if missing:
            return self._accounted(missing)
        user = ["--user", getpass.getuser()]
        listed = _states(_ask(["squeue", "-h", "-r", "-t", "all", "-o", "%i|%T", *user]))
        self._missing = set(jobs) - listed.keys()
        return {job: listed[job] for job in jobs if job in listed}

    def _accounted(self, jobs: set[str]) -> dict[str, Word]:
        arrays = sorted({job.partition("_")[0] for job in jobs})
        try:
            text = _ask(["sacct", "-n", "-P", "-X", "-o", "JobID,State", "-j", ",".join(arrays)])
        except EngineError as error:
            if "accounting storage is disabled" not in str(error):
                raise
            text = ""
        known = _states(text)
        return {job: known.get(job) or self._forgotten(job) for job in jobs}

    def _forgotten(self, job: str) -> Word:
        """Slurm keeps no trace of a job of an array that was canceled before it began."""
        return "gone" if self._output(job) else "cancelled"

    def _output(self, job: str) -> list[Path]:
        return list(self._folder.glob(f"*/{job}.out"))

    def cancel(self, job: str) -> None:
        """With scancel, which ends a waiting job at once and a running one by SIGTERM."""
        _ask(["scancel", job])

    def log(self, job: str) -> str:
        """The job's own output, which is empty unless it ended before its run's log began."""
        paths = self._output(job)
        return paths[0].read_text(encoding="utf-8", errors="replace") if paths else ""


def _states(text: str) -> dict[str, Word]:
    """Words by job from lines JOB|STATE; sacct adds to a state who canceled it."""
    pairs = [line.split("|") for line in text.splitlines() if "|" in line]
    return {job: WORDS.get(state.split()[0].rstrip("+"), "failed") for job, state in pairs}


def _sbatch_line(line: str) -> str:
    if not line.startswith("#SBATCH --") or "\n" in line:
        raise ConfigError(f"engines.yaml: lines: '{line}' must be a line such as #SBATCH --nice=9.")
    return line


def _ask(command: list[str], seconds: float = ASK_S) -> str:
    """What a command of Slurm prints; EngineError if it fails or takes longer."""
    if shutil.which(command[0]) is None:
        raise EngineError(MISSING)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"Slurm did not answer {command[0]} in {seconds:g} s.") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise EngineError(f"Slurm refused {command[0]}: {said or done.returncode}")
    return done.stdout
