"""The Study page in Chromium, against the real app, its drawing process and its voting page."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import WAIT_MS, go, toast, wait_for_contrast

HIDE = """() => {
  const state = {hidden: true, visibilityState: 'hidden'};
  for (const [name, value] of Object.entries(state))
    Object.defineProperty(document, name, {get: () => value, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}"""
SHOW = """() => {
  for (const name of ['hidden', 'visibilityState']) delete document[name];
  document.dispatchEvent(new Event('visibilitychange'));
}"""

pytestmark = [pytest.mark.slow, pytest.mark.browser]
expect.set_options(timeout=WAIT_MS)


def check_form(page):
    """It leads from step to step; its sizes follow the prompts both ways; faults are marked."""
    page.click("#study_new > button")
    title = page.locator("#study_title :is(textarea, input)")
    title.fill("Kept")
    wait_for_contrast(page)
    following = page.locator("#study_steps button:text-is('Next'):visible")
    following.click()
    size, cost = page.locator("#study_main_per_rater input"), page.locator("#study_new_cost_words")
    for prompts, most in ((4, "12"), (30, "40")):
        page.fill("#study_prompts_num input", str(prompts))
        expect(size).to_have_value(most)
        expect(cost).to_contain_text(f"{3 * prompts} pairs in 3 comparisons")
    expect(page.locator("#study_new_cost_power tbody:visible")).to_have_count(1)
    following.click()
    following.click()
    # A form without its consent stays as it is.
    page.click("#study_build")
    assert "consent.contact is missing" in toast(page)
    expect(title).to_have_value("Kept")
    marks = "all => all.map(one => getComputedStyle(one, '::after').content !== 'none')"
    assert page.locator("#study_steps .needed:visible").evaluate_all(marks).count(True) == 4
    page.fill("#study_consent_contact :is(textarea, input)", "study@example.org")
    assert page.locator("#study_steps .needed:visible").evaluate_all(marks).count(True) == 3


def test_the_demo_study_from_one_click_to_a_voting_page(visit):
    page = visit("?tab=study")
    page.click("#study_demo")
    expect(page.locator("#study_open")).to_be_visible()
    expect(page.locator("#study_state .badge")).to_have_text("draft")
    expect(page.locator("#study_pairs figure")).to_have_count(24)
    expect(page.locator("#study_pairs")).not_to_contain_text("rocm")
    first = page.locator("#study_pairs img").first
    expect(first).not_to_have_js_property("naturalWidth", 0)

    if not page.locator("#study_pairs .struck").count():  # an attempt before this one may have
        page.locator("#study_pairs button[data-pair]").first.click()
    expect(page.locator("#study_pairs .struck small").last).to_have_text(re.compile("^Excluded: "))
    expect(page.locator("#study_state .facts")).to_contain_text("59 pairs")
    expect(page.locator("#study_cost_words")).to_contain_text("59 pairs in 3 comparisons")
    expect(page.locator("#study_cost_power tbody tr")).to_have_count(4)

    check_form(page)

    # Hidden, the page asks nothing once its last question is answered, by what another one changes.
    page.evaluate(HIDE)
    other = visit("?" + page.url.partition("?")[2], color_scheme="dark")
    other.click("#study_open")
    expect(other.locator("#study_question")).to_contain_text("59 pairs (1 excluded)")
    other.click("#study_sure")
    expect(other.locator("#study_state .badge")).to_have_text("open")
    page.wait_for_timeout(3_000)  # until that has been shown
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(6_000)  # it pauses for 3.5 s between questions
    assert asked == []
    page.evaluate(SHOW)
    expect(page.locator("#study_state .badge")).to_have_text("open")
    expect(page.locator("#study_state code")).to_have_text(re.compile("^[0-9a-f]{64}$"))
    link = page.locator("#study_link :is(textarea, input)")
    expect(link).to_have_value(re.compile("/study/[0-9a-f]{12}$"))
    address = link.input_value()
    assert f"study={address[-12:]}" in page.url  # a bookmark opens the same study
    expect(other.locator("#study_link")).to_be_visible()
    wait_for_contrast(other)
    go(page, address)
    expect(page.locator("#agree")).to_be_visible()
