"""The training loop: a generator of progress, one item per update.

All truth goes to the run directory; whoever iterates only watches. Stops within one update when
asked through the directory or when the iterator is closed.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rocm.config import RunConfig
from rocm.distributed import ALONE, Ranks
from rocm.errors import RocmError, TrainingError
from rocm.evaluation.metrics import Evaluation
from rocm.models.memory import is_memory_full
from rocm.rewards.base import Mixture, Scale
from rocm.rewards.names import audited
from rocm.rewards.preprocess import to_pil
from rocm.runs.lease import LeaseLost
from rocm.runs.run_dir import RunDir
from rocm.storage.files import replace_folder
from rocm.training.checkpoint import (
    load_checkpoint,
    publish_adapter,
    publish_scaled,
    save_checkpoint,
)
from rocm.training.manifest import describe, recall_start
from rocm.training.setup import EVALUATION_BATCH, Setup, set_up
from rocm.training.steering import begin, finish, steer
from rocm.training.update import update
from rocm.training.warnings import warnings

Spent = Callable[[], float]


@dataclass(frozen=True)
class Progress:
    """The measurements of one update (or step 0); `row` is its line in metrics.jsonl."""

    step: int
    num_steps: int
    row: dict[str, Any]


@dataclass
class _Session:
    """One process's work on a run: its parts, step 0's evaluation, and the warnings so far."""

    run: RunDir
    setup: Setup
    start: Evaluation
    mixture: Mixture
    step: int
    warned: set[str] = field(default_factory=set)


def train(
    run: RunDir, resume: bool = False, ranks: Ranks = ALONE, spent: Spent | None = None
) -> Iterator[Progress]:
    """Fine-tune as the run's config.yaml says; yields progress after step 0 and every update.

    `resume` continues from the newest checkpoint; rows after it are dropped. `ranks` are processes
    that share the work; this process leads, others `follow`. `spent` says how much of the run is
    over, in [0, 1], where that is not its share of `num_steps`. Raises `RocmError` with the reason
    and what to do; the run's state is then `failed`.
    """
    with run.acquire_lock():
        config = run.config()
        run.write_state("running", num_steps=config.num_steps)
        try:
            yield from _train(run, resume, ranks, spent)
        except LeaseLost:  # the run is another process's: not a word into it
            raise
        except Exception as error:
            sentence = _reason(error)
            run.take_control("stop")  # a launcher stops the others: no request to the next attempt
            run.append_event("failed", message=sentence)
            run.write_state("failed", error=sentence)
            if _is_memory_full(error):
                raise TrainingError(sentence) from error
            raise


def _is_memory_full(error: Exception) -> bool:
    return isinstance(error, RuntimeError) and is_memory_full(error)


def _reason(error: Exception) -> str:
    """Why a run has failed, in a sentence for its reader."""
    if isinstance(error, RocmError):
        return str(error)
    if _is_memory_full(error):
        return (
            "The memory is too small to load what the settings name, or to draw "
            f"{EVALUATION_BATCH} pictures at a time ({str(error).splitlines()[0]}) Close other "
            "programs, or take a smaller model or fewer rewards, and start again."
        )
    return f"{type(error).__name__}: {error}. log.txt has the details."


def follow(ranks: Ranks) -> None:
    """Follow the orders of the leading process until it ends, which is raised as `Parted`."""
    settings, measured, run = ranks.gather(None)[0]
    setup = _agreed(set_up(RunConfig.load(settings), measured, ranks, RunDir(run)))
    while True:
        order, details = ranks.gather(None)[0]
        ORDERS[order](setup, *details)


def _agreed(setup: Setup) -> Setup:
    """The setup, as sparing of memory as that of every other process."""
    economy = setup.execution.economy
    economy.join(setup.model, setup.ranks.gather(economy))
    return setup


def _load(setup: Setup, run: Path) -> int:
    return load_checkpoint(RunDir(run), setup.learner)


def _update(setup: Setup, scales: dict[str, Scale], step: int, share: float) -> dict[str, Any]:
    config = setup.config
    factor = 1 - (1 - config.lr_end_factor) * share
    setup.learner.set_learning_rate(config.learning_rate * factor)
    return update(setup, setup.rewards.mixture(scales), step)


ORDERS: dict[str, Callable[..., Any]] = {
    "begin": begin,
    "evaluate": Setup.evaluate,
    "finish": finish,
    "load": _load,
    "steer": steer,
    "update": _update,
}


def _together(setup: Setup, order: str, *details: Any) -> Any:
    """Let every process do the same; returns the result of this process."""
    setup.ranks.gather((order, details))
    return ORDERS[order](setup, *details)


def _train(run: RunDir, resume: bool, ranks: Ranks, spent: Spent | None) -> Iterator[Progress]:
    config = run.config()
    measured = list(recall_start(run).scores) if resume else ()
    ranks.gather((config.model_dump(), measured, run.path))
    setup = _agreed(set_up(config, measured, ranks, run))
    session, first = _resume(run, setup) if resume else _begin(run, setup)
    num_steps = setup.config.num_steps
    if first is not None:
        yield Progress(0, num_steps, first)
    is_over = False
    while session.step < num_steps:
        if is_over or run.take_control("stop"):
            return _end(session, "stopped")
        share = spent() if spent else session.step / num_steps
        row = _together(setup, "update", session.mixture.scales, session.step + 1, share)
        _check(session, row)
        session.step += 1
        sentences = setup.execution.economy.sentences
        for kind, message in sentences.items():
            run.append_event("warning", step=session.step, warning=kind, message=message)
        sentences.clear()
        is_warned = _after_update(session, row)
        is_over = is_warned and setup.config.stop_on_warning
        run.write_state("running", step=session.step)
        yield Progress(session.step, num_steps, row)
        if session.step < num_steps and run.take_control("hand_back"):  # after an update at least
            return _end(session, "submitted")
    _end(session, "finished")


def _begin(run: RunDir, setup: Setup) -> tuple[_Session, dict[str, Any]]:
    run.truncate_metrics(-1)  # of an attempt that was killed before its first checkpoint
    run.append_event("started", step=0)
    if setup.model.note:
        words = f"{run.config().model}: {setup.model.note}."
        run.append_event("warning", step=0, warning="model", message=words)
    start = _together(setup, "evaluate")
    _check_start(setup, start)
    run.write_manifest(describe(setup, start, run))
    session = _Session(run, setup, start, setup.rewards.mixture(start.scales()), step=0)
    if setup.learner.control is not None:
        _together(setup, "begin", session.mixture.combine(start.scores).std().item())
    row = {"step": 0, **_evaluation_row(session, start)}
    _save_samples(session, start)
    run.append_metrics(row)
    save_checkpoint(run, 0, setup.model, setup.learner)
    return session, row


def _resume(run: RunDir, setup: Setup) -> tuple[_Session, None]:
    step = _together(setup, "load", run.path)
    start = recall_start(run)
    run.truncate_metrics(step)
    run.append_event("resumed", step=step)
    return _Session(run, setup, start, setup.rewards.mixture(start.scales()), step), None


def _after_update(session: _Session, row: dict[str, Any]) -> bool:
    """Evaluate, record and save if due; returns whether there was a new warning."""
    config, run, step = session.setup.config, session.run, session.step
    is_asked = run.take_control("sample_now")
    is_last = step == config.num_steps
    is_due = step % config.eval_every == 0 or is_last
    is_evaluated = is_asked or is_due
    strength = _steer(session, is_due, is_last)
    new = _evaluate(session, row, strength) if is_evaluated else set()
    # Before the checkpoint: a run killed in between drops the row and does this update again.
    run.append_metrics(row)
    if run.take_control("save_now") or is_evaluated or step % config.checkpoint_every == 0:
        save_checkpoint(run, step, session.setup.model, session.setup.learner)
    return bool(new)


def _steer(session: _Session, is_due: bool, is_last: bool) -> float:
    """Let beta=auto decide if it is due; returns the strength to evaluate the adapter at."""
    control = session.setup.learner.control
    if control is None or not (is_due or control.budget.is_start_over):
        return 1.0
    order = "finish" if is_last else "steer"
    told = _together(session.setup, order, session.start.scales(), session.step)
    for kind, message in told.items():
        kind, more = ("strength", {}) if kind == "strength" else ("warning", {"warning": kind})
        session.run.append_event(kind, step=session.step, message=message, **more)
    return control.strength if is_last else 1.0


def _evaluate(session: _Session, row: dict[str, Any], strength: float) -> set[str]:
    """Add an evaluation to the update's row; returns the kinds of new warnings."""
    now = _together(session.setup, "evaluate", strength)
    measured = _evaluation_row(session, now)
    row.update(measured)
    _save_samples(session, now)
    gain = measured["eval/reward"] - _trained_reward(session, session.start)
    present = warnings(session.start, now, session.setup.config.judge, gain)
    new = set(present) - session.warned
    for kind in sorted(new):
        session.run.append_event("warning", step=session.step, warning=kind, message=present[kind])
    session.warned = set(present)
    return new


def _evaluation_row(session: _Session, now: Evaluation) -> dict[str, float]:
    row, config = {"eval/reward": _trained_reward(session, now)}, session.setup.config
    kinds = {config.judge: "heldout", audited(config): "audit"}
    for name in now.scores:
        row[f"{kinds.get(name, 'eval/reward')}/{name}"] = now.mean(name)
    return row | {f"eval/{name}": value for name, value in now.statistics.items()}


def _trained_reward(session: _Session, evaluation: Evaluation) -> float:
    return session.mixture.combine(evaluation.scores).mean().item()


def _save_samples(session: _Session, now: Evaluation) -> None:
    prompts, run = session.setup.data.prompts.evaluation, session.run
    records = []
    with replace_folder(run.samples_dir(session.step)) as folder:
        for index, image in enumerate(now.images[: session.setup.config.num_samples]):
            name = f"{index:03d}.webp"
            to_pil(image).save(folder / name, lossless=True)
            scores = {reward: values[index].item() for reward, values in now.scores.items()}
            records.append(
                {"file": name, "prompt": prompts[index], "seed": index, "scores": scores}
            )
        by_reward = {**now.scores, "reward": session.mixture.combine(now.scores)}
        lists = {reward: values.tolist() for reward, values in by_reward.items()}
        (folder / "scores.json").write_text(json.dumps(lists), encoding="utf-8")
        (folder / "manifest.json").write_text(json.dumps(records, indent=1), encoding="utf-8")
    run.append_event("sample", step=session.step)


def _end(session: _Session, state: Literal["stopped", "finished", "submitted"]) -> None:
    run, step = session.run, session.step
    if not run.checkpoint_dir(step).is_dir():
        save_checkpoint(run, step, session.setup.model, session.setup.learner)
    kept = step
    if session.warned and session.setup.config.stop_on_warning:
        kept = _best_step(run, session.setup.config.judge)
        publish_adapter(run, kept)
    control = session.setup.learner.control
    strength = control.strength if control and state == "finished" and kept == step else 1.0
    if strength != 1:
        publish_scaled(run, session.setup.model, strength)
    run.append_event(state, step=step, adapter_step=kept, strength=strength)
    run.write_state(state, step=step)


def _best_step(run: RunDir, judge: str) -> int:
    """The evaluated step whose pictures the judge liked best; without a judge, step 0."""
    rows = [row for row in run.metrics() if f"heldout/{judge}" in row]
    return max(rows, key=lambda row: row[f"heldout/{judge}"])["step"] if rows else 0


def _check_start(setup: Setup, start: Evaluation) -> None:
    """Refuse a model or reward that gives no number before anything is trained."""
    broken = [name for name, values in start.scores.items() if not values.isfinite().all()]
    if broken:
        is_short = setup.config.precision != "fp32"
        raise TrainingError(
            f"The base model's pictures have scores that are not finite: {', '.join(broken)}. "
            f"A file of model={setup.config.model} or of that reward is damaged"
            f"{', or the number format is too short; set precision=fp32' * is_short}. "
            "Download it again, or give another one."
        )


def _check(session: _Session, row: dict[str, Any]) -> None:
    """Refuse a loss or gradient that is not finite, before the update can harm a checkpoint.

    A gradient beyond the range of float16 is no fault: the update was left out, and the next's
    loss is multiplied by less, until even 1 is too much.
    """
    scaler = session.setup.learner.scaler
    for name in ("loss", "grad_norm"):
        is_scaled = name == "grad_norm" and scaler.is_enabled() and scaler.get_scale() >= 1
        if not (math.isfinite(row[name]) or is_scaled):
            kept = session.run.checkpoints()[-1].name
            raise TrainingError(
                f"The {name} is not finite in update {row['step']}. The adapter of {kept} is kept. "
                "Lower learning_rate, raise beta, or set precision=fp32, and start again."
            )
