"""Threads that stand for processes where only their messages count."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any

import torch

from rocm.config import RunConfig
from rocm.distributed import Ranks
from rocm.training.setup import Setup, set_up

PATIENCE_S = 120


class Table:
    """Where threads leave their messages for each other."""

    def __init__(self, size: int):
        self.messages: list[Any] = [None] * size
        self.barrier = Barrier(size, timeout=PATIENCE_S)


@dataclass(frozen=True)
class Threads(Ranks):
    table: Table | None = None

    def _all_gather(self, message: Any) -> list[Any]:
        self.table.messages[self.rank] = message
        self.table.barrier.wait()
        found = list(self.table.messages)
        self.table.barrier.wait()
        return found

    def _add_up(self, flat: torch.Tensor) -> None:
        flat.copy_(torch.stack(self._all_gather(flat.clone())).sum(0))


def pair() -> list[Threads]:
    table = Table(2)
    return [Threads(rank, 2, table) for rank in (0, 1)]


def set_up_pair(config: RunConfig) -> list[Setup]:
    return [set_up(config, (), ranks) for ranks in pair()]


def by_both(work: Callable[..., Any], setups: list[Setup], *arguments: Any) -> list[Any]:
    """What each process gets that does the same work with its setup."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda setup: work(setup, *arguments), setups))
