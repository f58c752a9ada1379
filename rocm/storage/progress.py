"""How far work is that goes through things one by one, for whoever waits for it."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Tell = Callable[[int, int], None]  # told how many are done, and of how many
Item = TypeVar("Item")

_TELL: ContextVar[Tell | None] = ContextVar("tell", default=None)


@contextmanager
def told_to(tell: Tell) -> Iterator[None]:
    """Call `tell` for what this thread counts meanwhile."""
    before = _TELL.set(tell)
    try:
        yield
    finally:
        _TELL.reset(before)


def counted(items: Collection[Item]) -> Iterator[Item]:
    """The items, each of which counts as done when the next one is asked for."""
    for done, item in enumerate(items, 1):
        yield item
        tell(done, len(items))


def tell(done: int, total: int) -> None:
    """Tell whoever waits in this thread that `done` of `total` are done."""
    if now := _TELL.get():
        now(done, total)
