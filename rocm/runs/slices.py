"""Work in slices of a visitor's GPU time, as on a ZeroGPU Space: nothing trains in the background.

Each slice is a call of a function that holds the GPU, made in the visitor's own request. Between
slices a run is `stopped`, with a checkpoint, and so it stays when the visitor leaves.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from rocm.errors import RunError
from rocm.runs.run_dir import RunDir

PAUSED = "paused"
ABORTED = (
    "The slice was ended before its checkpoint, because it took longer than it was lent the GPU "
    "for. Resume continues from the last checkpoint."
)


@dataclass
class Slices:
    """Functions that hold the GPU for `seconds` at most: to train a run, and to draw pictures.

    `train` takes a run's folder and the seconds, and returns the state it leaves the run in;
    `draw` takes and yields messages of the drawing process.
    """

    train: Callable[[str, float], str]
    draw: Callable[[dict[str, Any]], Generator[dict[str, Any], None, None]]
    seconds: float
    _at_work: set[str] = field(default_factory=set)
    _stopping: set[str] = field(default_factory=set)

    def train_run(self, run: RunDir) -> Iterator[int]:
        """Train a run to its end, or until stopped; yields each slice's number before it begins.

        RunError if the run is being trained, or an update takes longer than a slice.
        """
        name = run.path.name
        if run.status().state == "finished":
            raise RunError(f"{name} has done all its updates. Start another run.")
        if name in self._at_work or run.status().is_active:
            raise RunError(f"{name} is being trained. Wait for it, or stop it first.")
        self._at_work.add(name)
        self._stopping.discard(name)
        run.mark_waiting()  # drops old requests
        run.mark_ended("stopped")
        try:
            yield from self._slices(run)
        finally:
            self._at_work.discard(name)
            if run.status().state == "interrupted":
                run.mark_ended("interrupted", ABORTED)

    def _slices(self, run: RunDir) -> Iterator[int]:
        state, number = PAUSED, 0
        while state == PAUSED and run.path.name not in self._stopping:
            number += 1
            before = run.status().step, len(run.checkpoints())
            yield number
            state = self.train(str(run.path), self.seconds)
            if state == PAUSED and (run.status().step, len(run.checkpoints())) == before:
                raise RunError(
                    f"One update takes longer than a slice of {self.seconds:.0f} seconds. Choose "
                    "a smaller batch, or continue elsewhere."
                )

    def stop(self, run: RunDir) -> None:
        """Stop a run after its update, or before its next slice."""
        self._stopping.add(run.path.name)
        if run.status().is_active:
            run.request("stop")
