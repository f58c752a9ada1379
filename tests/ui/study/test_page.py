"""What the Study page shows and to whom, asked of its functions and of the running server."""

import gradio as gr
import pytest

from rocm.errors import RocmError
from rocm.studio import Studio
from rocm.study import service
from rocm.study.design import lifecycle
from rocm.study.server.app import PLACE
from rocm.study.service import PairRow
from rocm.study.store.store import Store
from rocm.ui.access import access
from rocm.ui.study import view
from rocm.ui.study.page import StudyPage
from tests.study.small import STUDY, fill

RULE = access("0.0.0.0", False, "secret")
SHOWN = "open pause resume close pack link pilot draft_box delete invite_box".split()


@pytest.fixture
def studio(tmp_path):
    store = Store.open(tmp_path / "study.sqlite3")
    yield Studio(tmp_path, votes=store)
    store.close()


@pytest.fixture
def studies(studio):
    return studio.studies


@pytest.fixture
def page(studio, studies):
    """The page's handlers, over a draft."""
    fill(studies.store)
    with gr.Blocks():
        yield StudyPage(studies, studio.comparisons, RULE)


@pytest.fixture
def panel(page):
    return page._panel


def ask(page, name, num=5, study=STUDY):
    """Press a button that asks first."""
    return page._asker(name)("secret", study, "http://x/", num)


def test_without_the_token_nobody_sees_a_study(page, panel):
    for changes in (
        page._poll("wrong", STUDY, "http://x/", ("seen",)),
        page._choose("", "http://x/", gr.EventData(None, {"study": STUDY})),
    ):
        assert STUDY not in str(list(changes.values()))
        assert changes[panel["state"]] == view.NO_TOKEN
    assert STUDY in page._poll("secret", STUDY, "http://x/", ())[panel["studies"]]


def test_numbers_of_an_untouched_form_are_those_of_its_recipe(page):
    typed = dict.fromkeys(("consent.contact", "consent.ethics", "consent.pay"), "somewhere")
    first = {name: part.value for name, part in page._form.fields.items()}
    values = first | typed | {"consent.retention": "a year"}
    used = page._recipe(tuple(values.values())).model_dump()
    for name, part in page._form.fields.items():
        group, _, key = name.rpartition(".")
        if isinstance(part, gr.Number) and group != "arms":
            assert part.value == (used[group] if group else used)[key], name


def test_a_poll_does_not_undo_a_choice(page, panel):
    shown = page._shown(STUDY, "http://x/")
    assert shown[panel["selected"]] == STUDY
    assert list(page._poll("secret", "", "http://x/", shown[panel["seen"]])) == [panel["seen"]]
    again = page._poll("secret", STUDY, "http://x/", shown[panel["seen"]])
    assert list(again) == [panel["seen"]]  # nothing is new, so nothing is sent


def test_buttons_and_links_are_those_of_the_state(page, panel, studies):
    def visible():
        shown = page._shown(STUDY, "http://x/")
        return {name for name in SHOWN if shown[panel[name]]["visible"]}, shown

    running = {"close", "pack", "link", "pilot", "invite_box"}
    assert visible()[0] == {"open", "pilot", "draft_box", "delete", "invite_box"}
    studies.open(STUDY)
    names, shown = visible()
    assert names == running | {"pause"}
    assert shown[panel["link"]]["value"] == f"http://x{PLACE}/{STUDY}"
    assert shown[panel["pilot"]]["value"] == f"http://x{PLACE}/{STUDY}?pilot"
    lifecycle.pause(studies.store, STUDY)
    assert visible()[0] == running | {"resume"}
    lifecycle.close(studies.store, STUDY)
    assert visible()[0] == {"pack"}


def test_a_study_that_another_process_draws_offers_nothing(page, panel, monkeypatch):
    monkeypatch.setattr(service, "is_drawn_elsewhere", lambda home, study_id: True)
    shown = page._shown(STUDY, "http://x/")
    assert not any(shown[panel[name]]["visible"] for name in (*SHOWN, "cancel", "go_on"))
    assert "Resume build" not in shown[panel["state"]]


def test_a_confirmed_action_goes_to_the_study_of_the_question(page, panel, studies):
    asked = ask(page, "open")
    assert "with 6 pairs?" in asked[panel["asked"]]
    page._confirmed("0" * 12, asked[panel["pending"]])
    assert studies.details(STUDY).state == "open"
    assert "6 raters" in ask(page, "more", 6)[panel["asked"]]


def test_invitations_are_shown_once_and_replace_the_open_link(page, panel, studies):
    studies.open(STUDY)
    asked = ask(page, "invite", 2)
    assert "cannot be undone" in asked[panel["asked"]]
    links = page._confirmed(STUDY, asked[panel["pending"]])[panel["invitations"]]["value"].split()
    assert all(link.startswith(f"http://x{PLACE}/{STUDY}#invite=") for link in links)
    later = page._shown(STUDY, "http://x/")
    assert (len(set(links)), later[panel["link"]]["visible"]) == (2, False)
    assert "invitations: 2" in later[panel["state"]]
    assert not any(link.partition("=")[2] in str(later.values()) for link in links)
    with pytest.raises(RocmError, match="not a number of raters"):
        ask(page, "invite", None)


def test_a_deleted_draft_can_be_restored(page, panel, studies):
    page._confirmed("0" * 12, ask(page, "delete")[panel["pending"]])
    assert STUDY not in page._shown(STUDY, "http://x/")[panel["studies"]]
    assert page._look_into_bin("secret")["value"] == STUDY
    assert STUDY not in str(page._look_into_bin("wrong"))
    assert page._restore("", STUDY) == STUDY
    assert studies.details(STUDY).state == "draft"


def test_prompts_titles_and_reasons_are_never_html():
    evil = "<img src=x onerror=alert(1)>"
    row = PairRow(3, "main", evil, evil, "a" * 32, "b" * 32)
    for is_draft in (True, False):
        grid = view.pair_grid([row], 0, 1, is_draft)
        assert evil not in grid
        assert ("data-pair" in grid) == is_draft
        assert f'{view.VOTES}/picture/{"a" * 32}"' in grid
