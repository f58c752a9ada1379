"""Make the pictures of docs/tour.md and of the README: the real app, real runs, while they train.

    python -m scripts.screenshot [--until 40] [--only train-page|compare-page|study-page]

Needs playwright (requirements-dev.txt) and Chromium; ROCM_CHROMIUM names another browser. Trains
two presets and a small sweep one after another; --only train-page stops after the README's picture,
--only compare-page and --only study-page train nothing. The study's votes are simulated.
"""

import argparse
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlencode

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from rocm.config import RunConfig

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
MAX_BYTES = 300_000
WAIT_MS = 30 * 60_000
REACHED = """until => {
  const words = document.querySelector('#state')?.innerText.match(/update (\\d+) of/);
  return words && Number(words[1]) >= until;
}"""
LOADED = """() => {
  const pictures = [...document.images].filter(picture => picture.offsetParent);
  return pictures.length > 1 && pictures.every(picture => picture.complete && picture.naturalWidth);
}"""
PRESETS = ("tiny-rocm-beta0", "tiny-rocm-kl")


def main() -> None:
    """Start the app, train, photograph."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--until", type=int, default=40, help="update of the README's picture")
    parser.add_argument("--only", choices=["train-page", "compare-page", "study-page"])
    options = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    chromium = os.environ.get("ROCM_CHROMIUM") or shutil.which("chromium")
    with app() as (address, home), sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        if options.only in (None, "compare-page"):
            photograph_comparison(browser, address)
        if options.only in (None, "study-page"):
            photograph_study(browser, address, home)
        if options.only in ("compare-page", "study-page"):
            return
        page = open_page(browser, address, 1360, 980)
        queue_presets(page)
        photograph_training(page, options.until)
        if options.only is None:
            photograph_results(page)
            photograph_phone(browser, page.url)
            photograph_generate(browser, page.url)
            photograph_sweep(page)
        else:
            page.click("#stop_run")
            page.wait_for_selector("#state .badge.stopped, #state .badge.finished")
        browser.close()


def queue_presets(page: Page) -> None:
    """Start both presets; the second one waits for the first."""
    for preset in PRESETS:
        page.click("#preset input")
        page.get_by_role("option", name=preset, exact=True).click()
        description = RunConfig.load(preset).description
        page.wait_for_selector(f"#preset_sentence:has-text('{description[:40]}')")
        page.click("#start")
        page.wait_for_selector(
            "#state .badge.starting, #state .badge.running, #state .badge.queued"
        )
    page.click(".toast-close")  # it says that the second one waits
    page.wait_for_selector(".toast-body", state="detached")
    page.wait_for_selector("#runs .badge.running")
    save(page.locator("#runs").screenshot(), "tour-queue.webp")


def photograph_training(page: Page, until: int) -> None:
    """The page while the second preset trains."""
    page.wait_for_selector("#state .badge.running")
    page.wait_for_function(REACHED, arg=until)
    page.wait_for_selector(".previews img")
    page.mouse.move(0, 0)
    save(page.screenshot(), "train-page.png")


def photograph_results(page: Page) -> None:
    """Charts of both runs on top of each other, and the previews half-way."""
    page.wait_for_function("document.querySelectorAll('#runs .badge.finished').length === 2")
    page.locator("#runs tbody tr:not(.chosen) input").first.check()
    for chart in ("#reward_chart", "#steps_chart"):  # a chart is drawn while it is seen
        page.locator(chart).scroll_into_view_if_needed()
        page.wait_for_timeout(3000)
    page.mouse.move(0, 0)
    save(page.locator("#charts").screenshot(), "tour-compare.webp")
    page.locator("#runs tbody tr:not(.chosen) input").first.uncheck()
    page.focus(".preview-bar input")
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(2000)
    save(page.locator("#previews").screenshot(), "tour-previews.webp")


def photograph_sweep(page: Page) -> None:
    """Reward and judge against beta, over short runs."""
    beta = float(page.input_value("#setting_beta input"))
    page.locator("#setting_num_steps input").first.fill("20")
    page.click("#sweeps > button")
    box = page.locator("#sweep_betas input, #sweep_betas textarea")
    box.fill(f"0, {beta / 10:g}, {beta:g}, {10 * beta:g}")
    page.click("#start_sweep")
    page.wait_for_selector("#sweep_table:has-text('4 of 4 runs finished')")
    page.wait_for_timeout(2000)
    page.mouse.move(0, 0)
    save(page.locator("#sweeps").screenshot(), "tour-sweep.webp")


def photograph_phone(browser: Browser, address: str) -> None:
    """The same run on a phone, in dark colors."""
    page = open_page(browser, address, 390, 844, color_scheme="dark")
    page.wait_for_selector("#reward_chart .main-svg")
    page.wait_for_timeout(3000)
    save(page.screenshot(), "tour-phone.webp")


def photograph_comparison(browser: Browser, address: str) -> None:
    """The comparison that the page opens on: base model and the adapters that ship."""
    page = open_page(browser, f"{address}?tab=compare", 1360, 980)
    page.wait_for_selector("#compare_state .badge.finished")
    page.wait_for_selector("#compare_table table")
    page.wait_for_function("() => [...document.querySelectorAll('.cmp-cells img')].length >= 8")
    page.mouse.move(0, 0)
    save(page.screenshot(), "tour-compare-page.webp")


def photograph_study(browser: Browser, address: str, home: str) -> None:
    """The demo study: looked through, voted on by phone, closed, and what its votes say."""
    page = open_page(browser, f"{address}?tab=study", 1360, 980)
    page.click("#study_demo")
    page.wait_for_selector("#study_open:visible")
    page.wait_for_function("() => document.querySelectorAll('#study_pairs img').length >= 24")
    page.locator("#study_state").scroll_into_view_if_needed()
    page.wait_for_timeout(2000)
    save(page.screenshot(), "tour-study.webp")
    page.click("#study_open")
    page.click("#study_sure")
    page.wait_for_selector("#study_state .badge:has-text('open')")
    link = page.locator("#study_link :is(textarea, input)").input_value()
    study_id = link.rsplit("/", 1)[1]
    study(home, "simulate", study_id, "--raters", "14", "--by", "taste")
    photograph_vote(browser, link)
    study(home, "close", study_id)
    page.goto(f"{address}?tab=results")
    page.wait_for_selector("#results_report h2")
    page.wait_for_selector("#results_kept .bars .point")
    page.wait_for_timeout(2000)
    save(page.screenshot(), "tour-results.webp")


def study(home: str, *words: str) -> None:
    """`python -m rocm study ...` beside the app."""
    command = [sys.executable, "-m", "rocm", "study", *words]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "ROCM_HOME": home}, check=True)


def photograph_vote(browser: Browser, link: str) -> None:
    """The first pair that a rater sees, on a phone."""
    page = open_page(browser, link, 390, 844)
    page.click("#agree")
    page.click("#begin")
    page.wait_for_function(LOADED)
    page.wait_for_timeout(1000)
    save(page.screenshot(full_page=True), "tour-vote.webp")


def photograph_generate(browser: Browser, address: str) -> None:
    """Base model and adapter of the newest run, from the same noise."""
    where, _, query = address.partition("?")
    run_id = parse_qs(query)["run"][0]
    order = {"prompt": "a 3d emoji of a dragon", "adapter": f"run:{run_id}", "with_base": 1}
    page = open_page(browser, f"{where}?{urlencode({'tab': 'generate', **order})}", 1360, 900)
    page.wait_for_function("() => document.querySelector('#adapter input')?.value.includes('tiny')")
    page.click("#draw")
    page.wait_for_selector("#drawing .badge.finished")
    page.wait_for_timeout(2000)
    page.mouse.move(0, 0)
    save(page.screenshot(), "tour-generate.webp")


def open_page(browser: Browser, address: str, width: int, height: int, **options: str) -> Page:
    """The app in a new window of that size."""
    size = {"width": width, "height": height}
    page = browser.new_context(viewport=size, **options).new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(address)
    return page


def save(picture: bytes, name: str) -> None:
    """Write a picture below docs/images, small enough for the repository."""
    path = IMAGES / name
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    if path.suffix == ".png":
        image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    else:
        image.save(path, quality=88, method=6)
    assert path.stat().st_size < MAX_BYTES, f"{path} has {path.stat().st_size} bytes"
    print(f"Wrote {path}.")


@contextmanager
def app() -> Iterator[tuple[str, str]]:
    """The app on a free port, with a home of its own; yields its address and the home."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "ROCM_HOME": home, "PORT": str(port)}
        process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment)
        try:
            while process.poll() is None and not answers(address):
                pass
            yield address, home
        finally:
            process.terminate()
            process.wait()


def answers(address: str) -> bool:
    """Whether the page is there yet."""
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, TimeoutError):
        return False


if __name__ == "__main__":
    main()
