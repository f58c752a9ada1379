"""The drawing of a request while a GPU is lent; imports torch."""

from collections.abc import Generator
from functools import lru_cache
from pathlib import Path
from typing import Any

from rocm.errors import RocmError
from rocm.generation.picture import Picture, picture_file, png_bytes
from rocm.generation.sampler import Sampler
from rocm.storage.files import write_atomic


def draw_slice(order: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
    """Draw a request of the drawing process's protocol; yields that process's answers."""
    indices = [int(index) for index in order["pictures"]]
    pictures = [Picture(**settings) for settings in order["pictures"].values()]  # checked
    try:
        for drawn in _sampler().draw(pictures, order["rewards"]):
            content = png_bytes(drawn.image, pictures[drawn.index])
            write_atomic(picture_file(Path(order["folder"]), indices[drawn.index]), content)
            yield {"index": indices[drawn.index], "scores": drawn.scores}
    except RocmError as error:  # of another error only its type would reach the visitor
        yield {"end": "failed", "error": str(error)}
    else:
        yield {"end": "finished"}


@lru_cache(maxsize=1)
def _sampler() -> Sampler:
    """Kept by a process that is lent the GPU again."""
    return Sampler()
