"""How long a rater waits: from the click on Submit until both next pictures are decoded.

    python -m scripts.study_latency --seconds 600 --idle-seconds 120

Twenty scripted raters think 2 to 4 s a pair and vote on `python app.py --mode study`, first with
nothing beside, then while tiny-rocm-kl trains on one thread in a process of its own. Two are real
Chromium pages, timed in the page; the others speak HTTP, load ahead what the page would, and decode
with Pillow. All share this machine with the server, which makes the figures larger, not smaller.
"""

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import httpx
import numpy as np
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright
from sqlalchemy import select

from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT
from rocm.study.design import lifecycle
from rocm.study.store.pictures import Pictures, encoded
from rocm.study.store.store import Store
from rocm.study.store.tables import image
from tests.study.small import QUESTIONS, STUDY, fill

THINKS_S = (2.0, 4.0)
DESIGN = {"votes_per_pair": 60, "main_per_rater": 50}
NUM_PAIRS = 200
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
MEASURED = """() => new Promise((done) => {
  const count = document.getElementById('count').textContent;
  const began = performance.now();
  document.getElementById('submit').click();
  const look = () => {
    if (!document.getElementById('done').hidden) done(null);
    else if (document.getElementById('count').textContent !== count
        && document.getElementById('pair').classList.contains('seen')) {
      done(performance.now() - began);
    } else requestAnimationFrame(look);
  };
  look();
})"""


@dataclass
class Phase:
    """What was measured while one thing went on beside.

    Attributes:
        ends: monotonic time.
        waits: seconds of each click, by kind of rater.
        faults: what went wrong.
    """

    ends: float
    waits: dict[str, list[float]] = field(default_factory=lambda: {"chromium": [], "http": []})
    faults: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether raters are to stop."""
        return time.monotonic() >= self.ends

    def figures(self) -> dict[str, Any]:
        """Percentiles in milliseconds, of all raters and by kind."""
        kinds = {**self.waits, "all": [*self.waits["chromium"], *self.waits["http"]]}
        return {name: _percentiles(seconds) for name, seconds in kinds.items()} | {
            "faults": self.faults[:5]
        }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {"clicks": 0}
    p50, p95, most = (1000 * float(np.quantile(seconds, share)) for share in (0.5, 0.95, 1))
    named = {"p50_ms": p50, "p95_ms": p95, "max_ms": most}
    return {"clicks": len(seconds)} | {name: round(value, 1) for name, value in named.items()}


def make_study(home: Path, pixels: int) -> None:
    """An open study whose pictures are noise, the largest files that WebP can make of the size."""
    store, pictures = Store.open(home / "study.sqlite3"), Pictures(home / "study-pictures")
    fill(store, NUM_PAIRS, **DESIGN)
    rng = np.random.default_rng(0)
    with store.database.read() as connection:
        names = list(connection.execute(select(image.c.picture_id)).scalars())
    for name in names:
        noise = rng.integers(0, 256, (pixels, pixels, 3), dtype=np.uint8)
        pictures.put(name, encoded(Image.fromarray(noise)))
    lifecycle.open_study(store, STUDY)
    store.close()


@contextmanager
def server(home: Path) -> Iterator[str]:
    """`python app.py --mode study` over a home; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "ROCM_HOME": str(home), "PORT": str(port), "ROCM_PROXIED": "1"}
    command = [sys.executable, "app.py", "--mode", "study"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while not _answers(address):
            if process.poll() is not None:
                raise SystemExit(f"The server ended with code {process.returncode}.")
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait()


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address).close()
    except urllib.error.URLError:
        return False
    return True


@contextmanager
def training(home: Path) -> Iterator[RunDir]:
    """tiny-rocm-kl on one thread, past its first update; longer than anybody measures."""
    run = RunDir(home / "run")
    command = [sys.executable, "-m", "rocm", "train", "tiny-rocm-kl", "--num-steps", "100000"]
    command += ["--run-dir", str(run.path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        while not _num_updates(run):
            if process.poll() is not None:
                raise SystemExit(f"Training ended with code {process.returncode}.")
            time.sleep(0.5)
        yield run
        if process.poll() is not None:
            raise SystemExit("Training ended before the measurement did.")
    finally:
        process.terminate()
        process.wait()


def _num_updates(run: RunDir) -> int:
    return len(run.metrics()) if run.path.is_dir() else 0


class HttpRater:
    """A rater without a browser, who asks for what the page asks for, when it does."""

    def __init__(self, client: httpx.AsyncClient, dice: Random):
        """Come in with the first call of `work`."""
        self.client, self.dice, self.loaded = client, dice, {}

    async def work(self, phase: Phase) -> None:
        """Vote until the phase is over, in one visit after another."""
        await asyncio.sleep(self.dice.uniform(0, THINKS_S[1]))  # people do not all come at once
        while not phase.is_over:
            # Many visits of one address would have to wait.
            address = {"X-Forwarded-For": f"10.0.{self.dice.randrange(256)}.1"}
            link = {"source": "link"}
            joined = await self.client.post(f"api/{STUDY}/join", json=link, headers=address)
            self.headers = {"Authorization": f"Bearer {joined.raise_for_status().json()['token']}"}
            await self._ask("consent", version="1")
            step = await self._ask("trial")
            await self._look(step)
            while step["trial"] and not phase.is_over:
                await self._ahead(step)
                await asyncio.sleep(self.dice.uniform(*THINKS_S))
                began = time.perf_counter()
                side = self.dice.choice(["left", "right"])
                answers = {question["key"]: {"side": side, "rt_ms": 3000} for question in QUESTIONS}
                step = await self._ask("vote", trial=step["trial"]["id"], answers=answers)
                if step["trial"]:
                    await self._look(step)
                    phase.waits["http"].append(time.perf_counter() - began)

    async def _ask(self, path: str, **body: Any) -> dict[str, Any]:
        answer = await self.client.post(f"api/{path}", json=body, headers=self.headers)
        answered: dict[str, Any] = answer.raise_for_status().json()
        return answered

    async def _look(self, step: dict[str, Any]) -> None:
        """Both pictures decoded: those that were loaded ahead are only decoded."""
        both = [step["trial"][side] for side in ("left", "right")]
        contents = await asyncio.gather(*(self._load(address) for address in both))
        for content in contents:
            Image.open(BytesIO(content)).load()

    async def _ahead(self, step: dict[str, Any]) -> None:
        """What the page asks for while the rater thinks."""
        await self._ask("shown", trial=step["trial"]["id"])
        self.loaded = {address: await self._load(address) for address in step["upcoming"]}

    async def _load(self, address: str) -> bytes:
        if address in self.loaded:
            content: bytes = self.loaded[address]
            return content
        return (await self.client.get(address)).raise_for_status().content


async def browser_rater(browser: Browser, address: str, dice: Random, phase: Phase) -> None:
    """Vote in a real page until the phase is over, in one visit after another."""
    await asyncio.sleep(dice.uniform(0, THINKS_S[1]))
    while not phase.is_over:
        context = await browser.new_context(viewport={"width": 1280, "height": 800})
        page = await context.new_page()
        page.on("pageerror", lambda error: phase.faults.append(str(error)))
        await page.goto(f"{address}/study/{STUDY}")
        await page.click("#agree")
        await page.click("#begin")
        is_going_on = True
        while is_going_on and not phase.is_over:
            is_going_on = await _judge(page, dice, phase)
        await context.close()


async def _judge(page: Page, dice: Random, phase: Phase) -> bool:
    """One pair; False after the last."""
    await page.locator("#questions button:enabled").first.wait_for()
    await asyncio.sleep(dice.uniform(*THINKS_S))
    key = dice.choice(["ArrowLeft", "ArrowRight"])
    for pressed in (key, "Enter", "1", key, "2", key):
        await page.keyboard.press(pressed)
    waited = await page.evaluate(MEASURED)
    if waited is not None:
        phase.waits["chromium"].append(waited / 1000)
    return waited is not None


async def measure(address: str, num_raters: int, num_browsers: int, seconds: float) -> Phase:
    """All raters at once for so many seconds."""
    phase = Phase(time.monotonic() + seconds)
    async with (
        async_playwright() as play,
        httpx.AsyncClient(base_url=f"{address}/study/", timeout=60) as client,
    ):
        path = os.environ.get("ROCM_CHROMIUM") or shutil.which("chromium")
        browser = await play.chromium.launch(executable_path=path, args=FLAGS)
        pages = (
            browser_rater(browser, address, Random(number), phase) for number in range(num_browsers)
        )
        others = (
            HttpRater(client, Random(number)).work(phase)
            for number in range(num_browsers, num_raters)
        )
        await asyncio.gather(*pages, *others)
        await browser.close()
    return phase


def main() -> None:
    """Measure both phases and print them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="while training")
    parser.add_argument("--idle-seconds", type=float, default=120, help="before it")
    parser.add_argument("--raters", type=int, default=20)
    parser.add_argument("--browsers", type=int, default=2, help="of the raters, real pages")
    parser.add_argument("--pixels", type=int, default=64, help="of a picture's side")
    options = parser.parse_args()
    visitors = (options.raters, options.browsers)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_study(home, options.pixels)
        with server(home) as address:
            before = os.getloadavg()[0]
            idle = asyncio.run(measure(address, *visitors, options.idle_seconds))
            with training(home) as run:
                first = _num_updates(run)
                busy = asyncio.run(measure(address, *visitors, options.seconds))
                updates = _num_updates(run) - first
    latencies = {
        "raters": {"all": options.raters, "chromium": options.browsers, "pixels": options.pixels},
        "idle": {"seconds": options.idle_seconds, **idle.figures()},
        "training": {"seconds": options.seconds, "updates": updates, **busy.figures()},
        "machine": {"cores": os.cpu_count(), "load_before": round(before, 1)},
    }
    print(json.dumps(latencies, indent=1))


if __name__ == "__main__":
    main()
