"""The Results page in Chromium: counted by its own process, read, taken away, verified."""

import csv
import io
import shutil

import pytest
from playwright.sync_api import expect

from rocm.study.design import lifecycle
from rocm.study.store.store import Store
from tests.browser.conftest import WAIT_MS, toast, wait_for_contrast
from tests.study.voted import voted

pytestmark = [pytest.mark.slow, pytest.mark.browser]

BARS = "document.querySelectorAll('#results_kept .bars .point').length === 9"


@pytest.fixture
def study_id(home):
    """A closed demo study, simulated, in the store of the app."""
    store, study_id = voted(home)
    lifecycle.close(store, study_id)
    store.close()
    return study_id


def test_a_closed_study_is_counted_read_taken_away_and_verified(study_id, visit, home):
    page = visit(f"?tab=results&results={study_id}")
    expect(page.locator("#results_report h2").first).to_have_text("Results", timeout=WAIT_MS)
    expect(page.locator("#results_state .mark")).to_contain_text("SIMULATED")
    expect(page.locator("#results_headline li")).to_have_count(3)
    page.wait_for_function(BARS)

    wait_for_contrast(page)
    dark = visit(f"?tab=results&results={study_id}", color_scheme="dark")
    expect(dark.locator("#results_report h2").first).to_have_text("Results", timeout=WAIT_MS)
    dark.wait_for_function(BARS)
    wait_for_contrast(dark)

    page.click("#results_verify")
    expect(page.locator("#results_said")).to_contain_text("is intact", timeout=WAIT_MS)
    page.fill("#results_name :is(input, textarea)", "mine")
    page.click("#results_learn")
    expect(page.locator("#results_said")).to_contain_text("beyond chance", timeout=3 * WAIT_MS)
    page.click("#results_prepare")
    link = page.locator("#results_files a[download='votes.csv']")
    expect(link).to_be_visible(timeout=WAIT_MS)
    with page.expect_download() as waiting:
        link.click()
    rows = list(csv.DictReader(io.StringIO(waiting.value.path().read_text())))
    store = Store.open(home / "study.sqlite3")
    assert len(rows) == len(store.votes(study_id))
    store.close()

    # A phone: the report's tables scroll by themselves, the page does not.
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth")
    wide = "[...document.querySelectorAll('#results_report .table')]"
    page.wait_for_function(f"{wide}.some(one => one.scrollWidth > one.clientWidth)")


def test_an_open_study_refuses_downloads_in_a_sentence_and_the_button_comes_back(visit, home):
    store, study_id = voted(home, num_raters=1, title="Open")
    store.close()
    page = visit(f"?tab=results&results={study_id}")
    button = page.locator("#results_prepare")
    expect(page.locator("#results_state")).to_contain_text("hidden until", timeout=WAIT_MS)
    expect(button).to_be_disabled()
    button.evaluate("one => { one.disabled = false; }")  # as by a page that knows no better
    button.click()
    assert "Close it first" in toast(page)
    expect(button).to_have_text("Prepare downloads", timeout=WAIT_MS)
    expect(button).to_be_enabled()


def test_train_offers_a_learned_reward_at_once(visit, home):
    page = visit()
    field = page.locator("#setting_reward input")
    expect(field).to_have_value("tiny-preference")
    folder = home / "rewards" / "fresh"
    folder.mkdir(parents=True)
    (folder / "preference.json").write_text("{}")  # learned after the page was loaded
    field.click()
    offered = page.get_by_role("option", name="preference:fresh")
    expect(offered).to_be_visible(timeout=WAIT_MS)
    shutil.rmtree(folder)
