"""A stand-in of the package `spaces` on ZeroGPU that enforces its rules; no GPU is needed.

A function of `GPU` runs in a process that is forked for it, gets pickled arguments, gives pickled
results, and is killed after its `duration`. It must be called in a visitor's request, and takes
that visitor's seconds: those left are in the file STAND_IN_QUOTA, by the address `X-IP-Token`.
Each call is a line of STAND_IN_LOG: function, process, seconds, end. In the forked process alone
STAND_IN_GPU is set.
"""

import inspect
import json
import multiprocessing
import os
import pickle
import time
from functools import wraps
from pathlib import Path

import gradio as gr
from gradio.context import LocalContext

FORK = multiprocessing.get_context("fork")
IN_ALL_S = 120.0
TITLE = "ZeroGPU worker error"


def GPU(*, duration):
    """Decorates a function or a generator function that needs a GPU."""

    def decorated(task):
        @wraps(task)
        def iterate(*values):
            yield from _answers(task, values, duration)

        @wraps(task)
        def call(*values):
            (answer,) = _answers(task, values, duration)
            return answer

        return iterate if inspect.isgeneratorfunction(task) else call

    return decorated


def gradio_auto_wrap(task):
    """Gradio calls it with every handler on a Space."""
    return task


def _answers(task, values, duration):
    request = LocalContext.request.get(None)
    if request is None:
        raise RuntimeError("A GPU was asked for in the background, without a visitor's request.")
    visitor = request.headers.get("x-ip-token", "")
    _check_quota(visitor, duration)
    ours, theirs = FORK.Pipe()
    worker = FORK.Process(target=_work, args=(task, pickle.dumps(values), theirs), daemon=True)
    began = time.monotonic()
    worker.start()
    theirs.close()
    end = "left"
    try:
        while True:
            kind, content = _received(ours, began + duration - time.monotonic())
            if kind == "error":
                raise gr.Error(content, title=TITLE, print_exception=False)
            if kind == "end":
                end = "finished"
                return
            yield pickle.loads(content)
    except gr.Error as error:
        end = str(error)
        raise
    finally:
        worker.kill()
        worker.join()
        _spend(visitor, time.monotonic() - began)
        _log(task.__name__, worker.pid, time.monotonic() - began, end)


def _received(ours, seconds):
    try:
        if ours.poll(seconds):
            return ours.recv()
    except EOFError:
        pass
    return "error", "GPU task aborted"


def _work(task, values, theirs):
    os.environ["STAND_IN_GPU"] = "1"
    try:
        result = task(*pickle.loads(values))
        for one in result if inspect.isgenerator(result) else (result,):
            theirs.send(("answer", pickle.dumps(one)))
        theirs.send(("end", b""))
    except Exception as error:  # noqa: BLE001, as the package does
        theirs.send(("error", type(error).__name__))


def _check_quota(visitor, duration):
    left = _left().get(visitor, IN_ALL_S)
    if duration > left:
        _log("refused", 0, 0, visitor)
        words = (
            f"You have exceeded your ZeroGPU quota ({duration}s requested vs. {left:.0f}s left)."
        )
        raise gr.Error(words, title="ZeroGPU quota exceeded", print_exception=False)


def _left():
    file = Path(os.environ["STAND_IN_QUOTA"])
    return json.loads(file.read_text()) if file.exists() else {}


def _spend(visitor, seconds):
    left = _left()
    left[visitor] = left.get(visitor, IN_ALL_S) - seconds
    Path(os.environ["STAND_IN_QUOTA"]).write_text(json.dumps(left))


def _log(name, pid, seconds, end):
    with open(os.environ["STAND_IN_LOG"], "a") as log:
        log.write(json.dumps([name, pid, round(seconds, 1), end]) + "\n")
