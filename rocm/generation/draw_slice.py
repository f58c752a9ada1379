"""The answers to a request of the drawing process's protocol; imports torch."""

import time
from collections.abc import Callable, Generator
from functools import lru_cache
from pathlib import Path
from typing import Any

from rocm.errors import RocmError
from rocm.generation.picture import Picture, picture_file, png_bytes
from rocm.generation.sampler import Sampler
from rocm.generation.sliced import DRAWING_S, PAUSED
from rocm.storage.files import write_atomic

Answers = Generator[dict[str, Any], None, None]


def answers(
    sampler: Sampler, request: dict[str, Any], is_cancelled: Callable[[], bool] = lambda: False
) -> Answers:
    """Draw a request; yields the scores of each picture, whose file is then whole, and the end."""
    indices = [int(index) for index in request["pictures"]]
    pictures = [Picture(**settings) for settings in request["pictures"].values()]  # checked
    try:
        for drawn in sampler.draw(pictures, request["rewards"]):
            if is_cancelled():
                yield {"end": "cancelled"}
                return
            content = png_bytes(drawn.image, pictures[drawn.index])
            write_atomic(picture_file(Path(request["folder"]), indices[drawn.index]), content)
            yield {"index": indices[drawn.index], "scores": drawn.scores}
    except RocmError as error:
        yield {"end": "failed", "error": str(error)}
    else:
        yield {"end": "finished"}


def draw_slice(request: dict[str, Any]) -> Answers:
    """As `answers`, for half of `DRAWING_S`; pictures that are left then wait for another slice.

    A process to which the GPU is lent again keeps its sampler.
    """
    began = time.monotonic()
    for answer in answers(_sampler(), request):
        yield answer
        if "end" not in answer and time.monotonic() - began > DRAWING_S / 2:
            yield {"end": PAUSED}
            return


@lru_cache(maxsize=1)
def _sampler() -> Sampler:
    return Sampler()
