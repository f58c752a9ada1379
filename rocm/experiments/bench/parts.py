"""Cost of a training update, part by part, on the work that training really does."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import median

import psutil
import torch

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.models.memory import used_mb
from rocm.training.batch import draw_batch, make_problem
from rocm.training.setup import Setup, set_up
from rocm.training.update import batch_objective

PARTS = ("policy", "decode", "reward", "reference", "other forward", "backward", "optimizer")


@dataclass
class Stopwatch:
    """Milliseconds by part of one update, with the device's queue emptied at every reading.

    `peak_mb` is the largest memory in use at any reading; the end of the forward pass is one.
    """

    device: torch.device
    spent: dict[str, float] = field(default_factory=dict)
    peak_mb: float = 0.0

    def now(self) -> float:
        """Seconds, after all queued work is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.peak_mb = max(self.peak_mb, used_mb(self.device))
        return time.perf_counter()

    def timed(self, part: str, function: Callable) -> Callable:
        """The function, with its time added to `part`."""

        def call(*arguments: object) -> object:
            began = self.now()
            result = function(*arguments)
            self.spent[part] = self.spent.get(part, 0.0) + 1000 * (self.now() - began)
            return result

        return call


@dataclass(frozen=True)
class PartsBench:
    """Timings of one configuration."""

    config: RunConfig
    device: str
    rounds: list[dict[str, float]]  # milliseconds by part, one dictionary per timed update
    peak_mb: float  # on a CPU the largest resident set at the ends of the parts


def bench_parts(config: RunConfig, num_rounds: int) -> PartsBench:
    """Time updates after a first one that does not count; ConfigError unless they are ROCM's."""
    if not config.method.needs_gradient:
        raise ConfigError(
            f"algorithm={config.algorithm} cannot be timed part by part; only rocm can. "
            "Train it and read `seconds` in metrics.jsonl, or choose another preset."
        )
    setup = set_up(config)
    setup = replace(setup, config=setup.execution.economy.settings(config))
    device = setup.model.device
    watches = [_timed_update(setup, step) for step in range(num_rounds + 1)]
    rounds = [watch.spent for watch in watches[1:]]
    peak_mb = max(watch.peak_mb for watch in watches)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return PartsBench(config, name, rounds, peak_mb)


def parts_table(bench: PartsBench) -> str:
    """The timings as text: median, minimum and maximum of each part."""
    config = bench.config
    lines = [
        f"{bench.device}, {torch.get_num_threads()} threads, {psutil.cpu_count()} cores; "
        f"N={config.num_inference_steps}, batch {config.batch_size}, beta {config.beta}, "
        f"ref_grad {config.ref_grad}, {config.precision}, {len(bench.rounds)} updates",
        f"{'part':14} {'median ms':>10} {'min':>8} {'max':>8}",
    ]
    totals = [sum(times.values()) for times in bench.rounds]
    columns = {part: [times[part] for times in bench.rounds] for part in PARTS} | {"update": totals}
    lines += [
        f"{part:14} {median(values):10.1f} {min(values):8.1f} {max(values):8.1f}"
        for part, values in columns.items()
    ]
    return "\n".join([*lines, f"peak memory: {bench.peak_mb:.0f} MB"])


def _timed_update(setup: Setup, step: int) -> Stopwatch:
    watch, learner = Stopwatch(setup.model.device), setup.learner
    mixture = setup.rewards.mixture()
    batch = draw_batch(setup, step * setup.config.batch_size)
    problem = make_problem(setup, mixture, batch, {})
    problem = replace(
        problem,
        policy=watch.timed("policy", problem.policy),
        reference=watch.timed("reference", problem.reference),
        decode=watch.timed("decode", problem.decode),
        reward=watch.timed("reward", problem.reward),
    )
    learner.optimizer.zero_grad(set_to_none=True)
    began = watch.now()
    objective = batch_objective(setup, problem, batch, step)
    forward = 1000 * (watch.now() - began)
    watch.spent["other forward"] = forward - sum(watch.spent.values())
    watch.timed("backward", learner.scaler.scale(objective.loss).backward)()
    watch.timed("optimizer", learner.descend)(setup.config.max_grad_norm)
    return watch
