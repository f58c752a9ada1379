"""A drawing process without models: the real protocol, pictures of one color, scores by index.

A prompt `slow` stops after five pictures until the request is cancelled, `bad` fails after three.
"""

import json
import sys
from pathlib import Path
from queue import Queue
from threading import Event, Thread

from PIL import Image

from rocm.generation.picture import picture_file

requests: "Queue[dict]" = Queue()
cancelled = Event()


def listen() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "cancel" in message:
            cancelled.set()
        else:
            requests.put(message)
    requests.put({})


def say(**message) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def answer(request: dict) -> dict:
    for count, (index, picture) in enumerate(request["pictures"].items()):
        if picture["prompt"] == "bad" and count == 3:
            return {"end": "failed", "error": "The model is no model. Choose another."}
        if picture["prompt"] == "slow" and count == 5:
            cancelled.wait()
            cancelled.clear()
            return {"end": "cancelled"}
        color = (picture["seed"] * 40 % 256, len(picture["prompt"]) * 20 % 256, 90)
        Image.new("RGB", (32, 32), color).save(picture_file(Path(request["folder"]), int(index)))
        scores = {name: picture["seed"] + 0.5 for name in request["rewards"]}
        say(id=request["id"], index=int(index), scores=scores)
    return {"end": "finished"}


Thread(target=listen, daemon=True).start()
say(ready=1)
while request := requests.get():
    say(id=request["id"], **answer(request))
