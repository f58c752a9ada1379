r"""One run in several processes, each with a share of the pictures that it trains on or draws.

A launcher (`accelerate launch`, `torchrun`) starts S processes and tells each its number by
environment variables. The pictures of an update are numbered as in one process; process r draws the
r-th of S equal shares, so prompts, noise and update are those of one process, up to the rounding of
sums. Gradients are averaged as one flat vector:

.. math:: g = \frac1S \sum_r g_r

Process 0 leads: it alone holds the run's directory, and says what the others do. Processes meet in
`gather` and `average_gradients` only, in the same order everywhere. One that ends says so in the
place of its next value, so that nobody waits for it; one whose memory is full does the same, and
all begin the update anew. Not given in the paper.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from statistics import fmean
from typing import Any

from rocm.config import RunConfig
from rocm.errors import ConfigError, RocmError, TrainingError

LAUNCHED = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
PATIENCE = timedelta(hours=1)
# How an update's measurements of all processes become one; others are averaged.
MERGED: dict[str, Callable[[list[float]], float]] = {
    **dict.fromkeys(("reward_queries", "unet_forward", "unet_backward", "images_per_s"), sum),
    **dict.fromkeys(("seconds", "memory_mb"), max),
}


class Parted(TrainingError):
    """Another process of the run has ended; says why, or nothing if its work was done."""


class OthersFull(Exception):
    """The memory of another process is full: all of them begin the update anew."""


@dataclass(frozen=True)
class _Full:
    """The message of a process whose memory is full, in place of its next value."""


@dataclass(frozen=True)
class Ranks:
    """Which of `size` processes this is; `rank` 0 leads. A run in one process has size 1."""

    rank: int = 0
    size: int = 1

    def gather(self, value: Any) -> list[Any]:
        """Exchange one value, tensors on the CPU, with every process; returns the values by rank.

        Raises `Parted` if a process has ended instead, `OthersFull` if the memory of one is full.
        """
        return [value] if self.size == 1 else self._exchange(value, None)

    def leave(self, sentence: str) -> None:
        """Tell the others, wherever they wait, that this process ends, and why."""
        if self.size > 1:
            with suppress(Parted):
                self._exchange(None, sentence)

    def tell_full(self) -> None:
        """Tell the others, wherever they wait, that the memory of this process is full."""
        if self.size > 1:
            with suppress(OthersFull):
                self._exchange(_Full(), None)

    def average_gradients(self, parameters: Sequence[Any]) -> None:
        """Replace the gradients of parameters, 0 where there are none, by the processes' means."""
        if self.size == 1:
            return
        import torch

        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([parameter.grad.flatten() for parameter in parameters])
        self.gather(None)  # all are here, with their memory: who failed before this has said so
        self._add_up(flat)
        flat /= self.size
        means = flat.split([parameter.numel() for parameter in parameters])
        for parameter, mean in zip(parameters, means, strict=True):
            parameter.grad.copy_(mean.view_as(parameter))

    def share(self, number: int) -> range:
        """Which of `number` things this process does; the shares differ by one at most."""
        return range(number * self.rank // self.size, number * (self.rank + 1) // self.size)

    def local(self, config: RunConfig) -> RunConfig:
        """The settings of one process: its equal share of an update, if any; else ConfigError."""
        if self.size == 1:
            return config
        pictures = config.batch_size * config.gradient_accumulation
        share, rest = divmod(pictures, self.size)
        if rest or config.num_eval_prompts < self.size:
            raise ConfigError(
                f"{self.size} processes cannot share an update of {pictures} pictures (batch_size="
                f"{config.batch_size}, gradient_accumulation={config.gradient_accumulation}) and "
                f"num_eval_prompts={config.num_eval_prompts} equally. Make the pictures a multiple "
                "of the processes, and the evaluation prompts no fewer."
            )
        batch = math.gcd(share, config.batch_size)
        sizes = {"batch_size": batch, "gradient_accumulation": share // batch}
        try:
            return RunConfig.load(config.model_dump(), **sizes)
        except ConfigError as error:
            raise ConfigError(f"Shared by {self.size} processes: {error}") from error

    def _exchange(self, value: Any, farewell: str | None) -> list[Any]:
        answers = self._all_gather((value, farewell))
        for _, word in answers:
            if word is not None:
                raise Parted(word)
        if any(isinstance(answer, _Full) for answer, _ in answers):
            raise OthersFull("The memory of another process is full.")
        return [answer for answer, _ in answers]

    def _all_gather(self, message: Any) -> list[Any]:
        from torch import distributed

        answers: list[Any] = [None] * self.size
        try:
            distributed.all_gather_object(answers, message)
        except RuntimeError as error:
            raise Parted(
                "Another process of the run has died without a message; its output may say why. "
                "Start the run again; --resume continues it."
            ) from error
        return answers

    def _add_up(self, flat: Any) -> None:
        from torch import distributed

        distributed.all_reduce(flat)


ALONE = Ranks()


def merged(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The measurements of an update from those of each process, as `MERGED` says."""
    return {name: MERGED.get(name, fmean)([row[name] for row in rows]) for name in rows[0]}


@contextmanager
def joined(environment: MutableMapping[str, str] = os.environ) -> Iterator[Ranks]:
    """Meet the processes that a launcher has started, if any, and part from them in good order.

    The launcher's variables are removed from `environment`, so that processes started from here are
    no part of the run. Raises `ConfigError` for fewer CUDA devices than processes or missing
    variables, `TrainingError` if no process answers, `Parted` if another failed.
    """
    size = num_started(environment)
    if size <= 1:
        yield ALONE
        return
    from torch import distributed

    rank, place = _number("RANK", environment), _number("LOCAL_RANK", environment)
    _meet(_backend(place), environment)
    for name in LAUNCHED:
        environment.pop(name)
    ranks = Ranks(rank, size)
    try:
        with parting(ranks):
            yield ranks
    finally:
        distributed.destroy_process_group()


def num_started(environment: Mapping[str, str] = os.environ) -> int:
    """Number of processes that a launcher has started, 1 without; ConfigError if not clear."""
    if "WORLD_SIZE" in environment:
        return _number("WORLD_SIZE", environment)
    # accelerate's launcher of single processes names a meeting point only if asked for several.
    if {"ACCELERATE_MIXED_PRECISION", "MASTER_PORT"} <= environment.keys():
        raise ConfigError(
            "accelerate was asked for several processes and has started this one by itself. Start "
            "them with --multi_gpu and without --cpu, with or without a GPU: accelerate launch "
            "--multi_gpu --num_processes 2 -m rocm ..."
        )
    return 1


def _number(name: str, environment: Mapping[str, str]) -> int:
    value = environment.get(name, "")
    if not value.isdecimal():
        raise ConfigError(
            f"WORLD_SIZE is set, as for several processes, but {name} is '{value}', not a number. "
            "Start them with accelerate launch or torchrun, or unset WORLD_SIZE to use one process."
        )
    return int(value)


def _meet(backend: str, environment: Mapping[str, str]) -> None:
    from torch import distributed

    try:
        distributed.init_process_group(backend, timeout=PATIENCE)
    except (distributed.DistError, ValueError) as error:
        place = ":".join(environment.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        raise TrainingError(
            f"The processes cannot meet at {place} ({str(error).splitlines()[0]}) Start all of "
            "them together, with another --main_process_port if that one is in use."
        ) from error


@contextmanager
def parting(ranks: Ranks) -> Iterator[None]:
    """Tell the others when this process ends, and end when they have; `Parted` if one failed."""
    try:
        yield
    except Parted as parted:
        if str(parted):
            raise
    except Exception as error:
        kind = "" if isinstance(error, RocmError) else f"{type(error).__name__}: "
        ranks.leave(f"Process {ranks.rank} of {ranks.size} has failed: {kind}{error}")
        raise
    else:
        ranks.leave("")


def _backend(place: int) -> str:
    """The transport: gloo, which notices a dead process; NCCL for gradients on CUDA."""
    import torch

    if not torch.cuda.is_available():
        return "gloo"
    if place >= torch.cuda.device_count():
        raise ConfigError(
            f"Process {place} of this machine has no CUDA device of its own: there are "
            f"{torch.cuda.device_count()}. Start as many processes, or hide the devices with "
            "CUDA_VISIBLE_DEVICES= to compute on the CPU."
        )
    torch.cuda.set_device(place)
    return "cpu:gloo,cuda:nccl"
