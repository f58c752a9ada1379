"""Estimates of a run's time and memory, from earlier runs.

The unit is one network pass over one picture, back-propagated through; docs/settings.md, "Time and
memory", counts those of every algorithm. Time and activations are taken as proportional to them;
memory has a part besides that does not grow (libraries, weights).
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import median

from rocm.config import RunConfig
from rocm.errors import MissingFile, RocmError
from rocm.models.files import find_model
from rocm.runs.run_dir import RunDir

NUM_EXAMINED = 20
LIBRARIES_MB = 1120.0  # of a trainer on the CPU, rewards included; measured as the rates below
FORWARD_SHARE = 0.4  # of a pass without backward: docs/settings.md, "Time and memory"
CALL_PICTURES = 1.5  # what a call of the embedded model's networks costs besides its pictures
EMBEDDED_MODEL = "assets/tiny-lcm"


@dataclass(frozen=True)
class Estimate:
    """Expected time from Start to the end and largest memory of a trainer; None if unknown."""

    seconds: float | None
    memory_mb: float | None
    basis: str


@dataclass(frozen=True)
class Rate:
    """The cost of work on one model.

    Seconds of one pass over one picture in an update, backward included (`train_s`, without what a
    call costs besides) and in an evaluation (`draw_s`); `start_s` until step 0's evaluation; memory
    that one pass over one picture keeps until backward, and memory that does not grow with the
    batch.
    """

    train_s: float
    draw_s: float
    start_s: float
    pass_mb: float
    fixed_mb: float


# Measured on two CPU cores with other work on them: docs/settings.md, "Time and memory".
EMBEDDED = Rate(train_s=0.0155, draw_s=0.012, start_s=9.0, pass_mb=7.4, fixed_mb=LIBRARIES_MB + 18)


def passes(config: RunConfig) -> float:
    """Network passes per picture of an update, the decoding counted as one."""
    num = config.num_inference_steps
    if config.method.is_backprop:
        num_kept_of_reference = num - 1 if _has_reference_graph(config) else 0
        return kept_passes(config) + FORWARD_SHARE * (num - num_kept_of_reference)
    has_reference = config.has_penalty or config.method.needs_reference
    return FORWARD_SHARE * (num * (2 if has_reference else 1) + 1) + num * config.inner_epochs


def kept_passes(config: RunConfig) -> float:
    """Those of `passes` whose activations are kept until backward."""
    num = config.num_inference_steps
    if not config.method.is_backprop:
        return num
    is_repeated = config.ref_grad == "detach" and config.has_penalty
    first_order = num + 1 + num * is_repeated + (num - 1) * _has_reference_graph(config)
    return first_order + (num - 1 if config.method.estimates_blind else 0)


def _has_reference_graph(config: RunConfig) -> bool:
    return config.has_penalty and config.ref_grad == "exact"


def _update_passes(config: RunConfig) -> float:
    """Passes over pictures and batches, which the time of an update is proportional to."""
    besides = CALL_PICTURES if config.model == EMBEDDED_MODEL else 0.0
    return passes(config) * config.gradient_accumulation * (config.batch_size + besides)


def estimate(config: RunConfig, runs: list[RunDir]) -> Estimate:
    """Time and memory of a run, from earlier `runs` of this machine; None where not known."""
    newest_first = sorted(runs, key=lambda run: run.path.stat().st_mtime, reverse=True)
    for run in newest_first[:NUM_EXAMINED]:
        rate = _rate_of(run, config)
        if rate is not None:
            words = f"from {run.path.name}, a run of this model on this machine"
            return _estimate(config, rate, words)
    if config.model == EMBEDDED_MODEL and config.device != "cuda":
        return _estimate(config, EMBEDDED, "from another machine with two CPU cores")
    return Estimate(None, None, "No run of this model on this machine yet.")


def _estimate(config: RunConfig, rate: Rate, words: str) -> Estimate:
    update_s = _update_passes(config) * rate.train_s
    drawn = config.num_eval_prompts * (config.num_inference_steps + 1)
    evaluations = 1 + -(-config.num_steps // config.eval_every)
    if config.is_judge_steering:
        evaluations *= 3  # at each, a look at the adapter and at an earlier one
    seconds = rate.start_s + config.num_steps * update_s + evaluations * drawn * rate.draw_s
    memory_mb = rate.fixed_mb + rate.pass_mb * config.batch_size * kept_passes(config)
    return Estimate(seconds, memory_mb, f"Estimated {words}.")


def _rate_of(run: RunDir, config: RunConfig) -> Rate | None:
    """The rate of a run; None if its model is not that of `config`, or it is too short."""
    metrics = run.path / "metrics.jsonl"
    try:
        stat = metrics.stat()
        settings = _settings_of(run.path, (run.path / "config.yaml").stat().st_mtime_ns)
        if (settings.model, settings.device) != (config.model, config.device):
            return None
        return _measured(run.path, stat.st_size, stat.st_ino)
    except (FileNotFoundError, RocmError):
        return None


@lru_cache(maxsize=256)
def _settings_of(path: Path, changed: int) -> RunConfig:
    return RunDir(path).config()


@lru_cache(maxsize=64)
def _measured(path: Path, size: int, file: int) -> Rate | None:
    run = RunDir(path)
    config, rows = run.config(), run.metrics()
    updates = [row for row in rows if row.get("images_per_s")]
    started = [event["time"] for event in run.events() if event["kind"] == "started"]
    if len(updates) < 3 or not started or rows[0]["step"] != 0:
        return None
    pictures = config.batch_size * config.gradient_accumulation
    update_s = median(pictures / row["images_per_s"] for row in updates)
    drawn = config.num_eval_prompts * (config.num_inference_steps + 1)
    born = run.trainer_born()
    on_card = str(run.manifest().get("device", "")).startswith("cuda")
    fixed_mb = _weights_mb(config.model) + (0 if on_card else LIBRARIES_MB)
    used_mb = max(row["memory_mb"] for row in updates)
    return Rate(
        train_s=update_s / _update_passes(config),
        draw_s=(rows[0]["time"] - started[0]) / drawn,
        # Of a run that was resumed the first trainer is forgotten.
        start_s=started[-1] - born if born and born < started[-1] else EMBEDDED.start_s,
        pass_mb=max(used_mb - fixed_mb, 0.0) / (config.batch_size * kept_passes(config)),
        fixed_mb=min(fixed_mb, used_mb),
    )


@lru_cache(maxsize=16)
def _weights_mb(model: str) -> float:
    """Size of a model's weights on the disk, in MB; 0 if they are not there any more."""
    try:
        files = find_model(model)
    except MissingFile:
        return 0.0
    folders = [folder for folder in (files.base, files.part) if folder]
    weights = [file for folder in folders for file in folder.rglob("*.safetensors")]
    return sum(file.stat().st_size for file in weights) / 1e6
