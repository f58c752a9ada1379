"""What a call from outside reaches: nothing public, no traceback, nothing without the token."""

import asyncio
import re

import gradio as gr
import pytest
from gradio.route_utils import Request
from gradio.state_holder import SessionState

from rocm.errors import DrawingError
from rocm.generation.queue import DrawingQueue
from rocm.runs.library import Runs
from rocm.runs.queue import Queue
from rocm.studio import Studio
from rocm.study.store.store import Store
from rocm.ui.access import access
from rocm.ui.app import build

TOLD = ("run", "runs", "pair", "is_back", "entry", "study", "text")
EVENTS = [[1], dict.fromkeys(TOLD, 5.5), dict.fromkeys(TOLD, "nothing")]
VALUES = {
    "as the page": lambda fn: [getattr(block, "value", None) for block in fn.inputs],
    "empty": lambda fn: [None for _ in fn.inputs],
    "another type": lambda fn: [{"a": 1} for _ in fn.inputs],
    "out of bounds": lambda fn: [-7 for _ in fn.inputs],
    "too few": lambda fn: [],
}
# Handlers that say nothing without the token, instead of refusing.
LOOKING = {"describe", "say", "lambda", "_enter", "_poll", "_choose", "_look_into_bin"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def build_pages(home):
    """Makes all pages under a rule; nothing is trained or drawn."""

    def refuse(*_, **__):
        raise DrawingError("Nothing is drawn here.")

    store = Store.open(home / "study.sqlite3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DrawingQueue, "submit", refuse)
        patch.setattr(Queue, "ensure_worker", lambda _: None)
        patch.setattr("rocm.runs.library.shutil.which", lambda _: None)
        for module in ("rocm.studio", "rocm.study.report.loop"):
            patch.setattr(f"{module}.detached", lambda *_, **__: None)
        yield lambda *rule: build(Studio(home, votes=store), access(*rule))
    store.close()


@pytest.fixture(scope="module")
def pages(build_pages):
    """As who sits at the machine has them."""
    return build_pages("127.0.0.1", False, "")


def outcomes(pages, values, handlers, events=(None,)):
    """Call handlers; the error that each ends with, or None, by its name and event."""
    state, request = SessionState(pages), Request(query_params={})

    async def call(fn, event):
        told = gr.EventData(None, event)
        try:
            await pages.process_api(fn, values(fn), state, request, event_data=told)
        except Exception as error:  # noqa: BLE001, of whatever kind: Gradio logs it
            return error

    async def call_all():
        calls = [(fn, event) for fn in handlers for event in events]
        return {(fn.api_name, str(event)): await call(fn, event) for fn, event in calls}

    return asyncio.run(call_all())


def logged(pages, values, events=(None,)):
    """Call all handlers, with events those that read them; what Gradio would log, by handler."""
    handlers = [
        fn for fn in pages.fns.values() if fn.fn and (fn.collects_event_data or not events[0])
    ]
    errors = outcomes(pages, values, handlers, events)
    assert len(errors) >= 8
    is_told = lambda error: isinstance(error, gr.Error) and not error.print_exception  # noqa: E731
    return {at: repr(error) for at, error in errors.items() if error and not is_told(error)}


def takes_token(fn):
    """For each input of a handler, whether it is an admin token."""
    return [(getattr(part, "elem_id", None) or "").endswith("token") for part in fn.inputs]


def test_no_handler_of_the_pages_is_a_public_interface(pages):
    info = pages.get_api_info(all_endpoints=True)
    assert (info["named_endpoints"], info["unnamed_endpoints"]) == ({}, {})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*VALUES, "events that the page cannot know"])
def test_no_call_from_outside_writes_a_traceback_into_the_log(pages, name):
    events = (None,) if name in VALUES else EVENTS
    assert logged(pages, VALUES.get(name, VALUES["as the page"]), events) == {}


def test_a_fault_of_our_own_is_still_logged(pages, monkeypatch):
    monkeypatch.setattr(Runs, "all", lambda _: 1 / 0)
    assert "ZeroDivisionError" in logged(pages, VALUES["as the page"])["poll", "None"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("token", [None, "wrong"])
def test_without_the_token_every_handler_refuses_or_says_nothing(build_pages, home, token):
    pages, before = build_pages("0.0.0.0", False, "secret"), sorted(home.rglob("*"))

    def values(fn):
        own = VALUES["as the page"](fn)
        return [
            token if is_token else one for one, is_token in zip(own, takes_token(fn), strict=True)
        ]

    handlers = [fn for fn in pages.fns.values() if fn.fn and any(takes_token(fn))]
    errors = outcomes(pages, values, handlers)
    refused = {name for (name, _), error in errors.items() if error}
    assert all("token" in str(error) for error in errors.values() if error)
    assert {"start", "stop", "delete", "study_sure", "strike", "_teach", "go_on"} <= refused
    quiet = {re.sub(r"_\d+$", "", name) for name, _ in errors if name not in refused}
    assert quiet <= LOOKING
    assert sorted(home.rglob("*")) == before


def test_where_training_is_off_nothing_that_asks_for_a_token_exists(build_pages):
    handlers = build_pages("0.0.0.0", False, "").fns.values()
    assert not [fn.api_name for fn in handlers if any(takes_token(fn))]
    assert not {fn.api_name for fn in handlers} & {"start", "stop", "export", "study_demo"}
