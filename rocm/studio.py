"""The only door for the page and the command line: plain data in, plain data out.

Training happens in a process of its own, which outlives the page; all truth is in the run's
directory. Nothing here imports torch.
"""

import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from threading import Thread
from typing import Any

from rocm.algorithms.intervals import Interval
from rocm.config import RunConfig
from rocm.config.saved import Preset, Presets, command_line
from rocm.errors import ConfigError, RocmError, RunError
from rocm.evaluation.service import CompareDesk
from rocm.experiments.sweep import SweepCell, SweepReport, Sweeps
from rocm.generation.orders import Desk
from rocm.rewards.names import EMBEDDED, usable_published
from rocm.runs.bin import Bin
from rocm.runs.export import export
from rocm.runs.feed import Bookmark
from rocm.runs.library import checked_note, checked_title, open_in_file_manager
from rocm.runs.queue import STOP_GRACE_S, TRAINER, Queue
from rocm.runs.reports import Reports, RunFeed, RunPace, RunReport
from rocm.runs.run_dir import RunDir, RunStatus
from rocm.study.archive.preferences import PREFIX, with_votes
from rocm.study.report.results import ResultsDesk
from rocm.study.store.store import Store
from rocm.training.estimate import Estimate, estimate
from rocm.training.preflight import problems

__all__ = [
    "Bookmark",
    "Estimate",
    "Interval",
    "Preset",
    "RunFeed",
    "RunPace",
    "RunReport",
    "Services",
    "SweepCell",
    "SweepReport",
]

WATCH_EVERY_S = 3.0


class Services:
    """All that the page and the command line may ask for, over one home folder."""

    def __init__(self, home: Path, command: Sequence[str] = TRAINER, votes: Store | None = None):
        """Serve the runs below `home`/runs.

        Args:
            home: folder of all that is stored; made when the first run starts.
            command: how a trainer is started; `train ...` is added.
            votes: store of the studies; the home's SQLite file if not given.
        """
        self._queue = Queue(home, command)
        self.home, self.runs = self._queue.home, self._queue.runs
        self.desk = Desk(self.home)
        self.compare = CompareDesk(self.home, self.desk.queue)
        self.results = ResultsDesk(self.home, votes)
        self._reports = Reports(self.runs)
        self._bin, self._presets = Bin(self.home), Presets(self.home)
        self._sweeps = Sweeps(self.home, self._queue)

    # Presets and settings

    def list_presets(self) -> list[Preset]:
        """Presets with their sentence: the shipped ones by group, then the user's by name."""
        return self._presets.all()

    def load_preset(self, name: str) -> RunConfig:
        """Settings of a preset; nothing but a preset's name is accepted."""
        return RunConfig.load(self._presets.source(name))

    def save_preset(self, name: str, config: RunConfig, description: str) -> Path:
        """Keep settings as a preset of the user's.

        Args:
            name: 1 to 60 letters, digits, - and _.
            config: the settings.
            description: one sentence.

        Returns:
            The file below ROCM_HOME/presets.

        Raises:
            ConfigError: the name is taken, or is no name.
        """
        return self._presets.save(name, config, description)

    def command_line(self, config: RunConfig, preset: str) -> str:
        """The command that trains so in a terminal: the preset, and the settings that differ."""
        return command_line(config, preset, self.load_preset(preset))

    def list_rewards(self) -> list[str]:
        """Names that `reward` may be made of, to choose from."""
        return [*EMBEDDED, *usable_published()]

    def estimate(self, config: RunConfig) -> Estimate:
        """What a run will take, as far as an earlier one on this machine tells."""
        return estimate(config, self._queue.all_runs())

    def problems(self, config: RunConfig) -> list[str]:
        """What cannot work with these settings, one sentence each; empty if nothing is known."""
        try:
            config = self._with_votes(config)
        except RocmError as error:
            return [str(error)]
        return problems(config, self.estimate(config))

    def _with_votes(self, config: RunConfig) -> RunConfig:
        """Settings whose `preferences=study:ID` is the table of that study's votes."""
        if not config.preferences.startswith(PREFIX):
            return config
        return with_votes(config, self.results.store, self.home)[0]

    # The queue

    def start_run(self, config: RunConfig, name: str = "run") -> str:
        """Put a new run at the end of the queue; it starts at once if nothing is at work.

        Args:
            config: its settings.
            name: first part of the run's id; the preset's name.

        Returns:
            The run's id: name, time and four random characters.
        """
        config = self._with_votes(config)
        stem = "".join(sign if sign.isalnum() and sign.isascii() else "-" for sign in name)
        moment = datetime.now().strftime("%Y%m%d-%H%M%S")
        run_id = f"{stem.strip('-')[:60] or 'run'}-{moment}-{token_hex(2)}"
        RunDir.create(self.runs / run_id, config, preset=name, place=time.time())
        self._queue.ensure_worker()
        return run_id

    def queue(self) -> list[str]:
        """Ids of the runs that wait, the next one first."""
        return [run.path.name for run in self._queue.waiting()]

    def move_run(self, run_id: str, position: int) -> None:
        """Put a waiting run elsewhere in the queue; 0 is next. RunError if it does not wait."""
        self._queue.move(self._reports.run(run_id), position)

    def cancel_run(self, run_id: str) -> None:
        """Take a waiting run out of the queue; it is kept, and `resume_run` queues it again."""
        self._queue.cancel(self._reports.run(run_id))

    def resume_run(self, run_id: str) -> None:
        """Queue a run again that was stopped, cancelled, interrupted or failed.

        It goes on from its last checkpoint; where there is none it begins anew.

        Args:
            run_id: the run.

        Raises:
            RunError: it waits or works already, or is finished.
        """
        run = self._reports.run(run_id)
        status = run.status()
        if not status.is_resumable:
            raise RunError(f"{run_id} is {status.state} and cannot be resumed: {_why_not(status)}.")
        self._queue.add(run)

    def continue_run(self, run_id: str, num_more: int) -> None:
        """Queue a finished or stopped run for more updates after those that it has done.

        The learning rate is constant, so the run goes on as if it had been longer from the start.

        Args:
            run_id: the run.
            num_more: updates after the last one done, at least 1.

        Raises:
            RunError: it waits or works, or has no checkpoint.
            ConfigError: too few or too many updates.
        """
        run = self._reports.run(run_id)
        status = run.status()
        if status.is_active or status.is_queued or not run.checkpoints():
            reason = "has no checkpoint yet" if status.state == "failed" else f"is {status.state}"
            raise RunError(f"{run_id} {reason}: only a run that has ended can be continued.")
        if num_more < 1:
            raise ConfigError(f"num_more={num_more} is not allowed: give at least 1 update.")
        run.extend(status.step + num_more)
        self._queue.add(run)

    def stop_run(self, run_id: str, grace_s: float = STOP_GRACE_S) -> None:
        """Ask a run to stop after this update, and see to it that it does; returns at once.

        Args:
            run_id: the run; one that waits is cancelled.
            grace_s: seconds until it is told by a signal, and again until it is killed.

        Raises:
            RunError: the run neither works nor waits.
        """
        run = self._reports.run(run_id)
        status = run.status()
        if status.is_queued:
            self._queue.cancel(run)
            return
        if not status.is_active:
            self._queue.settle()
            raise RunError(f"{run_id} is {status.state}: there is nothing to stop.")
        self._queue.stop(run, grace_s)

    def sample_now(self, run_id: str) -> None:
        """Ask a run at work to evaluate and draw its previews after this update."""
        self._at_work(run_id).request("sample_now")

    def save_now(self, run_id: str) -> None:
        """Ask a run at work for a checkpoint after this update."""
        self._at_work(run_id).request("save_now")

    def reconcile(self) -> None:
        """When the app starts: write down what became of runs, and let the queue go on."""
        self._queue.settle()
        self._queue.ensure_worker()

    def watch_queue(self) -> None:
        """Reconcile now and every few seconds from a thread, as long as this process lives."""
        self.reconcile()

        def watch() -> None:
            while True:
                time.sleep(WATCH_EVERY_S)
                self._look_after_queue()

        Thread(target=watch, name="queue watch", daemon=True).start()

    def _look_after_queue(self) -> None:
        try:
            self._queue.ensure_worker()
        except (RocmError, OSError) as error:  # a full disk, for instance: looked at again soon
            sys.stderr.write(f"The queue cannot go on: {error}\n")

    # Runs

    def list_runs(self) -> list[RunReport]:
        """All runs, newest first; a damaged one is listed with its fault."""
        places = {run.path: place for place, run in enumerate(self._queue.waiting())}
        reports = [
            self._reports.report(run, places.get(run.path)) for run in self._queue.all_runs()
        ]
        return sorted(reports, key=lambda report: report.created, reverse=True)

    def run_status(self, run_id: str) -> RunReport:
        """The run's state now."""
        run = self._reports.run(run_id)
        waiting = self.queue()
        return self._reports.report(run, waiting.index(run_id) if run_id in waiting else None)

    def run_config(self, run_id: str) -> RunConfig:
        """The run's settings."""
        return self._reports.run(run_id).config()

    def clone_config(self, run_id: str) -> RunConfig:
        """The run's settings, to start another one from."""
        return self.run_config(run_id)

    def run_pace(self, run_id: str) -> RunPace:
        """Warnings, speed and time left of a run."""
        return self._reports.pace(self._reports.run(run_id))

    def run_feed(self, run_id: str, after: Bookmark) -> RunFeed:
        """What a chart that has the rows up to a bookmark lacks; `Bookmark()` asks for all."""
        return self._reports.feed(self._reports.run(run_id), after)

    def run_rows(self, run_id: str) -> list[dict[str, Any]]:
        """All rows of metrics so far, one per update (docs/metrics.md)."""
        return self._reports.run(run_id).metrics()

    def sample_steps(self, run_id: str) -> list[int]:
        """Steps of which there are previews, oldest first."""
        return self._reports.run(run_id).sample_steps()

    def run_pictures(self, run_id: str, step: int) -> list[dict[str, Any]]:
        """Previews of one step: dictionaries with `path`, `prompt`, `seed`, `scores`."""
        return self._reports.run(run_id).pictures(step)

    def run_version(self, run_id: str) -> str:
        """A text that changes when anything that a page shows of the run has changed."""
        return self._reports.version(self._reports.run(run_id))

    def run_log(self, run_id: str, num_lines: int = 30) -> str:
        """The last lines that the trainer printed."""
        return self._reports.run(run_id).log_tail(num_lines)

    def rename_run(self, run_id: str, title: str) -> None:
        """Give a run a title of at most 120 characters; an empty one takes it away."""
        self._reports.run(run_id).describe(title=checked_title(title))

    def annotate_run(self, run_id: str, note: str) -> None:
        """Write a note of at most 10,000 characters to a run; an empty one takes it away."""
        self._reports.run(run_id).describe(note=checked_note(note))

    def delete_run(self, run_id: str) -> None:
        """Move a run to the bin; RunError while it works or waits."""
        run = self._reports.run(run_id)
        with self._queue.locked():
            self._bin.put(run)

    def list_bin(self) -> list[RunReport]:
        """Deleted runs, last deleted first."""
        return [self._reports.report(run) for run in self._bin.runs()]

    def restore_run(self, run_id: str) -> None:
        """Move a deleted run back."""
        self._bin.take_out(run_id, self.runs)

    def empty_bin(self) -> int:
        """Delete for good what is in the bin; returns how many runs that were."""
        return self._bin.empty()

    def export_run(self, run_id: str, folder: Path) -> Path:
        """A zip in `folder` with all of a run but its checkpoints: settings, figures, adapter."""
        return export(self._reports.run(run_id), folder)

    def open_folder(self, run_id: str) -> None:
        """Show a run's folder in the file manager of the machine that the app runs on."""
        open_in_file_manager(self._reports.run(run_id).path)

    # Sweeps

    def start_sweep(
        self,
        preset: str,
        grid: dict[str, list[Any]],
        num_seeds: int = 1,
        overrides: dict[str, Any] | None = None,
    ) -> str:
        """Queue a run for every combination of settings and seed; what is done already is kept.

        Args:
            preset: name of the settings that all runs share.
            grid: values by setting, such as {"beta": [0, 0.1], "divergence": ["kl", "js"]}.
            num_seeds: runs of each combination, with seeds that follow each other.
            overrides: settings that replace the preset's in all runs.

        Returns:
            The sweep's id; the same arguments give the same id and go on with that sweep.

        Raises:
            ConfigError: a setting or value is not allowed, or there are too many combinations.
        """
        config = RunConfig.load(self._presets.source(preset), **(overrides or {}))
        return self._sweeps.start(preset, self._with_votes(config), grid, num_seeds)

    def list_sweeps(self) -> list[str]:
        """Ids of the sweeps, newest first."""
        return self._sweeps.ids()

    def sweep_report(self, sweep_id: str) -> SweepReport:
        """Results by combination, with intervals; the best one is marked."""
        return self._sweeps.report(sweep_id)

    def export_sweep(self, sweep_id: str) -> Path:
        """Write a sweep's results as report.csv and report.json; returns their folder."""
        return self._sweeps.write_report(sweep_id)

    def _at_work(self, run_id: str) -> RunDir:
        run = self._reports.run(run_id)
        status = run.status()
        if not status.is_active:
            raise RunError(f"{run_id} is {status.state}: only a run at work can be asked for that.")
        return run


def _why_not(status: RunStatus) -> str:
    if status.is_active:
        return "it is at work"
    if status.is_queued:
        return "it waits already"
    return "nothing is left to do; continue it for more updates"
