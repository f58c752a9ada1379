"""The Compare page in Chromium, against the real app and its drawing process; all pages' looks."""

import csv
import io
import statistics

import pytest
from PIL import Image
from playwright.sync_api import expect

from rocm.runs.names import short_id
from tests.browser.conftest import nameless, wait_for_contrast

pytestmark = [pytest.mark.slow, pytest.mark.browser]

FINISHED = "#compare_state .badge.finished"
DRAWN = "count => document.querySelectorAll('.cmp-cells img').length === count"
PROMPTS = "() => [...document.querySelectorAll('.cmp-row h3')].map(one => one.firstChild.data)"
SOURCES = "() => [...document.querySelectorAll('.cmp-cells img')].map(image => image.src)"
SHOWN = "() => [...document.querySelectorAll('.cmp-stage img')].map(image => image.src)"
FIGURES = """name => [...document.querySelectorAll('.cmp-row')].map(row =>
  [...row.querySelectorAll('figcaption')].map(caption => Number(
    [...caption.querySelectorAll('span')].find(one => one.innerText.startsWith(name))
    .querySelector('b')?.innerText.replace('\\u2212', '-'))))"""
CHART = "document.querySelector('#compare_efficiency .live-plot')"
ORDERS = {
    "high": lambda row: row[1],
    "change": lambda row: abs(row[1] - row[0]),
    "apart": statistics.variance,
}
PAGES = [("Train", "#runs", "#preset"), ("Compare", "#compare_grid", "#compare")]
PAGES += [("Generate", "#drawing", "")]


def test_it_opens_drawn_sorts_enlarges_and_is_taken_away(visit):
    page = visit("?tab=compare")
    page.wait_for_function(DRAWN, arg=32)
    page.wait_for_selector(FINISHED)
    heads = page.locator(".cmp-heads b").all_inner_texts()
    assert heads == ["base", "tiny-rocm-kl", "tiny-rlcm", "tiny-rocm-beta0"]
    assert len(set(page.evaluate(SOURCES))) == 32

    # Sorted by what the pictures say: of one arm, between arms, against the base model.
    page.select_option("[name=measure]", "tiny-judge")
    page.select_option("[name=arm]", "1")
    for order, measured in ORDERS.items():
        page.select_option("[name=sort]", order)
        values = [measured(row) for row in page.evaluate(FIGURES, "tiny-judge")]
        assert values == pytest.approx(sorted(values, reverse=True), abs=0.01)

    # Large: the arm that was clicked beside the base model; the next prompt; every view.
    page.select_option("[name=sort]", "order")
    sources = page.evaluate(SOURCES)
    page.locator(".cmp-open").nth(2).click()
    assert page.evaluate(SHOWN) == [sources[0], sources[2]]
    page.get_by_label("Next prompt").click()
    assert page.evaluate(SHOWN) == [sources[4], sources[6]]
    for view in ("Side by side", "Hover", "Slider"):
        page.get_by_label(view, exact=True).check()
        widths = [one.bounding_box()["width"] for one in page.locator(".cmp-stage img").all()]
        assert widths[0] == pytest.approx(widths[1], abs=2)
        assert widths[0] > 250
    page.keyboard.press("Escape")
    page.wait_for_selector(".cmp-large", state="hidden")

    # The table says the same as the zip that can be taken away.
    assert "held out" in page.inner_text("#compare_table thead")
    assert page.locator("#compare_table td.trained").count() == 3
    with page.expect_download() as waiting:
        page.click("#compare_csv")
    table = list(csv.DictReader(io.StringIO(waiting.value.path().read_text())))
    assert {line["arm"] for line in table} == set(heads)
    with page.expect_download() as waiting:
        page.click("#compare_image")
    with Image.open(waiting.value.path()) as sheet:
        assert sheet.width > 4 * 160

    # The address holds it: another visitor sees the same pictures, undrawn anew.
    other = visit("?" + page.url.partition("?")[2])
    other.wait_for_function(DRAWN, arg=32)
    assert other.evaluate(SOURCES) == sources


def test_checkpoints_of_a_run_and_what_its_reward_cost(visit, run_id):
    page = visit("?tab=compare")
    page.wait_for_selector(FINISHED)
    arms = page.locator("#compare_arms .token-remove:not(.remove-all)")
    for left in range(arms.count() - 1, 0, -1):
        arms.nth(1).click()
        expect(arms).to_have_count(left)
    page.click("#compare_arms input")
    page.get_by_role("option", name=f"({short_id(run_id)})").click()
    page.click("#compare_axis_box > button")
    page.click("#compare_axis input")
    page.get_by_role("option", name="checkpoint", exact=True).click()
    page.locator("#compare_prompts textarea").fill("an apple")
    page.click("#compare")
    page.wait_for_function(DRAWN, arg=3)
    heads = page.locator(".cmp-heads small").all_inner_texts()
    assert [head.partition(" \N{MIDDLE DOT}")[0] for head in heads] == ["", "after 10", "after 20"]
    page.wait_for_function(f"() => {CHART}?._fullLayout")
    page.locator("#compare_cost").get_by_label("U-Net calls").check()
    page.wait_for_function(f"() => {CHART}?._fullLayout?.xaxis?.title?.text === 'U-Net calls'")
    end = f"[{CHART}?._fullData?.[2]?.x?.at(-1), {CHART}?._fullData?.[2]?.y?.at(-1)]"
    page.wait_for_function(f"() => {end}.join() === '{24 * 30},20.5'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_any_width_can_be_read_and_is_named(visit, run_id, scheme):
    page = visit(f"?run={run_id}", color_scheme=scheme)
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    for tab, result, form in PAGES:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_selector(f"{result} >> visible=true")
        wait_for_contrast(page)
        assert set(nameless(page)) <= {"image"}  # icons and charts beside their words
        for width in (2560, 820, 390):
            page.set_viewport_size({"width": width, "height": 844})
            page.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth")
        if form:  # on a phone it comes after the result, and a link leads there
            top = f"document.querySelector('{form}').getBoundingClientRect().top"
            assert page.evaluate(top) > page.locator(result).bounding_box()["y"]
            page.click(".to-form:visible button")
            page.wait_for_function(f"{top} < 844")
        page.set_viewport_size({"width": 1280, "height": 900})


def test_back_turns_the_page_back_instead_of_leaving_the_app(visit):
    page = visit()
    for name in ("Generate", "Compare"):
        page.get_by_role("tab", name=name).click()
        page.wait_for_url(f"**tab={name.lower()}*")
    for name in ("Generate", "Train"):
        page.go_back()
        expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
    page.go_forward()
    expect(page.get_by_role("tab", name="Generate")).to_have_attribute("aria-selected", "true")
