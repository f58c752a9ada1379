"""The voting page in a real browser: by keys, by touch, after closing; what it must not show."""

import re
import socket
import threading
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import expect

from rocm.study.design import lifecycle
from rocm.study.server.api import Api
from rocm.study.server.app import Server, alone
from rocm.study.server.login import Login
from rocm.study.store import tables
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store
from tests.browser.conftest import nameless, wait_for_contrast
from tests.study.server.conftest import fill
from tests.study.server.oauth_provider import CLIENT, provider
from tests.study.small import STUDY, column, count

pytestmark = pytest.mark.browser
TOUCH = {"has_touch": True, "is_mobile": True}
PHONE = {"viewport": {"width": 390, "height": 844}, **TOUCH}
ANSWER = ("1", "ArrowLeft", "2", "ArrowLeft", "Enter") * 2
LONG = ", and in front of it a small wooden boat on still water" * 9


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "study.sqlite3")
    fill(opened, tmp_path / "pictures")
    with opened.database.write() as w:
        is_shown = tables.prompt.c.study_id == STUDY
        w.update(tables.prompt, is_shown, text=tables.prompt.c.text + LONG)
    lifecycle.open_study(opened, STUDY)
    yield opened
    opened.close()


@pytest.fixture
def hub():
    with provider() as one:
        yield one


class Saving:
    """Says of every visit that `number` of its answers are unsaved."""

    number: int | None = 0

    def note(self, token):
        pass

    def num_unsaved(self, token):
        return self.number


@pytest.fixture
def saving():
    return Saving()


@pytest.fixture
def address(store, tmp_path, hub, saving):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place = f"http://127.0.0.1:{listening.getsockname()[1]}/study"
        login = Login(hub.address, *CLIENT, place)
        api = Api(store, tmp_path / "secrets", login=login, saving=saving)
        server = Server(api, Pictures(tmp_path / "pictures"))
        config = uvicorn.Config(alone(server, []), log_level="error", lifespan="off")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"{place}/{STUDY}"
        running.should_exit = True
        thread.join()


@pytest.fixture
def visit(visitors, address):
    """Opens the page as a new visitor."""
    return lambda query="", **options: visitors(address + query, **options)


def begin(page):
    page.click("#agree")
    page.click("#begin")
    wait_for_pair(page, 0)
    return page


def wait_for_pair(page, num_done):
    page.locator("#count", has_text=re.compile(rf"^{num_done} of")).wait_for()
    page.locator("#questions button:enabled").first.wait_for()


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def vote(page, *keys):
    """Answer every pair by the same keys."""
    for done in range(5):
        wait_for_pair(page, done)
        press(page, *keys)


def side_of(vote):
    """Where the picture was that was chosen."""
    if vote.choice == "tie":
        return "tie"
    return "left" if vote.choice == vote.left_is else "right"


def test_a_study_is_voted_through_by_keys_alone(visit, store):
    page = visit()
    for step in ("#agree", "#begin"):
        page.locator(step).wait_for()
        page.locator(step).press("Enter")
    vote(page, "ArrowRight", "Enter", "2", "ArrowLeft", "1", "t", "Enter")
    code = page.locator("#code")
    code.wait_for()
    assert code.inner_text() == column(store, tables.rater.c.completion_code)[0]
    assert count(store, tables.vote) == 15
    sides = {(one.question, side_of(one)) for one in store.votes(STUDY)}
    assert sides == {("appeal", "right"), ("overall", "tie"), ("alignment", "left")}
    assert None not in column(store, tables.trial.c.shown_at)


def test_a_study_is_voted_through_by_touch_on_a_phone(visit, store):
    page = visit(**PHONE)
    page.tap("#agree")
    page.tap("#begin")
    for done in range(5):
        wait_for_pair(page, done)
        page.tap("#left")
        page.locator("#prompt").wait_for()  # with the last answer before it
        page.tap("fieldset:nth-of-type(1) [data-side=tie]")
        page.tap("[data-reason=both_bad]:visible")
        page.tap("#right")
        page.locator("figure.chosen #right").wait_for()
        assert not page.locator("#legend").is_visible()
        page.tap("#submit")
    page.wait_for_selector("#code")
    assert count(store, tables.vote) == 15
    assert set(column(store, tables.vote.c.viewport_width)) == {390}
    assert min(column(store, tables.vote.c.picture_size)) >= 160
    assert set(column(store, tables.vote.c.tie_reason)) == {None, "both_bad"}


def check_screen(page, at_least):
    """Both pictures are wholly in view, outside the bar of answers; Submit is in view."""
    assert page.evaluate("window.scrollY") == 0
    width, height = page.viewport_size["width"], page.viewport_size["height"]
    names = ("left", "right", "dock", "submit")
    left, right, bar, submit = (page.locator(f"#{name}").bounding_box() for name in names)
    for box in (left, right, bar, submit):
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= height
    is_upright = height > width
    place, size = ("y", "height") if is_upright else ("x", "width")
    assert left[place] + left[size] < right[place]
    assert right[place] + right[size] <= bar[place]
    assert left["width"] == right["width"] >= at_least
    assert page.locator("fieldset:not(.folded) .narrow:visible").count() == 2 * is_upright


@pytest.mark.parametrize(
    ("width", "height", "at_least"), [(390, 844, 240), (360, 640, 140), (844, 390, 240)]
)
def test_a_phone_shows_both_pictures_whole_above_or_beside_the_answers(
    visit, width, height, at_least
):
    page = begin(visit(viewport={"width": width, "height": height}, **TOUCH))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    check_screen(page, at_least)
    page.tap("#left")
    page.tap("[data-side=tie]")
    check_screen(page, at_least)
    page.tap("fieldset:nth-of-type(2) [data-side=right]")
    check_screen(page, at_least)
    # Two lines of a long text are shown; all of it after a tap.
    text = page.locator("#prompt")
    assert text.evaluate("text => text.clientHeight < text.scrollHeight")
    page.tap("#more")
    check_screen(page, at_least=90)
    assert text.evaluate("text => getComputedStyle(text).overflowY") == "auto"
    page.tap("#prompt")
    expect(page.locator("#more")).to_have_attribute("aria-expanded", "false")
    check_screen(page, at_least)


def test_the_prompt_is_nowhere_before_the_questions_without_it_are_answered(visit, store):
    page = begin(visit())
    prompts = column(store, tables.prompt.c.text)
    assert page.locator("fieldset").count() == 1
    text = page.locator("body").evaluate("node => node.textContent")
    assert not [prompt for prompt in prompts if re.search(rf"\b{prompt}\b", text)]
    assert page.locator("#submit").is_disabled()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#prompt").is_hidden()
    page.click("#submit")
    assert page.locator("#prompt").inner_text().removeprefix("Text: ") in prompts
    assert page.locator("fieldset").count() == 2
    assert count(store, tables.vote) == 0


def test_buttons_wait_for_both_pictures(visit, store):
    page = visit()
    held = []
    page.route("**/picture/*", lambda route: held.append(route))
    page.click("#agree")
    page.click("#begin")
    page.wait_for_selector("#trial:not([hidden])")
    while not held:
        page.wait_for_timeout(20)
    held.pop().continue_()
    while not held:
        page.wait_for_timeout(20)
    assert page.locator("#questions button:not(:disabled)").count() == 0
    assert page.locator("#submit").is_disabled()
    page.keyboard.press("ArrowLeft")
    assert page.locator("[aria-pressed=true]").count() == 0
    assert column(store, tables.trial.c.shown_at) == [None]
    held.pop(0).continue_()
    wait_for_pair(page, 0)
    page.unroute_all(behavior="ignoreErrors")


def test_a_closed_page_goes_on_where_it_was(visit, store):
    page = begin(visit())
    press(page, *ANSWER)
    wait_for_pair(page, 1)
    sources = "all => all.map(image => image.src)"
    pictures = page.locator("#pair img").evaluate_all(sources)
    assert len(pictures) == 2
    link, context = page.url, page.context
    page.close()
    for again in (visit(context=context), visit("#" + link.partition("#")[2])):
        wait_for_pair(again, 1)
        assert again.locator("#pair img").evaluate_all(sources) == pictures
    assert count(store, tables.rater) == 1


def test_a_vote_survives_a_server_that_does_not_answer(visit, store):
    page = begin(visit(is_strict=False))  # the console tells of the failed request
    lost = []

    def lose_the_first(route):
        if lost:
            route.continue_()
        else:
            lost.append(route)
            route.fetch()  # the server stores it, and the answer is lost on the way
            route.fulfill(status=503, content_type="text/plain", body="")

    page.route("**/api/vote", lose_the_first)
    press(page, *ANSWER)
    wait_for_pair(page, 1)
    assert lost
    assert count(store, tables.vote) == 3


def test_a_prolific_rater_who_declines_leaves_nothing_and_who_ends_goes_back_with_the_code(
    visit, store
):
    query = "?PROLIFIC_PID=5f0c&STUDY_ID=s&SESSION_ID=t"
    page = visit(query)
    page.click("#decline")
    assert page.locator("#message-link").get_attribute("href").endswith("cc=NOPE")
    assert count(store, tables.rater) == 0
    page = begin(visit(query))
    vote(page, *ANSWER)
    page.wait_for_selector("#return:visible")
    assert page.locator("#return").get_attribute("href").endswith("cc=C0DE")
    assert column(store, tables.rater.c.source) == ["prolific"]


def test_a_worker_of_mturk_hands_the_code_in_and_a_preview_cannot_begin(visit, store):
    preview = visit("?assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE&hitId=h")
    preview.wait_for_selector("#preview:visible")
    assert preview.locator("#agree").is_disabled()
    host = "https://workersandbox.mturk.com"
    page = begin(visit(f"?assignmentId=A1&hitId=h&workerId=W1&turkSubmitTo={host}"))
    vote(page, "s")
    page.wait_for_selector("#mturk:visible")
    form = page.locator("#mturk")
    assert form.get_attribute("action") == f"{host}/mturk/externalSubmit"
    values = [form.locator(f"[name={name}]").input_value() for name in ("assignmentId", "code")]
    assert values == ["A1", column(store, tables.rater.c.completion_code)[0]]


def test_focus_goes_left_right_tie_and_progress_is_announced(visit):
    page = begin(visit())
    sides = []
    for _ in range(3):
        page.keyboard.press("Tab")
        sides.append(page.evaluate("document.activeElement.dataset.side"))
    assert sides == ["left", "right", "tie"]
    page.keyboard.press("Enter")  # on a button it chooses
    assert page.locator("[data-side=tie]").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Enter")  # on what is chosen it goes on
    press(page, "1", "ArrowLeft", "2", "ArrowLeft", "Enter")
    wait_for_pair(page, 1)
    assert page.locator("#live").inner_text() == "Saved, 1 of 5."


def test_an_answer_is_called_saved_once_its_copy_has_arrived(visit, saving):
    saving.number = 1
    page = begin(visit(**PHONE))
    press(page, *ANSWER)
    wait_for_pair(page, 1)
    expect(page.locator("#saved")).to_contain_text("1 answer is not saved yet")
    assert page.locator("#live").inner_text() == "Answered, 1 of 5."
    wait_for_contrast(page)
    saving.number = 0
    expect(page.locator("#saved")).to_have_text("All your answers are saved.", timeout=20_000)
    saving.number = None
    press(page, *ANSWER)
    wait_for_pair(page, 2)
    expect(page.locator("#saved")).to_contain_text("lost if this server restarts")


def test_both_pictures_are_enlarged_at_the_same_place_and_the_next_pair_is_not(visit):
    page = begin(visit())
    frame = page.locator(".frame").first
    box = frame.bounding_box()
    frame.click(position={"x": box["width"] / 4, "y": box["height"] / 2})
    looks = page.locator(".frame img").evaluate_all(
        "all => all.map(image => [getComputedStyle(image).transform, image.style.transformOrigin])"
    )
    assert looks[0] == looks[1]
    assert looks[0][0].startswith("matrix(2.5")
    assert float(looks[0][1].partition("%")[0]) == pytest.approx(25, abs=1)
    press(page, *ANSWER)
    wait_for_pair(page, 1)
    zoom = page.locator("#zoom")
    expect(zoom).to_have_attribute("aria-pressed", "false")
    for pressed in ("true", "false"):
        page.keyboard.press("z")
        expect(zoom).to_have_attribute("aria-pressed", pressed)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_step_to_a_withdrawal_can_be_read_and_is_named(visit, store, scheme):
    page = visit(color_scheme=scheme)
    clicks = ["#agree", "#begin", "#questions [data-side=tie]", "#submit", "#withdraw", "#sure-no"]
    for click in [*clicks, "#withdraw"]:
        page.wait_for_selector(f"{click}:enabled")
        wait_for_contrast(page)
        assert nameless(page) == []
        page.click(click)
    assert column(store, tables.rater.c.status) == ["active"]
    page.click("#sure-yes")
    page.wait_for_selector("#message:visible")
    assert column(store, tables.rater.c.status) == ["withdrawn"]


def test_a_rater_logs_in_with_hugging_face_and_comes_back_to_the_study(visit, store, hub):
    page = begin(visit("?hf"))
    assert "/authorization" in hub.asked
    assert urlsplit(page.url).query == "hf"  # the code is gone from the address
    assert column(store, tables.rater.c.source) == ["hf"]
    forged = visit("?code=stolen&state=forged")
    expect(forged.locator("#agree")).to_be_visible()
    assert count(store, tables.rater) == 1
