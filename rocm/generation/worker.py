"""The drawing process: `python -m rocm.generation.worker IDLE_SECONDS`, asked by lines of JSON.

    in    {"id", "pictures": {index: settings}, "rewards": [name], "folder"}    or    {"cancel": id}
    out   {"ready"}, {"id", "index", "scores"}, {"id", "end": "finished" | "cancelled" | "failed",
          "error"}

A picture is in its folder, whole, before its line is written. The process ends when its standard
input ends, which it does however the app dies, and after a time without work.
"""

import json
import os
import sys
from queue import Empty, Queue
from threading import Thread
from typing import Any, TextIO

import diffusers
import transformers

from rocm.generation.draw_slice import answers
from rocm.generation.sampler import Sampler


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
        _answer(sampler, request, cancelled, answered)


def _listen(requests: "Queue[dict[str, Any]]", cancelled: set[int]) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "cancel" in message:
            cancelled.add(message["cancel"])
        else:
            requests.put(message)
    os._exit(0)  # The app is gone; whatever the main thread is at, nobody waits for it.


def _answer(
    sampler: Sampler, request: dict[str, Any], cancelled: set[int], answered: TextIO
) -> None:
    number = request["id"]
    for answer in answers(sampler, request, lambda: number in cancelled):
        _say(answered, id=number, **answer)


def _say(answered: TextIO, **message: Any) -> None:
    try:
        answered.write(json.dumps(message) + "\n")
        answered.flush()
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main(float(sys.argv[1]))
