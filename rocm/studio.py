"""The composition root: every service over one home folder. Nothing here imports torch."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rocm.config import RunConfig
from rocm.config.saved import Presets
from rocm.errors import RocmError, RunError
from rocm.evaluation.store import Comparisons
from rocm.experiments.advise.pilot import (
    STARTING,
    AdviceReport,
    Pilot,
    Size,
    newest_advice,
    pilot_settings,
)
from rocm.experiments.sweep import Sweeps
from rocm.generation.orders import Orders
from rocm.generation.queue import DrawingQueue
from rocm.generation.sliced import SlicedQueue
from rocm.runs.engines.dispatch import reachable
from rocm.runs.library import Runs
from rocm.runs.queue import TRAINER, detached
from rocm.runs.slices import Slices
from rocm.study.archive.preferences import with_votes
from rocm.study.report.loop import Loops
from rocm.study.report.results import Results
from rocm.study.service import Studies
from rocm.study.store.backup import Backup, NoBackup
from rocm.study.store.store import Store
from rocm.training.estimate import Estimate, estimate
from rocm.training.preflight import problems


class Studio:
    """The services of one home folder; a page takes those it uses.

    The methods join services that do not know each other: a new run may be trained on votes.
    """

    def __init__(
        self,
        home: Path,
        command: Sequence[str] = TRAINER,
        votes: Store | None = None,
        backup: Backup | NoBackup | None = None,
        slices: Slices | None = None,
    ):
        """Open `home`, which is made when something is first stored.

        `command` starts a trainer, `train ...` is appended; `votes` is the store of the studies,
        opened when needed if not given. With `slices` runs are trained and pictures drawn in them,
        and nothing in the background.
        """
        self.runs = Runs(home, command)
        self.home = self.runs.queue.home
        self.presets = Presets(self.home)
        self.sweeps = Sweeps(self.home, self.runs.queue)
        self.slices = slices
        log = self.home / "generated" / "worker.log"
        drawing = SlicedQueue(log, slices.draw) if slices else DrawingQueue(log)
        self.generation = Orders(self.home, drawing)
        self.comparisons = Comparisons(self.home, drawing)
        self.results = Results(self.home, votes)
        self.studies = Studies(self.home, votes, drawing, backup) if votes else None
        builds = self.studies.builds if self.studies else None
        self.loops = Loops(self.home, self.results, self.runs, builds)

    def estimate(self, config: RunConfig) -> Estimate:
        """Expected time and memory of a run, from earlier runs on this machine."""
        return estimate(config, self.runs.queue.all_runs())

    def places(self) -> list[str]:
        """Where a run can be trained now: `local`, and engines that answer."""
        return reachable(self.home)

    def problems(self, config: RunConfig, engine: str = "local") -> list[str]:
        """Reasons why these settings cannot work there, one sentence each."""
        try:
            config = self._with_votes(config)
        except RocmError as error:
            return [str(error)]
        is_here = engine == "local"
        return problems(config, self.estimate(config), self.runs.folder, is_here)

    def start_run(self, config: RunConfig, name: str = "run", engine: str = "local") -> str:
        """As `Runs.start`; `preferences=study:ID` becomes the table of that study's votes."""
        return self.runs.start(self._with_votes(config), name, engine)

    def start_sweep(
        self,
        preset: str,
        grid: dict[str, list[Any]],
        num_seeds: int = 1,
        overrides: dict[str, Any] | None = None,
        engine: str = "local",
    ) -> str:
        """Queue a run for every combination of settings and seed that is not done yet.

        `grid` has values by setting, such as {"beta": [0, 0.1]}; `overrides` replace the preset's
        settings in all runs. Equal arguments give the same id and continue that sweep. ConfigError
        for a bad value or too many combinations.
        """
        config = RunConfig.load(self.presets.source(preset), **(overrides or {}))
        sweeps = Sweeps(self.home, self.runs.queue, engine)
        return sweeps.start(preset, self._with_votes(config), grid, num_seeds)

    def pilot(self, preset: str, config: RunConfig) -> Pilot:
        """The comparison of all divergences with these settings of a preset."""
        shared = pilot_settings(self.presets.source(preset), self._shared(preset, config))
        return Pilot(self.sweeps, preset, shared, Size())

    def start_pilot(self, preset: str, config: RunConfig, engine: str = "local") -> None:
        """Begin or continue a pilot in a process of its own; `advice` says how far it is."""
        known = self.advice()
        if known and known.is_at_work:
            raise RunError(
                "A pilot is at work. Wait for it, or stop one of its runs, which ends it."
            )
        self.pilot(preset, config).note(STARTING)
        words = [sys.executable, "-m", "rocm", "advise", preset, "--yes"]
        words.append(f"--engine={engine}")
        for name, value in self._shared(preset, config).items():
            words.append(f"--{name.replace('_', '-')}={value}")
        with open(self.home / "advice" / "log.txt", "ab") as log:
            self._piloting = detached(words, log, ROCM_HOME=str(self.home))

    def advice(self) -> AdviceReport | None:
        """The pilot that moved last; None before the first."""
        return newest_advice(self.home)

    def _shared(self, preset: str, config: RunConfig) -> dict[str, Any]:
        """What a pilot takes from settings besides their preset: all but beta and divergence."""
        base, own = self.presets.load(preset), {"description", "beta", "divergence"}
        changed = config.model_dump(exclude=own)
        return {name: value for name, value in changed.items() if value != getattr(base, name)}

    def _with_votes(self, config: RunConfig) -> RunConfig:
        if not config.preferences.startswith("study:"):
            return config
        return with_votes(config, self.results.store, self.home)[0]
