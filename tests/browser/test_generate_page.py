"""The page that draws, driven in Chromium against the real app and its drawing process."""

import io
import zipfile

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import go

pytestmark = [pytest.mark.slow, pytest.mark.browser]

FINISHED = "#drawing .badge.finished"
SOURCES = "() => [...document.querySelectorAll('.pictures img')].map(image => image.src)"


def draw(page, **values):
    for name, value in values.items():
        page.locator(f"#{name} :is(input[type=number], textarea)").first.fill(str(value))
    num_before = page.locator(".history li").count()
    page.click("#draw")
    wait_for_entries(page, num_before + 1)
    page.wait_for_selector(FINISHED)


def wait_for_entries(page, count):
    page.wait_for_function(f"() => document.querySelectorAll('.history li').length === {count}")


def test_draw_reload_link_download_delete_and_undo(visit, run_id):
    page = visit("?tab=generate")
    num_before = page.locator(".history li").count()
    prompt = page.locator("#prompt textarea")
    page.locator("#examples input").click()
    option = page.get_by_role("option").nth(1)
    chosen = option.get_attribute("aria-label")
    option.click()
    expect(prompt).to_have_value(chosen)
    prompt.fill("a red apple & <b>a pear</b>")
    draw(page, seed=41, num_pictures=2)
    drawn = page.evaluate(SOURCES)
    assert len(set(drawn)) == 2
    assert "<b>a pear</b>" in page.inner_text("#drawing .settings")
    assert "--seed 41 --num 2" in page.inner_text("#drawing code")
    assert "tab=generate" in page.url
    assert "seed=41" in page.url

    # The address tells of the page that is shown alone.
    page.get_by_role("tab", name="Train").click()
    page.wait_for_url(f"**run={run_id}")
    assert "seed=" not in page.url
    page.get_by_role("tab", name="Generate").click()
    page.wait_for_url("**seed=41**")
    assert "run=" not in page.url

    # A reload keeps settings, pictures and history; a second visitor with the link draws the same.
    go(page)
    page.wait_for_selector(FINISHED)
    assert page.evaluate(SOURCES) == drawn
    assert page.input_value("#seed input") == "41"
    other = visit("?" + page.url.partition("?")[2])
    other.wait_for_selector(FINISHED)
    assert other.input_value("#prompt textarea") == "a red apple & <b>a pear</b>"
    draw(other)
    assert other.evaluate(SOURCES) == drawn

    with page.expect_download() as waiting:
        page.click("#download")
    with zipfile.ZipFile(waiting.value.path()) as bundle:
        names = bundle.namelist()
        with Image.open(io.BytesIO(bundle.read(names[0]))) as picture:
            assert picture.text["seed"] == "41"
    assert names == ["a-red-apple-b-a-pear-b-41.png", "a-red-apple-b-a-pear-b-42.png"]

    # A deleted entry comes back; a click brings an earlier entry's settings back.
    other.locator(".history .bin").first.click()
    wait_for_entries(other, num_before + 1)
    other.click("#undo")
    wait_for_entries(other, num_before + 2)
    draw(other, seed=50, num_pictures=1)
    other.locator(".history .entry").nth(1).focus()
    other.keyboard.press("Enter")
    other.wait_for_function("() => document.querySelector('#seed input')?.value === '41'")
    assert other.evaluate(SOURCES) == drawn
    other.wait_for_url("**seed=41**")
