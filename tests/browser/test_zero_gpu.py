"""The pages on a ZeroGPU Space: with a stand-in of its package, which enforces its rules."""

import json
import time

import pytest

from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT
from tests.browser.conftest import nameless, running, wait_for_contrast

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """The app as such a Space; gives it, its home, and a function for the calls of its GPU."""
    home = tmp_path_factory.mktemp("space")
    calls = home / "calls"
    settings = {"PYTHONPATH": f"{ROOT}/tests/stand_in", "SPACES_ZERO_GPU": "true"}
    settings |= {"STAND_IN_LOG": str(calls), "STAND_IN_QUOTA": str(home / "quota")}
    with running(home, **settings, SPACE_ID="me/space") as app:
        yield app, home, lambda: [json.loads(line) for line in calls.read_text().splitlines()]


@pytest.fixture
def visit(visitors, space):
    """Opens the app as a visitor, whose GPU time is counted by name."""

    def open_page(name, query="", **options):
        headers = {"x-ip-token": name}
        page = visitors(space[0].url + query, extra_http_headers=headers, **options)
        page.wait_for_selector("#start", state="attached")
        return page

    return open_page


def start(page, num_steps):
    page.fill("#slices_steps input", str(num_steps))
    page.click("#start")


def words(page, text):
    page.locator("#slices_state", has_text=text).wait_for()


def the_run(home, num_steps):
    """The run with that number of updates, once it is there."""
    while True:
        for path in (home / "runs").glob("*/config.yaml"):
            if RunDir(path.parent).config().num_steps == num_steps:
                return RunDir(path.parent)
        time.sleep(0.2)


def test_a_visitor_trains_with_the_own_seconds_until_they_are_used_up(visit, space):
    app, home, calls = space
    page = visit("ada", viewport={"width": 390, "height": 844})
    assert "stops when you leave" in page.inner_text("#slices_about")
    wait_for_contrast(page)
    assert set(nameless(page)) <= {"image"}  # icons and charts beside their words
    start(page, 3)
    words(page, "Finished after 3 updates.")
    assert {name for name, *_ in calls()} == {"train_slice"}
    assert app.process.pid not in {pid for _, pid, *_ in calls()}
    page.click("#elsewhere button")
    page.wait_for_function("document.querySelector('#job_command textarea').value !== ''")
    assert "--num-steps 3 " in page.input_value("#job_command textarea")
    (home / "quota").write_text(json.dumps({"ada": 5}))
    start(page, 4)
    words(page, "quota")
    assert the_run(home, 4).status().state == "stopped"


def test_pictures_are_drawn_with_the_gpu_of_whoever_asks_and_scored_with_it(visit, space):
    page = visit("bob", "?tab=generate")
    page.click("#draw")
    page.wait_for_function("document.querySelectorAll('#drawing img').length >= 4")
    page.get_by_role("tab", name="Compare").click()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.locator("#compare_state", has_text="finished").wait_for()
    assert "tiny-judge" in page.inner_text("#compare_table")
    drawn = [call for call in space[2]() if call[0] == "draw_slice"]
    assert len(drawn) >= 2
    assert max(seconds for *_, seconds, _ in drawn) < 30


def test_a_run_stops_when_its_visitor_leaves(visit, space):
    page = visit("eve")
    start(page, 500)
    words(page, "Slice 1")
    run, before = the_run(space[1], 500), len(space[2]())
    page.context.close()
    until = time.monotonic() + 240
    while not run.status().step or run.status().is_active:
        assert time.monotonic() < until
        time.sleep(0.5)
    assert (run.status().state, len(run.checkpoints()) > 1) == ("stopped", True)
    time.sleep(3)  # in which another slice would have begun
    assert len(space[2]()) == before + 1
