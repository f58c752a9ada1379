"""How long the page takes: from `python app.py` to a usable page, a reload, and a poll.

    python -m scripts.page_times --rounds 3

Chromium opens the real app over a home of 50 runs, five of them with 1,000 updates and drawn on top
of each other while one grows. Usable: the charts are drawn and Start can be pressed.
"""

import argparse
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from rocm.config import RunConfig
from rocm.runs.feed import Bookmark
from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT
from rocm.studio import Studio
from rocm.ui.access import Access
from rocm.ui.train.page import Seen, changed

NUM_RUNS = 50
NUM_DRAWN = 5
NUM_UPDATES = 1000
NUM_POLLS = 30
USABLE = """() => document.querySelector('#reward_chart .main-svg')
    && document.querySelector('#start:not([disabled])')"""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def make_runs(studio: Studio) -> list[RunDir]:
    """Finished runs of a home; the first five are long."""
    runs = []
    for number in range(NUM_RUNS):
        run = RunDir.create(studio.runs.folder / f"run-{number:03d}", RunConfig(), "tiny-rocm-kl")
        for step in range(NUM_UPDATES if number < NUM_DRAWN else 20):
            run.append_metrics(row(step))
        run.write_state("finished", step=NUM_UPDATES)
        runs.append(run)
    return runs


def row(step: int) -> dict[str, float]:
    """A line of metrics as a run writes it, with an evaluation every 20 updates."""
    value = math.sin(step / 50)
    values = {"step": step, "reward": value, "divergence": value**2, "seconds": 1.0, "lr": 1e-3}
    values |= {f"divergence/step_{k}": value**2 / 4 for k in range(4)}
    if step % 20 == 0:
        values |= {"eval/reward": value, "heldout/tiny-judge": 0.8, "eval/diversity": 0.4}
    return values


def poll_times(studio: Studio, runs: list[RunDir]) -> list[float]:
    """Seconds of the server's processor in each poll and the rows that follow, one run growing."""
    shown = tuple(run.path.name for run in runs[:NUM_DRAWN])
    seen, marks = Seen(), {name: Bookmark() for name in shown}
    for name in shown:  # what is there already travels once, in pages
        while (page := studio.runs.feed(name, marks[name]).page).has_more:
            marks[name] = page.bookmark
        marks[name] = page.bookmark
    times = []
    for number in range(NUM_POLLS):
        runs[0].append_metrics(row(NUM_UPDATES + number))
        began = time.process_time()
        _, seen = changed(studio.runs, Access(is_local=True, may_train=True), shown, seen)
        marks[shown[0]] = studio.runs.feed(shown[0], marks[shown[0]]).page.bookmark
        times.append(time.process_time() - began)
    return times


@contextmanager
def app_process(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The app over a home, and its address; it may not answer yet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "ROCM_HOME": str(home), "PORT": str(port)}
    app = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment)
    try:
        yield app, f"http://127.0.0.1:{port}/"
    finally:
        app.terminate()
        app.wait()


def chromium(play: Playwright) -> Browser:
    """Chromium of this machine, or that of ROCM_CHROMIUM."""
    path = os.environ.get("ROCM_CHROMIUM") or shutil.which("chromium")
    return play.chromium.launch(executable_path=path, args=FLAGS)


def page_times(home: Path) -> tuple[float, float]:
    """Seconds from starting the app to a usable page, and of a reload."""
    began = time.monotonic()
    with app_process(home) as (_, address), sync_playwright() as play:
        page = chromium(play).new_page()
        open_when_up(page, address)
        first = time.monotonic() - began
        began = time.monotonic()
        page.reload()
        page.wait_for_function(USABLE)
        return first, time.monotonic() - began


def open_when_up(page: Page, address: str) -> None:
    """Open the page as soon as the server answers."""
    host, port = address.split("/")[2].split(":")
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
            break
        except OSError:
            time.sleep(0.05)
    page.goto(address)
    page.wait_for_function(USABLE, timeout=120_000)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Path(folder))
        runs = make_runs(studio)
        polls = poll_times(studio, runs)
        times = [page_times(Path(folder)) for _ in range(rounds)]
    starts, reloads = zip(*times, strict=True)
    figures = {
        "start_s": [round(value, 2) for value in starts],
        "reload_s": [round(value, 2) for value in reloads],
        "poll_ms": {
            "median": round(1000 * median(polls), 1),
            "longest": round(1000 * max(polls), 1),
        },
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
