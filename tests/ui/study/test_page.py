"""What the Study page shows and to whom, asked of its functions and of the running server."""

import json
import socket
import urllib.request
from dataclasses import replace

import gradio as gr
import pytest
from rocm.ui.study.parts import build_view

from rocm.errors import RocmError
from rocm.studio import Studio
from rocm.study.server.app import PLACE
from rocm.study.service import WISHES, PairView, StudyDesk, Widths
from rocm.study.store.store import Store
from rocm.ui.access import access
from rocm.ui.app import CLOSED, build
from rocm.ui.study import view as study_view
from rocm.ui.study.form import build_form, wish
from rocm.ui.study.page import Handlers
from tests.study.small import STUDY, fill
from tests.ui.test_access import post

ACTIONS = [
    *("study_demo", "study_build", "study_build_text", "study_go_on", "study_cancel"),
    *("study_pause", "study_resume", "study_sure"),
    "study_restore",
]


@pytest.fixture
def studio(tmp_path):
    return Studio(tmp_path)


@pytest.fixture
def desk(tmp_path, studio):
    store = Store.open(tmp_path / "study.sqlite3")
    yield StudyDesk(tmp_path, store, studio.generation.queue)
    store.close()


@pytest.fixture
def served(studio, desk):
    """The page where a token is asked for; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = build(studio, access("0.0.0.0", False, "secret"), desk)
    _, url, _ = page.launch(server_port=port, prevent_thread_lock=True, quiet=True, **CLOSED)
    yield url
    page.close()


@pytest.fixture
def parts(studio, desk):
    rule = access("0.0.0.0", False, "secret")
    with gr.Blocks() as page:
        token = gr.Textbox()
        form = build_form(studio.comparisons)
        view, _, screening = build_view(token, rule)
    assert page
    return Handlers(desk, studio.comparisons, rule, form, view, screening), view, form


def draft(desk):
    fill(desk._store)
    return STUDY


@pytest.mark.filterwarnings("ignore")
def test_without_the_token_nobody_acts_on_a_study(served, desk):
    with urllib.request.urlopen(f"{served}config") as answer:
        config = json.load(answer)
    values = {item["id"]: item["props"].get("value") for item in config["components"]}
    entries = {entry["api_name"]: entry for entry in config["dependencies"]}
    for name in ACTIONS:
        data = [values.get(number) for number in entries[name]["inputs"]]
        status, text = post(served, name, ["wrong", *data[1:]])
        assert (status, "token is not right" in text) == (200, True), name
    assert desk.studies() == []


def test_where_nobody_may_train_there_is_no_study_page(studio, desk):
    public = build(studio, access("0.0.0.0", False, ""), desk)
    named = {function.api_name for function in public.fns.values()}
    assert not named & set(ACTIONS)


def test_without_the_token_nobody_sees_a_study(parts, desk):
    handlers, view, _ = parts
    study_id = draft(desk)
    for changes in (
        handlers._poll("wrong", study_id, "http://x/", ("seen",)),
        handlers._choose("", "http://x/", gr.EventData(None, {"study": study_id})),
    ):
        assert study_id not in str(list(changes.values()))
        assert changes[view.state] == study_view.NO_TOKEN
    assert study_id in handlers._poll("secret", study_id, "http://x/", ())[view.studies]


def test_a_poll_on_its_way_does_not_undo_a_choice(parts, desk):
    handlers, view, _ = parts
    draft(desk)
    assert view.selected not in handlers._poll("secret", "", "http://x/", ())
    shown = handlers._shown(STUDY, "http://x/")
    assert shown[view.selected] == STUDY
    again = handlers._poll("secret", STUDY, "http://x/", shown[view.seen])
    assert list(again) == [view.seen]  # nothing is new, so nothing is sent


def test_buttons_and_links_are_those_of_the_state(parts, desk):
    handlers, view, _ = parts
    draft(desk)

    def visible():
        shown = handlers._shown(STUDY, "http://x/")
        names = "open pause resume close pack link pilot draft_box delete invite_box".split()
        return {name for name in names if shown[getattr(view, name)]["visible"]}, shown

    assert visible()[0] == {"open", "pilot", "draft_box", "delete", "invite_box"}
    desk.open(STUDY)
    names, shown = visible()
    assert names == {"pause", "close", "pack", "link", "pilot", "invite_box"}
    assert shown[view.link]["value"] == f"http://x{PLACE}/{STUDY}"
    assert shown[view.pilot]["value"] == f"http://x{PLACE}/{STUDY}?pilot"
    desk.pause(STUDY)
    assert visible()[0] == {"resume", "close", "pack", "link", "pilot", "invite_box"}
    desk.close(STUDY)
    assert visible()[0] == {"pack"}


def test_what_is_agreed_to_happens_to_the_study_that_was_asked_about(parts, desk):
    handlers, view, _ = parts
    draft(desk)
    asked = handlers._asker("open")("secret", STUDY, "http://x/", 5)
    assert "6 pairs, 0 struck" in asked[view.asked]
    handlers._agreed("0" * 12, asked[view.pending])
    assert desk.look(STUDY).state == "open"
    assert "6 more raters" in handlers._asker("more")("secret", STUDY, "", 6)[view.asked]


def test_invitations_are_shown_once_and_take_the_open_links_place(parts, desk):
    handlers, view, _ = parts
    draft(desk)
    desk.open(STUDY)
    asked = handlers._asker("invite")("secret", STUDY, "http://x/", 2)
    assert "cannot be undone" in asked[view.asked]
    links = handlers._agreed(STUDY, asked[view.pending])[view.invitations]["value"].split()
    assert all(one.startswith(f"http://x{PLACE}/{STUDY}#invite=") for one in links)
    later = handlers._shown(STUDY, "http://x/")
    assert (len(set(links)), later[view.link]["visible"]) == (2, False)
    assert "2 invitations: nobody else comes in" in later[view.state]
    assert not any(one.partition("=")[2] in str(later.values()) for one in links)
    with pytest.raises(RocmError, match="no number of raters"):
        handlers._asker("invite")("secret", STUDY, "http://x/", None)


def test_a_deleted_draft_is_in_the_bin_until_that_is_emptied(parts, desk):
    handlers, view, _ = parts
    draft(desk)
    asked = handlers._asker("delete")("secret", STUDY, "http://x/", 5)
    handlers._agreed("0" * 12, asked[view.pending])
    assert STUDY not in handlers._shown(STUDY, "http://x/")[view.studies]
    assert handlers._look_into_bin("secret")["value"] == STUDY
    assert STUDY not in str(handlers._look_into_bin("wrong"))
    assert handlers._take_back("", STUDY) == STUDY
    assert desk.look(STUDY).state == "draft"
    handlers._agreed(STUDY, ("delete", STUDY, 5, ""))
    asked = handlers._asker("empty")("secret", "", "http://x/", 5)
    handlers._agreed("", asked[view.pending])
    with pytest.raises(RocmError, match="The bin is empty"):
        handlers._asker("empty")("secret", "", "http://x/", 5)


def test_the_forms_values_become_a_wish(parts):
    _, _, form = parts
    values = {name: form.wishes[name].value for name in WISHES}
    assert list(form.wishes.keys() - set(WISHES)) == []
    found = wish(tuple(values[name] for name in WISHES))
    assert found.arms[0].startswith("assets/adapters/")
    assert replace(found, title="x").title == "x"


def test_prompts_titles_and_reasons_are_never_html():
    evil = "<img src=x onerror=alert(1)>"
    row = PairView(3, "main", evil, evil, "a" * 32, "b" * 32)
    for is_draft in (True, False):
        grid = study_view.pair_grid([row], 0, 1, is_draft)
        assert evil not in grid
        assert ("data-pair" in grid) == is_draft
    assert f'{study_view.VOTES}/picture/{"a" * 32}"' in study_view.pair_grid([row], 0, 1, True)


def test_an_effect_is_a_width_in_points_or_said_to_be_unknown():
    assert "10 points wide as planned, and 8 with 5 more" in study_view.effect(
        Widths(0.2, 0.1, 0.08), 5
    )
    assert "and 20 if you close now" in study_view.effect(Widths(0.2, 0.1, 0.08))
    assert "too few to foretell" in study_view.effect(Widths(None, None, None))
