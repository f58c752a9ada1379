"""A pilot in a home: its runs are sweeps over the queue, one for each round.

A round's sweep is found by its settings, so the same pilot continues where it was and repeats no
finished run. `advice/ID/` holds progress.txt, hypotheses.json, advice.json, verdict.md and a lock
that the pilot's process holds.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from rocm.config import RunConfig
from rocm.config.objective import AUTO, DIVERGENCES
from rocm.errors import ConfigError, RocmError, RunError
from rocm.experiments.advise.verdict import KL, Arm, Round, Verdict, pilot
from rocm.experiments.sweep import SweepCell, Sweeps
from rocm.prompts.split import prompts_of
from rocm.runs.run_dir import RunDir
from rocm.storage.files import is_locked, make_folder, read_record, write_atomic
from rocm.storage.numbers import duration
from rocm.training.estimate import estimate

STARTING, START_S = "Starting", 60.0
NUM_STEPS, EMBEDDED_BUDGET = 40, 40.0
NUM_SEEDS, NUM_FRESH_SEEDS, NUM_FRESH_PROMPTS = 3, 4, 40
HEADS = ("divergence", "seeds", "judge minus KL's", "interval", "p", "KL, nats")
Wait = Callable[[Sweeps, str, str], None]
"""Returns when no run of a sweep waits or trains; the last argument says what it is for."""


@dataclass(frozen=True)
class Size:
    """Seeds of the screening and of the confirmation, and prompts of the confirmation."""

    seeds: int = NUM_SEEDS
    fresh_seeds: int = NUM_FRESH_SEEDS
    fresh_prompts: int = NUM_FRESH_PROMPTS


def pilot_settings(source: str | Path, given: dict[str, Any]) -> RunConfig:
    """The settings that all runs share: the preset's and the `given`, with a budget for the KL."""
    for name in ("beta", "divergence"):
        if name in given:
            raise ConfigError(f"A pilot varies the divergence at beta=auto. Leave {name} out.")
    config = RunConfig.load(source, **{"num_steps": NUM_STEPS, **given, "beta": AUTO})
    budget = config.kl_budget
    if not budget and config.model != RunConfig().model:
        raise ConfigError(
            "A pilot needs kl_budget, the joint KL in nats at which all divergences are compared. "
            "Set it, such as the kl_nats at which an earlier run of this model ended."
        )
    ends: dict[str, Any] = dict.fromkeys(("eval_every", "checkpoint_every"), config.num_steps)
    ends |= {"kl_budget": budget or EMBEDDED_BUDGET, "stop_on_warning": False}
    config = RunConfig.load(config.model_dump(), **ends)
    if not config.judge:
        raise ConfigError("A pilot compares divergences by the judge. Set judge.")
    return config


class Pilot:
    """One pilot; the same settings and size are the same pilot."""

    def __init__(self, sweeps: Sweeps, preset: str, config: RunConfig, size: Size):
        """Read the prompts; ConfigError if too few are left for the confirmation."""
        if size.seeds < 2 or size.fresh_seeds < 2:
            raise ConfigError(
                f"{size.seeds} seeds and {size.fresh_seeds} fresh ones: give at least 2 of each."
            )
        self._sweeps, self._preset, self._config, self._size = sweeps, preset, config, size
        self._places = self._fresh_places()
        self._run_ids: dict[str, tuple[str, str]] = {}
        plan = json.dumps([config.model_dump(), asdict(size)], sort_keys=True)
        digest = hashlib.sha256(plan.encode()).hexdigest()[:8]
        self.folder = sweeps.queue.home / "advice" / f"{preset[:60]}-{digest}"

    @property
    def divergences(self) -> list[str]:
        """Those that the settings allow."""
        is_joint = self._config.reduction == "joint"
        return [name for name in DIVERGENCES if name != "chi_square" or not is_joint]

    def cost(self) -> str:
        """Number and time of the runs, in words."""
        asked: list[Round] = []

        def ask(stage: Round) -> dict[str, Arm]:
            asked.append(stage)
            return {name: Arm(np.zeros((2, 1)), 1.0) for name in stage.divergences}

        pilot(self.divergences, self._size.seeds, self._size.fresh_seeds, ask)
        num, num_fresh = sum(len(stage.divergences) for stage in asked), 2 * self._size.fresh_seeds
        config = self._config
        words = f"{num} runs of {config.num_steps} updates at a KL of {config.kl_budget:g} nats"
        words += f", and {num_fresh} more if a divergence is ahead of KL"
        runs = self._sweeps.queue.all_runs()
        each, fresh = (
            estimate(self._settings(Round((), (0,), is_fresh)), runs).seconds
            for is_fresh in (False, True)
        )
        if each is None or fresh is None:
            return f"{words}; no run of this model on this machine yet, so the time is unknown."
        most = num * each + num_fresh * fresh
        return f"{words}: about {duration(num * each)} of training, or {duration(most)} with these."

    def note(self, words: str) -> None:
        """Say what the pilot is doing, in progress.txt."""
        make_folder(self.folder)
        write_atomic(self.folder / "progress.txt", words)

    def carry_out(self, hypotheses: Callable[[], list[str]], wait: Wait) -> Verdict:
        """Train what is not trained yet, and write the verdict; RunError if it is at work."""
        make_folder(self.folder)
        try:
            lock = FileLock(self.folder / "lock", thread_local=False).acquire(timeout=1)
        except Timeout as error:
            raise RunError(
                f"The pilot {self.folder.name} is at work in another process."
            ) from error
        with lock:
            try:
                verdict = self._carried_out(hypotheses, wait)
            except RocmError as error:
                self.note(str(error))
                raise
            self.note(verdict.sentence)
        return verdict

    def _carried_out(self, hypotheses: Callable[[], list[str]], wait: Wait) -> Verdict:
        path, size = self.folder / "hypotheses.json", self._size
        if not path.exists():
            self.note("Drawing pictures of the base model")
            write_atomic(path, json.dumps(hypotheses()))
        measure = lambda asked: self._measure(asked, wait)  # noqa: E731
        verdict = pilot(self.divergences, size.seeds, size.fresh_seeds, measure)
        self._write(verdict, json.loads(path.read_text(encoding="utf-8")))
        return verdict

    def _write(self, verdict: Verdict, hypotheses: list[str]) -> None:
        second = verdict.screened[0].divergence
        second = verdict.confirmed.divergence if verdict.confirmed else second
        record = {
            "preset": self._preset,
            "config": self._config.model_dump(),
            "hypotheses": hypotheses,
            **asdict(verdict),
            "arms": self._run_ids[second],
        }
        write_atomic(self.folder / "verdict.md", to_markdown(record))
        write_atomic(self.folder / "advice.json", json.dumps(record, indent=1))

    def _settings(self, asked: Round) -> RunConfig:
        config = self._config
        more = self._size.fresh_prompts if asked.is_fresh else 0
        changed = {"seed": config.seed + asked.seeds[0]}
        changed |= {"num_eval_prompts": config.num_eval_prompts + more}
        return RunConfig.load(config.model_dump(), **changed)

    def _measure(self, asked: Round, wait: Wait) -> dict[str, Arm]:
        sweeps, grid = self._sweeps, {"divergence": list(asked.divergences)}
        sweep_id = sweeps.start(self._preset, self._settings(asked), grid, len(asked.seeds))
        screening = f"Screening, seed {asked.seeds[0] + 1} of {self._size.seeds}"
        confirmation = f"Confirmation of {asked.divergences[-1]}"
        wait(sweeps, sweep_id, confirmation if asked.is_fresh else screening)
        cells = {cell.settings["divergence"]: cell for cell in sweeps.report(sweep_id).cells}
        for name, cell in cells.items():
            self._run_ids[name] = (cells[KL].run_ids[0], cell.run_ids[0])
        arms = {name: self._arm(cell, asked) for name, cell in cells.items()}
        nats, budget = arms[KL].nats, self._config.kl_budget
        if nats < budget / 2:
            raise RunError(
                f"With KL the runs ended at {nats:.3g} nats, far below kl_budget={budget:g}, so no "
                "divergence held them. Raise num_steps, or lower kl_budget."
            )
        return arms

    def _arm(self, cell: SweepCell, asked: Round) -> Arm:
        judge, columns, nats = self._config.judge, [], []
        for number, run_id in enumerate(cell.run_ids):
            run = RunDir(self._sweeps.queue.runs / run_id)
            status = run.status()
            if status.state != "finished":
                reason = f" {status.error}" if status.error else ""
                raise RunError(f"{run_id} is {status.state}.{reason} The same command continues.")
            base = run.manifest()["base_scores"][judge]
            scores = np.array(run.scores(status.step)[judge])
            scores = scores[self._places[number]] if asked.is_fresh else scores
            columns.append((scores - base["mean"]) / base["deviation"])
            rows = [row["kl_nats"] for row in run.metrics() if "kl_nats" in row]
            nats.append(fmean(rows[-max(1, len(rows) // 4) :]))
        return Arm(np.stack(columns, axis=1), fmean(nats))

    def _fresh_places(self) -> list[list[int]]:
        """Places of the fresh prompts in the evaluation with each fresh seed."""
        size = self._size
        num_seeds = size.seeds + size.fresh_seeds
        rounds = [Round((), (seed,), seed >= size.seeds) for seed in range(num_seeds)]
        evaluated = [prompts_of(self._settings(stage)).evaluation for stage in rounds]
        seen = {prompt for prompts in evaluated[: size.seeds] for prompt in prompts}
        places = [
            [place for place, prompt in enumerate(prompts) if prompt not in seen]
            for prompts in evaluated[size.seeds :]
        ]
        num = min(size.fresh_prompts, *map(len, places))
        if num < 2:
            raise ConfigError(
                f"prompts={self._config.prompts} leaves {num} prompts for the confirmation. Lower "
                "num_eval_prompts, or give more prompts."
            )
        return [row[:num] for row in places]


@dataclass(frozen=True)
class AdviceReport:
    """A pilot of a home: what it says it is doing, and once there is a verdict, its text.

    `arms` are the ids of two runs, with KL and with the best other divergence.
    """

    is_at_work: bool
    progress: str
    text: str
    arms: tuple[str, ...]


def newest_advice(home: Path) -> AdviceReport | None:
    """The pilot that moved last; None before the first."""
    changed = lambda path: path.stat().st_mtime  # noqa: E731
    newest = max((home / "advice").glob("*/progress.txt"), key=changed, default=None)
    if newest is None:
        return None
    folder, is_at_work = newest.parent, is_locked(newest.with_name("lock"))
    progress = newest.read_text(encoding="utf-8")
    is_starting = progress == STARTING and time.time() - changed(newest) < START_S
    record = read_record(folder / "advice.json", {})
    text = (folder / "verdict.md").read_text(encoding="utf-8") if record else ""
    arms = tuple(record["arms"]) if record else ()
    return AdviceReport(is_at_work or is_starting, progress, text, arms)


def to_markdown(record: dict[str, Any]) -> str:
    """The text of verdict.md, from the record of advice.json."""
    config = record["config"]
    lines = [
        f"## Which divergence for {record['preset']}",
        f"**{record['sentence']}**",
        f"Each run: {config['num_steps']} updates at a joint KL of {config['kl_budget']:g} nats. "
        f"Differences of {config['judge']} to KL are paired by prompt and seed, in its deviations "
        "over the base model's pictures. Intervals are two-way bootstrap intervals (prompts and "
        "seeds), which hold together at 95 % in the screening; p is adjusted by Holm.",
        "### Screening",
        _table(record["screened"]),
    ]
    if record["confirmed"]:
        lines += ["### Confirmation, fresh seeds and prompts", _table([record["confirmed"]])]
    lines += ["### Hypotheses from the base model, not tested", *record["hypotheses"]]
    return "\n\n".join(lines) + "\n"


def _table(differences: list[dict[str, Any]]) -> str:
    rows = [HEADS, ("---",) * len(HEADS), *map(_row, differences)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(difference: dict[str, Any]) -> tuple[str, ...]:
    is_known = difference["num_seeds"] > 1
    interval = f"{difference['low']:+.2f} to {difference['high']:+.2f}" if is_known else "dropped"
    nats = f"{difference['nats']:.3g} ({difference['kl_nats']:.3g} with KL)"
    figures = (f"{difference['mean']:+.2f}", interval, f"{difference['p_value']:.3g}", nats)
    return difference["divergence"], str(difference["num_seeds"]), *figures
