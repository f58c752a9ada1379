"""What an open page costs: shares of a core in server and browser, and requests.

    python -m scripts.idle_cost --seconds 30

Chromium opens each tab over a home of 50 runs, then one as if it were hidden, and the Train page
while a run trains.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from playwright.sync_api import Page, sync_playwright

from rocm.config import RunConfig
from rocm.studio import Studio
from scripts.page_times import app_process, chromium, make_runs, open_when_up

SETTLED_S = 15
TABS = ("train", "generate", "compare", "study", "results")
# Chromium without a window shows every page, so the page is told that it is hidden.
HIDE = """() => {
  for (const [name, value] of [['hidden', true], ['visibilityState', 'hidden']])
    Object.defineProperty(document, name, {get: () => value});
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def core_seconds(processes: list[psutil.Process]) -> float:
    """Seconds of processor time of the processes that still exist."""
    total = 0.0
    for process in processes:
        with_times = process.cpu_times() if process.is_running() else None
        total += with_times.user + with_times.system if with_times else 0.0
    return total


def browsers() -> list[psutil.Process]:
    """The processes of Chromium that this program has started."""
    found = psutil.Process().children(recursive=True)
    return [process for process in found if "chrom" in process.name()]


def cost(page: Page, server: psutil.Process, seconds: float) -> str:
    """Server and browser in percent of a core, and requests, once the page has settled."""
    page.wait_for_timeout(1000 * SETTLED_S)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    groups = [[server], browsers()]
    began, before = time.monotonic(), [core_seconds(group) for group in groups]
    page.wait_for_timeout(1000 * seconds)
    passed = time.monotonic() - began
    shares = [
        100 * (core_seconds(group) - used) / passed
        for group, used in zip(groups, before, strict=True)
    ]
    return f"server {shares[0]:.2f} %  browser {shares[1]:.2f} %  requests {len(asked)}"


def end_processes(folder: str) -> None:
    """End the trainers over the home, which outlive the app."""
    for process in psutil.process_iter(["cmdline"]):
        if any(folder in word for word in process.info["cmdline"] or []):
            process.kill()


@contextmanager
def opened(address: str) -> Iterator[Page]:
    """The page in a browser of its own."""
    with sync_playwright() as play, chromium(play) as browser:
        page = browser.new_page()
        open_when_up(page, address)
        yield page


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--only", nargs="*", default=[*TABS, "hidden", "training"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        studio = Studio(Path(folder))
        make_runs(studio)
        with app_process(Path(folder)) as (process, address):
            server = psutil.Process(process.pid)
            for name in given.only:
                if name == "training":
                    studio.start_run(RunConfig(num_steps=200), "tiny-rocm-kl")
                with opened(f"{address}?tab={name}" if name in TABS else address) as page:
                    if name == "hidden":
                        page.evaluate(HIDE)
                    print(f"{name:9} {cost(page, server, given.seconds)}", flush=True)
        end_processes(folder)


if __name__ == "__main__":
    main()
