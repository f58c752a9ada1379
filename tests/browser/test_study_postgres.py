"""The Study page on PostgreSQL in Chromium: from an uploaded study.yaml to results, with raters."""

import re

import pytest
import yaml
from playwright.sync_api import expect

from rocm.study.design.build import identified
from rocm.study.design.recipe import Recipe
from tests.browser.conftest import WAIT_MS, running
from tests.browser.test_vote_page import begin, wait_for_pair
from tests.study.conftest import new_database, postgres, url

assert postgres  # a fixture, found by its name

pytestmark = [pytest.mark.slow, pytest.mark.browser]
expect.set_options(timeout=WAIT_MS)
CONSENT = {"contact": "a@b.c", "min_age": "18", "ethics": "none", "pay": "none", "retention": "1 y"}


@pytest.fixture
def recipe(tmp_path):
    """A study.yaml of three pairs, each rater judging all of them."""
    arms = [{"name": "base"}, {"name": "kl", "adapter": "assets/adapters/tiny-rocm-kl"}]
    whole = {
        "title": "Two arms",
        "arms": arms,
        "prompts": {"set": "own", "num": 3},
        "votes_per_pair": 1,
        "main_per_rater": 3,
        **dict.fromkeys(("checks_per_rater", "repeats_per_rater", "practice"), 0),
        "questions": [{"key": "overall", "text": "Which one?"}],
        "consent": {**CONSENT, "version": "1", "text": "You may stop."},
    }
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(whole))
    return file


@pytest.fixture
def home(tmp_path, postgres, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", url(postgres, new_database(postgres)))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def people(visitors, home):
    """Opens a page of the app for one more person."""
    with running(home) as app:
        yield lambda address: visitors(
            address if address.startswith("http") else app.url + address, is_strict=False
        )


def answer(page, done):
    wait_for_pair(page, done)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")


def agree_to(page, button, words):
    """Press a button that asks first, look at what it asks, and say yes."""
    page.click(button)
    seen(page, "#study_question").to_contain_text(words)
    page.click("#study_sure")


def seen(page, selector):
    return expect(page.locator(selector))


def build_from_file(page, file):
    page.click("#study_new > button")
    page.get_by_role("tab", name="study.yaml").click()
    page.set_input_files("#study_file input", file)
    seen(page, "#study_text textarea").to_have_value(file.read_text())
    page.click("#study_build_text")
    seen(page, "#study_open").to_be_visible()
    seen(page, "#study_pairs figure").to_have_count(3)


def vote_with_a_pause(page, rater):
    """What is on the screen when the study is paused is taken, and no more is given until later."""
    begin(rater)
    page.click("#study_pause")
    seen(page, "#study_state .badge").to_have_text("paused")
    answer(rater, 0)
    rater.get_by_text("The study is paused").wait_for()
    page.click("#study_resume")
    seen(page, "#study_state .badge").to_have_text("open")
    rater.reload()
    for done in (1, 2):
        answer(rater, done)
    rater.locator("#code").wait_for()


def test_the_study_page_on_postgresql_from_an_uploaded_file_to_results(people, home, recipe):
    page = people("?tab=study")
    build_from_file(page, recipe)
    study_id = identified(home, Recipe.load(recipe))[0]  # what the command line would build
    expect(page).to_have_url(re.compile(f"study={study_id}"))
    for struck in (1, 0):
        page.locator("#study_pairs button[data-pair]").first.click()
        seen(page, "#study_pairs .struck").to_have_count(struck)
    pilot = begin(people(page.locator("#study_pilot :is(textarea, input)").input_value()))
    expect(pilot.locator("#marked")).to_contain_text("not analyzed")
    seen(page, "#study_state .facts").to_contain_text("pilots: 1")

    page.fill("#study_num_invited input", "1")
    agree_to(page, "#study_invite", "Create 1 invitation links?")
    link = page.locator("#study_invitations textarea")
    expect(link).to_have_value(re.compile(rf"^\S+/study/{study_id}#invite=[\w-]{{22}}\n?$"))
    agree_to(page, "#study_open", "3 pairs (0 excluded)")
    seen(page, "#study_state .badge").to_have_text("open")
    seen(page, "#study_delete").to_be_hidden()
    seen(page, "#study_link").to_be_hidden()
    vote_with_a_pause(page, people(link.input_value().strip()))
    agree_to(page, "#study_more", "Add 5 raters?")
    seen(page, "#study_state .facts").to_contain_text("missing votes: 15")
    agree_to(page, "#study_close", "Missing votes: 15")
    seen(page, "#study_state .badge").to_have_text("closed")
    seen(page, "#study_state .facts").to_contain_text("raters: 1 complete")
    page.click("#study_pack")
    with page.expect_download() as waiting:
        page.click("#study_archive")
    assert waiting.value.path().stat().st_size > 1000

    results = people(f"?tab=results&results={study_id}")
    seen(results, "#results_report h2").not_to_have_count(0)
    assert not (home / "study.sqlite3").exists()
