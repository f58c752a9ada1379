"""The drawing process for real: pictures, cancel, deaths, idleness; one serves most tests."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from rocm.cli.main import main
from rocm.errors import DrawingError
from rocm.generation.picture import Picture
from rocm.generation.queue import DrawingQueue
from rocm.storage.paths import ROOT
from tests.generation.conftest import wait_until, write_adapter

APPLE = Picture("a glossy emoji of a red apple", 7)
APP = """
import sys, time
from pathlib import Path
from rocm.generation.picture import Picture
from rocm.generation.queue import DrawingQueue
queue = DrawingQueue(Path(sys.argv[1]) / "log.txt")
queue.submit([Picture("an apple", seed) for seed in range(256)], Path(sys.argv[1]))
while queue.process_id() is None:
    time.sleep(0.05)
print(queue.process_id(), flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    queue = DrawingQueue(tmp_path_factory.mktemp("worker") / "log.txt")
    yield queue
    queue.close()


def draw(queue, pictures, folder, rewards=()):
    results = queue.results(queue.submit(pictures, folder, rewards))
    return {index: (file, scores) for index, file, scores in results}


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture, int)


def is_gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_process_that_dies_twice_is_said_in_a_sentence_and_nothing_hangs(tmp_path):
    broken = [sys.executable, "-c", "import sys; sys.exit(3)"]
    queue = DrawingQueue(tmp_path / "log.txt", command=broken)
    with pytest.raises(DrawingError, match=r"crashed twice \(exit code 3\)"):
        draw(queue, [APPLE], tmp_path)
    with pytest.raises(DrawingError, match="Try again"):
        draw(queue, [APPLE], tmp_path)
    queue.close()


@pytest.mark.slow
def test_the_process_draws_what_the_command_line_draws(queue, tmp_path):
    adapter = str(write_adapter("assets/tiny-lcm", tmp_path / "adapter"))
    pictures = [
        replace(APPLE, seed=seed, adapter=folder, adapter_strength=0.7 if folder else 1.0)
        for folder in (adapter, "")
        for seed in (7, 8)
    ]
    found = draw(queue, pictures, tmp_path, ["tiny-judge"])
    for folder, first in ((adapter, 0), ("", 2)):
        out = str(tmp_path / f"c{first}")
        words = ["sample", APPLE.prompt, "--seed", "7", "--num", "2", "--out", out]
        words += ["--adapter", folder, "--adapter-strength", "0.7"] if folder else []
        assert main(words) == 0
        for offset in range(2):
            file, scores = found[first + offset]
            assert np.abs(pixels(file) - pixels(tmp_path / f"c{first}-{7 + offset}")).max() <= 1
            assert -1 <= scores["tiny-judge"] <= 1
            with Image.open(file) as read:
                assert read.text["seed"] == str(7 + offset)
                assert read.text["adapter"] == folder
    assert np.abs(pixels(found[0][0]) - pixels(found[2][0])).max() > 10


@pytest.mark.slow
def test_cancel_keeps_what_is_drawn_and_the_next_request_is_served(queue, tmp_path):
    number = queue.submit([replace(APPLE, seed=seed) for seed in range(256)], tmp_path / "many")
    assert next(queue.results(number))[1].is_file()
    queue.cancel(number)
    wait_until(lambda: queue.status(number).state == "cancelled")
    kept = len(list((tmp_path / "many").glob("*.png")))
    assert 0 < kept < 256
    assert len(draw(queue, [APPLE], tmp_path / "one")) == 1


@pytest.mark.slow
def test_a_killed_process_is_replaced_and_every_picture_is_drawn_once(queue, tmp_path):
    number = queue.submit([replace(APPLE, seed=seed) for seed in range(100)], tmp_path)
    results = queue.results(number)
    first = next(results)
    before = queue.process_id()
    os.kill(before, signal.SIGKILL)
    indices = [first[0], *(index for index, _, _ in results)]
    assert sorted(indices) == list(range(100))
    assert queue.status(number).state == "finished"
    assert queue.process_id() not in (None, before)


@pytest.mark.slow
def test_an_idle_process_ends(tmp_path):
    queue = DrawingQueue(tmp_path / "log.txt", idle_s=0.5)
    draw(queue, [APPLE], tmp_path)
    wait_until(lambda: queue.process_id() is None)
    assert queue._process.returncode == 0
    queue.close()


@pytest.mark.slow
def test_a_killed_app_leaves_no_drawing_process(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", APP, str(tmp_path)]
    app = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    pid = int(app.stdout.readline())
    wait_until(lambda: Path(tmp_path / "003.png").exists())
    app.kill()
    app.wait()
    wait_until(lambda: is_gone(pid))
    drawn = len(list(tmp_path.glob("*.png")))
    time.sleep(0.5)
    assert len(list(tmp_path.glob("*.png"))) == drawn < 256
