"""Drawing requests that several processes share, as `accelerate launch` has started them.

Process 0 leads: it alone takes requests and writes pictures. Nothing is drawn before somebody waits
for it, and a request cannot be cancelled: this is for commands, not for the page.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rocm.distributed import Ranks
from rocm.generation.picture import Picture, check_pictures, picture_file, png_bytes
from rocm.generation.sampler import Sampler
from rocm.storage.files import make_folder, write_atomic


class SharedQueue:
    """Requests of the leading process, in the place of a `DrawingQueue`."""

    def __init__(self, ranks: Ranks, sampler: Sampler) -> None:
        """Draw with `sampler` in every process; all others `follow`."""
        self._ranks, self._sampler = ranks, sampler
        self._requests: list[tuple[list[Picture], Path, tuple[str, ...]]] = []

    def submit(self, pictures: Sequence[Picture], folder: Path, rewards: Sequence[str] = ()) -> int:
        """Ask for pictures; arguments, errors and the returned number as in `DrawingQueue`."""
        make_folder(folder)
        self._requests.append((check_pictures(pictures), folder, tuple(rewards)))
        return len(self._requests) - 1

    def status(self, number: int) -> None:
        """Nothing is known of a request before its pictures come."""

    def results(self, number: int) -> Iterator[tuple[int, Path, dict[str, float]]]:
        """Draw a request; its pictures one by one: index, file, scores.

        Args:
            number: of the request.

        Yields:
            Each picture once.

        Raises:
            RocmError: it cannot be drawn or written, or another process failed.
        """
        pictures, folder, rewards = self._requests[number]
        self._ranks.gather((pictures, rewards))
        for drawn in self._sampler.draw(pictures, rewards, self._ranks):
            path = picture_file(folder, drawn.index)
            write_atomic(path, png_bytes(drawn.image, pictures[drawn.index]))
            yield drawn.index, path, drawn.scores


def follow(ranks: Ranks, sampler: Sampler) -> None:
    """Draw what the leading process asks for until it ends, which is raised as `Parted`.

    Args:
        ranks: where this process is not the first.
        sampler: of this process.

    Raises:
        RocmError: what went wrong, here or in another process.
    """
    while True:
        pictures, rewards = ranks.gather(None)[0]
        for _ in sampler.draw(pictures, rewards, ranks):
            pass
