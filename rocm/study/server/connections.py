"""Bounds on open connections, in all and per address, on waiting for requests, and on the log.

Beyond a bound the connection that has waited longest is closed, so that connections which send
nothing shut nobody out.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from rocm.study.server.limits import visitor

LOOKS_PER_PATIENCE = 4
NOISY = ("asyncio", "uvicorn.error", "rocm.study.server.refusal")


@dataclass(frozen=True)
class Bounds:
    """Most connections, in all and of an address, and seconds in which a request must arrive.

    The address of a proxy stands for all its visitors; that proxy must bound each of them itself.
    """

    in_all: int = 500  # below the 1,024 files that a process may usually open
    per_address: int = 100
    patience_s: float = 20


class Guarded(H11Protocol):
    """A connection that is closed when its request does not arrive, or when there are too many."""

    bounds: ClassVar[Bounds]
    known: ClassVar[dict["Guarded", str]]  # addresses of open connections, the oldest first

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, and close the longest waiting one where there are too many."""
        super().connection_made(transport)
        self._seen: Any = None
        self._unsent = 0
        self._since = self.loop.time()
        address = visitor(self.client[0] if self.client else "")
        self.known[self] = address
        self._timer = self.loop.call_later(self._pause_s, self._look)
        same = [one for one, other in self.known.items() if other == address]
        if len(same) > self.bounds.per_address:
            _close_longest_waiting(same)
        elif len(self.known) > self.bounds.in_all:
            _close_longest_waiting(self.known)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, *arguments: Any) -> None:
        """Forget a connection that another protocol takes over."""
        self._forget()
        super().handle_websocket_upgrade(*arguments)

    @property
    def is_waiting(self) -> bool:
        """Whether the visitor's request, or the rest of its body, has yet to arrive."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    @property
    def _pause_s(self) -> float:
        return self.bounds.patience_s / LOOKS_PER_PATIENCE

    def _look(self) -> None:
        """Close the connection if it has waited, or if nothing was read of an answer, too long."""
        now, unsent = self.loop.time(), self.transport.get_write_buffer_size()
        is_stuck = 0 < unsent == self._unsent
        if self.cycle is not self._seen or not (self.is_waiting or is_stuck):
            self._since = now
        self._seen, self._unsent = self.cycle, unsent
        if now - self._since >= self.bounds.patience_s:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(self._pause_s, self._look)

    def _forget(self) -> None:
        self._timer.cancel()
        self.known.pop(self, None)


def _close_longest_waiting(among: Iterable[Guarded]) -> None:
    """Close the oldest connection that waits, or else the newest."""
    *_, newest = among
    chosen = next((connection for connection in among if connection.is_waiting), newest)
    chosen._forget()
    chosen.transport.abort()


def guarded(bounds: Bounds) -> type[Guarded]:
    """The protocol of one server."""
    return type("Connection", (Guarded,), {"bounds": bounds, "known": {}})


class Bounded(logging.Filter):
    """Lets through some records a minute, and then says how many it left out."""

    def __init__(self, most: int = 20, clock: Callable[[], float] = time.monotonic):
        """Let `most` records a minute through; `clock` gives seconds."""
        super().__init__()
        self._most, self._clock = most, clock
        self._began, self._num, self._left_out = clock(), 0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        if self._clock() - self._began >= 60:
            self._began, self._num = self._clock(), 0
        self._num += 1
        if self._num > self._most:
            self._left_out += 1
            return False
        if self._left_out:
            record.msg = f"{record.getMessage()} ({self._left_out} lines before were left out)"
            record.args, self._left_out = (), 0
        return True


def bound_logs() -> None:
    """Keep visitors from filling the log."""
    for name in NOISY:
        logging.getLogger(name).addFilter(Bounded())
