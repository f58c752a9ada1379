"""Drawing requests shared by several processes, as `accelerate launch` has started them.

Process 0 leads: it alone takes requests and writes pictures. Nothing is drawn before its results
are read, and a request cannot be canceled: this is for commands, not for the page.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rocm.distributed import Ranks
from rocm.generation.picture import Picture, check_pictures, picture_file, png_bytes
from rocm.generation.sampler import Sampler
from rocm.storage.files import make_folder, write_atomic


class SharedQueue:
    """Requests of the leading process; takes the place of a `DrawingQueue`."""

    def __init__(self, ranks: Ranks, sampler: Sampler) -> None:
        """Draw with `sampler` in every process; all others `follow`."""
        self._ranks, self._sampler = ranks, sampler
        self._requests: list[tuple[list[Picture], Path, tuple[str, ...]]] = []

    def submit(self, pictures: Sequence[Picture], folder: Path, rewards: Sequence[str] = ()) -> int:
        """As `DrawingQueue.submit`."""
        make_folder(folder)
        self._requests.append((check_pictures(pictures), folder, tuple(rewards)))
        return len(self._requests) - 1

    def status(self, number: int) -> None:
        """None: nothing is known of a request before its pictures come."""

    def cancel(self, number: int) -> None:
        """Nothing: a request waits for whoever asks for its results."""

    def results(self, number: int) -> Iterator[tuple[int, Path, dict[str, float]]]:
        """Draw a request and yield index, file and scores of each picture."""
        pictures, folder, rewards = self._requests[number]
        self._ranks.gather((pictures, rewards))
        for drawn in self._sampler.draw(pictures, rewards, self._ranks):
            path = picture_file(folder, drawn.index)
            write_atomic(path, png_bytes(drawn.image, pictures[drawn.index]))
            yield drawn.index, path, drawn.scores


def follow(ranks: Ranks, sampler: Sampler) -> None:
    """Draw for the leading process until it ends, which raises `Parted`.

    Raises RocmError for an error here or in another process.
    """
    while True:
        pictures, rewards = ranks.gather(None)[0]
        for _ in sampler.draw(pictures, rewards, ranks):
            pass
