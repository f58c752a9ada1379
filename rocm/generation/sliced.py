"""Pictures drawn with GPU time that a visitor lends, as on a ZeroGPU Space."""

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from threading import Timer
from typing import Any

from rocm.generation.queue import DrawingQueue, Job, State

ABANDONED_S = 120.0
DRAWING_S = 30  # for which the GPU is asked at a time
PAUSED = "paused"
Draw = Callable[[dict[str, Any]], Generator[dict[str, Any], None, None]]
NOT_LENT = "The GPU was not lent long enough to draw all pictures. Drawn ones are kept."
NOBODY_LENT = "The page that asked for these pictures was left before it lent the GPU. Ask again."


class SlicedQueue(DrawingQueue):
    """Requests that wait until the visitor who made them lends the GPU; no process of its own."""

    def __init__(self, log: Path, draw: Draw):
        """`draw` holds the GPU while it is iterated; it takes and yields the process's messages."""
        super().__init__(log)
        self._draw = draw

    def lend(self, number: int) -> bool:
        """Draw a request if it still waits; False if not.

        Called in the request of the visitor whose GPU time it takes.
        """
        with self._changed:
            job = self._jobs.get(number)
            if job is None or job not in self._waiting:
                return False
            self._waiting.remove(job)
            job.state = "drawing"
        state: State = "failed"
        error = NOT_LENT
        try:
            state, error = self._lent(job)
        finally:
            self._end(job, state, error)
        return True

    def _start_working(self) -> None:
        """Nothing works in the background; a request that nobody lends for is given up."""
        timer = Timer(ABANDONED_S, self._give_up, [self._waiting[-1]])
        timer.daemon = True
        timer.start()

    def _give_up(self, job: Job) -> None:
        with self._changed:
            if job not in self._waiting:
                return
            self._waiting.remove(job)
        self._end(job, "failed", NOBODY_LENT)

    def _lent(self, job: Job) -> tuple[State, str]:
        end: dict[str, Any] = {"end": PAUSED}
        while end["end"] == PAUSED and (order := self._order(job))["pictures"]:
            end = self._slice(job, order)
        return ("finished", "") if end["end"] == PAUSED else (end["end"], end.get("error", ""))

    def _slice(self, job: Job, order: dict[str, Any]) -> dict[str, Any]:
        """The last answer to an order."""
        with closing(self._draw(order)) as answers:
            for answer in answers:
                if "end" in answer:
                    return answer
                if job.is_cancelled:
                    return {"end": "cancelled"}
                self._note(job, answer)
        return {"end": "failed", "error": NOT_LENT}
