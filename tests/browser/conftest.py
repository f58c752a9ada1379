"""The real app in a process of its own, and a real browser in front of it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import psutil
import pytest
from playwright.sync_api import sync_playwright

from rocm.config import RunConfig
from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT

CHROMIUM = os.environ.get("ROCM_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
WAIT_MS = 240_000  # on a busy machine
# What of a page is too pale to read: words by place and ratio, of WCAG's level AA.
CONTRAST = (ROOT / "tests" / "browser" / "contrast.js").read_text()
# Roles that a screen reader's user knows by their name alone.
NAMED = (
    "button link textbox searchbox combobox listbox checkbox radio slider spinbutton switch tab "
    "image img progressbar dialog"
).split()
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="session")
def browser():
    if not os.access(CHROMIUM, os.X_OK):
        words = f"There is no Chromium at {CHROMIUM}. Install it, or set ROCM_CHROMIUM."
        if os.environ.get("ROCM_REQUIRE_ALL") == "1":
            pytest.fail(words)
        pytest.skip(words)
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def run_id(home):
    """A run that ended, with counters of its cost, an adapter and two checkpoints."""
    run = RunDir.create(home / "runs" / "mine-20260101-120000-abcd", RunConfig(beta=0))
    for step in range(31):
        cost = {"seconds": 0.5, "reward_queries": 4, "unet_forward": 16, "unet_backward": 8}
        run.append_metrics(
            {"step": step, "divergence": 0.0, **({"reward": step, **cost} if step else {})}
        )
    for folder in ("adapter", "checkpoints/step_000010", "checkpoints/step_000020"):
        shutil.copytree(ROOT / "assets/adapters/tiny-rlcm", run.path / folder)
    run.mark_ended("finished", "")
    return run.path.name


class App:
    """`python app.py` on a free port, over one home, with more variables of the environment."""

    def __init__(self, home, more):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.log = home / "app.log"
        self.temporary = home / "temporary"
        self.temporary.mkdir()
        own = {"ROCM_HOME": str(home), "PORT": str(self.port), "TMPDIR": str(self.temporary)}
        self._environment = {**os.environ, **own, "ROCM_ADMIN_TOKEN": "", **more}

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=ROOT, env=self._environment, stderr=log
            )
        deadline = time.monotonic() + WAIT_MS / 1000
        while True:
            try:
                return urllib.request.urlopen(self.url).close()
            except urllib.error.URLError:
                assert time.monotonic() < deadline, f"{self.url} does not answer."
                time.sleep(0.3)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(timeout=30)


@contextmanager
def running(home, **more):
    """The app over `home`, which a test may end and start again; its runs are ended with it."""
    one = App(home, more)
    try:
        one.start()
        yield one
    finally:
        one.end()
        for process in psutil.process_iter(["cmdline"]):
            if any(str(home) in word for word in process.info["cmdline"] or []):
                process.kill()
        assert "Traceback" not in one.log.read_text()


@pytest.fixture(scope="session")
def app(home):
    """One app for all pages but Train's, whose tests kill theirs."""
    with running(home) as one:
        yield one


@pytest.fixture
def visitors(browser):
    """Opens the page of one more person, or another page in the `context` of the same one.

    Afterwards no page may have asked another host, raised an error unless it `may_fail`, or logged
    a word if `is_strict`.
    """
    contexts, faults = [], []

    def open_page(address, *, context=None, is_strict=True, may_fail=False, **options):
        if context is None:
            context = browser.new_context(**{"viewport": {"width": 1360, "height": 900}, **options})
            contexts.append(context)
        page = context.new_page()
        page.faults = faults
        page.set_default_timeout(WAIT_MS)
        if is_strict:
            page.on("console", lambda message: faults.append(f"{message.type}: {message.text}"))
        if not may_fail:
            page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("request", lambda request: _note_foreign(request.url, faults))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def visit(visitors, app):
    """Opens the app as a new visitor."""

    def open_page(query="", **options):
        page = visitors(app.url + query, **options)
        page.wait_for_selector("#reward_chart .main-svg", state="attached")
        return page

    return open_page


def toast(page):
    """Words of the notice on the page, which is closed."""
    page.wait_for_selector(".toast-body")
    words = page.inner_text(".toast-body")
    page.locator(".toast-close").first.click()
    page.wait_for_selector(".toast-body", state="detached")
    return words


def nameless(page):
    """Roles of controls and pictures without an accessible name, as Chromium computes names."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    told = [node for node in nodes if not node["ignored"] and node["role"]["value"] in NAMED]
    assert told  # a page without anything to name would pass for nothing
    return [node["role"]["value"] for node in told if not node["name"].get("value", "").strip()]


def wait_for_contrast(page):
    """Until nothing is too pale to read; what is being loaded is pale for a moment."""
    page.wait_for_function(f"() => Object.keys(({CONTRAST})()).length === 0")


def go(page, address=""):
    """Load another address in the same window, or the same one again.

    What the page that is left asks just then ends as an error of that page: not counted.
    """
    before = len(page.faults)
    page.goto(address) if address else page.reload()
    cut_off = ("AbortError: signal is aborted", "Connection errored out")
    page.faults[before:] = [
        fault for fault in page.faults[before:] if not any(words in fault for words in cut_off)
    ]


def _note_foreign(url, faults):
    if not url.startswith(("http://127.0.0.1:", "data:", "blob:")):
        faults.append(f"foreign request: {url}")
