"""The Study page in Chromium, against the real app, its drawing process and its voting page."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import WAIT_MS, go, toast, wait_for_contrast

pytestmark = [pytest.mark.slow, pytest.mark.browser]
expect.set_options(timeout=WAIT_MS)


def test_the_demo_study_from_one_click_to_a_voting_page(visit):
    page = visit("?tab=study")
    page.click("#study_demo")
    expect(page.locator("#study_open")).to_be_visible()
    expect(page.locator("#study_state .badge")).to_have_text("draft")
    expect(page.locator("#study_pairs figure")).to_have_count(24)
    expect(page.locator("#study_pairs")).not_to_contain_text("rocm")
    first = page.locator("#study_pairs img").first
    expect(first).to_have_js_property("complete", True)
    assert first.evaluate("image => image.naturalWidth") > 0

    page.locator("#study_pairs button[data-pair]").first.click()
    expect(page.locator("#study_pairs .struck small").last).to_have_text(re.compile("^Excluded: "))
    expect(page.locator("#study_state .facts")).to_contain_text("59 pairs")

    # A form without its consent stays as it is.
    page.click("#study_new > button")
    page.fill("#study_title :is(textarea, input)", "Kept")
    wait_for_contrast(page)
    page.click("#study_build")
    assert "consent.contact is missing" in toast(page)
    expect(page.locator("#study_title :is(textarea, input)")).to_have_value("Kept")

    page.click("#study_open")
    expect(page.locator("#study_question")).to_contain_text("59 pairs (1 excluded)")
    page.click("#study_sure")
    expect(page.locator("#study_state .badge")).to_have_text("open")
    expect(page.locator("#study_state code")).to_have_text(re.compile("^[0-9a-f]{64}$"))
    link = page.locator("#study_link :is(textarea, input)")
    expect(link).to_have_value(re.compile("/study/[0-9a-f]{12}$"))
    address = link.input_value()
    assert f"study={address[-12:]}" in page.url  # a bookmark opens the same study
    dark = visit(f"?tab=study&study={address[-12:]}", color_scheme="dark")
    expect(dark.locator("#study_link")).to_be_visible()
    wait_for_contrast(dark)
    go(page, address)
    expect(page.locator("#agree")).to_be_visible()
