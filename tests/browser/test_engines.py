"""The page while a real Slurm trains: chosen, watched, steered, stopped and resumed in Chromium."""

import os

import pytest

from rocm.runs.engines.base import job_of
from rocm.runs.run_dir import RunDir
from tests.browser.conftest import WAIT_MS, running
from tests.runs.engines.conftest import slurm  # noqa: F401, a fixture

pytestmark = [pytest.mark.slow, pytest.mark.browser]
STATE = "state => document.querySelector('#state .badge')?.textContent === state"


@pytest.fixture
def home(tmp_path):
    return tmp_path


@pytest.fixture
def app(home, slurm):  # noqa: F811
    with running(home) as one:
        yield one
        slurm.ask("scancel", "--user=root")


def test_a_run_at_slurm_is_watched_and_steered_as_one_here(visit, app, home, slurm):  # noqa: F811
    page = visit(is_strict=False)
    page.get_by_label("Where").click()
    page.get_by_role("option", name="Slurm").click()
    page.get_by_role("button", name="Start training").click()
    page.wait_for_function(STATE, arg="running", timeout=WAIT_MS)
    (path,) = (home / "runs").iterdir()
    run = RunDir(path)
    assert (run.engine, job_of(run).job) == ("slurm", "1_0")
    page.get_by_text("Slurm job 1_0").click()
    assert "#SBATCH --array=0-0" in page.inner_text("#state pre")
    page.wait_for_selector("#reward_chart .scatterlayer .trace", state="attached")
    before = run.sample_steps()
    page.get_by_role("button", name="Sample now").click()
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/slurm-running.png")
    page.locator("#stop_run").click()
    page.wait_for_function(STATE, arg="stopped", timeout=WAIT_MS)
    assert len(run.sample_steps()) > len(before)
    page.locator("#resume_run").click()
    page.wait_for_function(STATE, arg="running", timeout=WAIT_MS)
    assert job_of(run).job == "2_0"
    page.locator("#stop_run").click()
    page.wait_for_function(STATE, arg="stopped", timeout=WAIT_MS)
    steps = [row["step"] for row in run.metrics()]
    assert steps == list(range(len(steps)))
