"""The drawing process: `python -m rocm.generation.worker IDLE_SECONDS`, asked by lines of JSON.

    in    {"id", "pictures": {index: settings}, "rewards": [name], "folder"}    or    {"cancel": id}
    out   {"ready"}, {"id", "index", "scores"}, {"id", "end": "finished" | "cancelled" | "failed",
          "error"}

A picture is in its folder, whole, before its line is written. The process ends when its standard
input ends, which it does however the app dies, and after a time without work. `draw_slice` answers
the same requests, without an id, on a GPU that is lent.
"""

import json
import os
import sys
import time
from collections.abc import Collection, Generator
from functools import lru_cache
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, TextIO

import diffusers
import transformers

from rocm.errors import RocmError
from rocm.generation.picture import Picture, picture_file, png_bytes
from rocm.generation.sampler import Sampler
from rocm.generation.sliced import DRAWING_S, PAUSED
from rocm.storage.files import write_atomic

Answers = Generator[dict[str, Any], None, None]


def main(idle_s: float) -> None:
    """Answer requests until the app is gone, or none came for `idle_s` seconds."""
    answered = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    # What a library prints belongs into the log and not among the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()
    requests: Queue[dict[str, Any]] = Queue()
    cancelled: set[int] = set()
    Thread(target=_listen, args=(requests, cancelled), daemon=True).start()
    _say(answered, ready=os.getpid())
    sampler = Sampler()
    while True:
        try:
            request = requests.get(timeout=idle_s)
        except Empty:
            return
        for answer in answers(sampler, request, cancelled):
            _say(answered, id=request["id"], **answer)


def _listen(requests: "Queue[dict[str, Any]]", cancelled: set[int]) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "cancel" in message:
            cancelled.add(message["cancel"])
        else:
            requests.put(message)
    os._exit(0)  # The app is gone; whatever the main thread is at, nobody waits for it.


def _say(answered: TextIO, **message: Any) -> None:
    try:
        answered.write(json.dumps(message) + "\n")
        answered.flush()
    except BrokenPipeError:
        os._exit(0)


def answers(sampler: Sampler, request: dict[str, Any], cancelled: Collection[int] = ()) -> Answers:
    """Draw a request; yields the scores of each picture, whose file is then whole, and the end."""
    indices = [int(index) for index in request["pictures"]]
    pictures = [Picture(**settings) for settings in request["pictures"].values()]  # checked
    try:
        for drawn in sampler.draw(pictures, request["rewards"]):
            if request.get("id") in cancelled:
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


if __name__ == "__main__":
    main(float(sys.argv[1]))
