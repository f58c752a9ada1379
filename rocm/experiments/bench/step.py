"""Whole updates timed in turn, one row for each variant, with the error of its gradient.

What is timed is `rocm.training.update.update`, as training calls it. Useful FLOPs are those of
`plain`, which computes everything once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

import torch
from torch import Tensor

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.experiments.bench import timing
from rocm.experiments.bench.counter import Counter, Counts
from rocm.experiments.bench.random_model import Size, random_setup
from rocm.experiments.bench.timing import Report, Row
from rocm.experiments.bench.variants import NAIVE, PLAIN, Variant, settings_of
from rocm.models.compiled_blocks import networks_in
from rocm.models.consistency import resolve_device
from rocm.models.pipelines import DTYPES
from rocm.training.setup import Setup, set_up
from rocm.training.update import update

FIGURES = (
    *("ms", "min", "max", "pictures/s", "x plain", "x naive", "weights MiB", "peak MiB"),
    *("TFLOP/s", "share", "floors", "gradient error", "cosine", "first s"),
)
ADAPTER_DEVIATION = 0.02  # an untrained adapter has B = 0, where A's gradient vanishes


@dataclass(frozen=True)
class Work:
    """The work of all variants."""

    base: RunConfig  # settings that they share
    size: Size | None  # of networks with random weights; None for the model of the settings
    num_rounds: int  # timed updates of each variant

    @property
    def device(self) -> torch.device:
        """Where it is done."""
        return resolve_device(self.base.device)

    @cached_property
    def rate(self) -> float:
        """FLOP/s of the device's matrix products in the work's precision, as first measured."""
        return timing.matmul_rate(self.device, DTYPES[self.base.precision])

    @property
    def facts(self) -> dict[str, Any]:
        """What holds for all rows of a report."""
        facts = timing.environment(self.device)
        return facts | {"matmul TFLOP/s": self.rate / 1e12, "rounds": self.num_rounds}


@dataclass
class Arm:
    """A variant ready to be timed."""

    setup: Setup
    weights_bytes: int  # of all networks
    change: Callable[[int], object] | None = None  # another update than training's
    first_s: float = 0.0  # its first update, compilation included
    # Of the first update, (P,), float32, on the CPU; empty unless it is training's.
    gradient: Tensor = field(default_factory=lambda: torch.empty(0))
    counts: Counts | None = None  # of a later update; None if not counted
    peak_bytes: int = 0  # largest memory allocated in a timed update; on CUDA only
    step: int = 0  # number of its last update

    def advance(self) -> None:
        """Do the next update."""
        self.step += 1
        if self.change:
            self.change(self.step)
        else:
            update(self.setup, self.setup.rewards.mixture(), self.step)


def bench_steps(
    work: Work, variants: Sequence[Variant], ref_grads: Sequence[str], batches: Sequence[int]
) -> Report:
    """Time updates of every variant, for each `ref_grad` and each batch size.

    `plain` is among the variants; a peer's update adds a column of how much faster each row is.
    """
    facts, rows = work.facts, []
    for ref_grad, batch in product(ref_grads, batches):
        rows += _rows(work, variants, ref_grad, batch)
    size = work.size.name if work.size else work.base.model
    facts |= {"algorithm": work.base.algorithm, "precision": work.base.precision, "size": size}
    facts |= {"num_inference_steps": work.base.num_inference_steps}
    return Report("One update", rows, facts)


def make_arm(work: Work, config: RunConfig) -> Arm:
    """A variant before its first update, with the same nonzero adapter for all."""
    size = work.size
    setup = random_setup(config, size, work.device) if size else set_up(config)
    parameters = setup.learner.parameters
    count = sum(parameter.numel() for parameter in parameters)
    moves = torch.randn(count, generator=torch.Generator().manual_seed(0)) * ADAPTER_DEVIATION
    with torch.no_grad():
        sizes = [parameter.numel() for parameter in parameters]
        for parameter, move in zip(parameters, moves.split(sizes), strict=True):
            parameter.add_(move.view_as(parameter).to(parameter.device))
    return Arm(setup, weights_bytes(setup))


def weights_bytes(setup: Setup) -> int:
    """Bytes of all weights that a run holds: U-Net, autoencoder, text encoders, rewards."""
    holders = [*setup.model.pipeline.components.values(), *setup.rewards.by_name.values()]
    storages = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes()
        for holder in holders
        for network in networks_in(holder)
        for tensor in network.state_dict(keep_vars=True).values()
    }
    return sum(storages.values())


def _rows(work: Work, variants: Sequence[Variant], ref_grad: str, batch: int) -> list[Row]:
    """The rows of one `ref_grad` and batch size.

    A variant that cannot run has no figures and a note; without `plain` none has figures.
    """
    arms, notes = _arms(work, variants, ref_grad, batch)
    figures = _figures(work, variants, arms) if PLAIN.name in arms else {}
    unknown: Row = dict.fromkeys([*FIGURES, *_peers(variants).values()])
    return [
        {
            **{"variant": name, "ref_grad": ref_grad, "batch": batch},
            **figures.get(name, unknown),
            **{"note": notes.get(name, "")},
        }
        for name in (variant.name for variant in variants)
    ]


def _arms(
    work: Work, variants: Sequence[Variant], ref_grad: str, batch: int
) -> tuple[dict[str, Arm], dict[str, str]]:
    """The variants after their first update, by name; and why the others failed."""
    arms, notes = {}, {}
    for variant in variants:
        config = settings_of(variant, work.base, ref_grad, batch)
        try:
            arms[variant.name] = _started(work, variant, config)
        except torch.OutOfMemoryError:
            notes[variant.name] = "The memory does not hold it."
        except ConfigError as error:
            if variant is PLAIN or variant.start:
                raise
            notes[variant.name] = str(error)
    return arms, notes


def _started(work: Work, variant: Variant, config: RunConfig) -> Arm:
    """A variant after its first update; a failed one leaves nothing in the memory."""
    arm = make_arm(work, config)
    if variant.start:
        arm.change = variant.start(arm.setup)
    return _first(arm, variant.name)


def _figures(work: Work, variants: Sequence[Variant], arms: dict[str, Arm]) -> dict[str, Row]:
    """The figures of every arm, by name."""
    plain = arms[PLAIN.name]
    measures = {variant.name: variant.measure for variant in variants}
    truth = _true_gradient(work, plain)
    for name, arm in arms.items():
        is_compiled = arm.setup.config.compile_blocks  # whose operations cannot be seen
        is_on_cpu = plain.setup.model.device.type == "cpu"
        if (is_on_cpu and not is_compiled) or name in measures.values():
            with Counter() as counter:
                arm.advance()
            arm.counts = counter.counts
    calls = {name: _watched(arm, arm.setup.model.device) for name, arm in arms.items()}
    spent = timing.interleaved(calls, plain.setup.model.device, work.num_rounds)
    useful = {name: arm.counts.flops for name, arm in arms.items() if arm.counts}
    return {
        name: _timed(spent, name, plain.setup.config.batch_size)
        | _memory(arm)
        | timing.rates(useful.get(measures[name], 0), spent[name], work.rate)
        | _errors(arm.gradient, truth)
        | {"first s": arm.first_s}
        | {
            column: timing.speed_up(spent[peer], spent[name]) if peer in spent else None
            for peer, column in _peers(variants).items()
        }
        for name, arm in arms.items()
    }


def _true_gradient(work: Work, plain: Arm) -> Tensor:
    """The first update's gradient in float32; empty if the memory cannot hold that."""
    if work.base.precision == "fp32":
        return plain.gradient
    # Recomputed, which changes no value: fp32 takes twice the memory.
    exact = replace(work, base=work.base.model_copy(update={"precision": "fp32"}))
    config = plain.setup.config
    settings = settings_of(NAIVE, exact.base, config.ref_grad, config.batch_size)
    try:
        return _first(make_arm(exact, settings), NAIVE.name).gradient
    except torch.OutOfMemoryError:  # everything else has run by now, and can be timed
        return torch.empty(0)


def _peers(variants: Sequence[Variant]) -> dict[str, str]:
    """Columns that compare every row with a peer's update, by its name."""
    return {variant.name: f"x {variant.name}" for variant in variants if variant.start}


def _first(arm: Arm, name: str) -> Arm:
    """Do the first update, and keep its time and gradient."""
    parameters, device = arm.setup.learner.parameters, arm.setup.model.device
    before = [parameter.detach().clone() for parameter in parameters]
    # With its memory: an update that is recorded here takes no more of it later.
    arm.first_s = timing.milliseconds(_watched(arm, device), device) / 1000
    if arm.change is None:
        gradients = [p.grad.detach() for p in parameters if p.grad is not None]
        arm.gradient = torch.cat([gradient.float().flatten().cpu() for gradient in gradients])
    elif all(torch.equal(*pair) for pair in zip(before, parameters, strict=True)):
        raise ConfigError(
            f"{name} leaves the adapter as it is, so that its time says nothing. Give another "
            "version, and for a policy gradient two pictures or more."
        )
    return arm


def _watched(arm: Arm, device: torch.device) -> Callable[[], None]:
    """The arm's next update; on CUDA its peak memory is kept, without what other arms hold."""
    if device.type != "cuda":
        return arm.advance

    def call() -> None:
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        arm.advance()
        peak = torch.cuda.max_memory_allocated(device) - held
        arm.peak_bytes = max(arm.peak_bytes, peak)

    return call


def _timed(spent: dict[str, list[float]], name: str, batch: int) -> Row:
    naive = spent.get(NAIVE.name)
    return {
        **timing.summary(spent[name], batch),
        "x plain": timing.speed_up(spent[PLAIN.name], spent[name]),
        "x naive": timing.speed_up(naive, spent[name]) if naive else None,
    }


def _memory(arm: Arm) -> Row:
    """Peak with the weights, in MiB; on CUDA as allocated, on the CPU as counted."""
    extra = arm.peak_bytes or (arm.counts.peak_bytes if arm.counts else None)
    return {
        "weights MiB": arm.weights_bytes / 2**20,
        "peak MiB": None if extra is None else (arm.weights_bytes + extra) / 2**20,
    }


def _errors(gradient: Tensor, truth: Tensor) -> Row:
    """Error of a gradient; None without both, or if the truth is 0 (a policy on one picture)."""
    if not (gradient.numel() and truth.any()):
        return {"gradient error": None, "cosine": None}
    error = ((gradient - truth).norm() / truth.norm()).item()
    cosine = torch.nn.functional.cosine_similarity(gradient, truth, dim=0, eps=1e-30).item()
    return {"gradient error": error, "cosine": cosine}
