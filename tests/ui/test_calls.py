"""What a call from outside the page reaches: nothing public, and no traceback."""

import asyncio

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


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """All pages as who sits at the machine has them; nothing is trained or drawn."""

    def refuse(*_, **__):
        raise DrawingError("Nothing is drawn here.")

    home = tmp_path_factory.mktemp("home")
    store = Store.open(home / "study.sqlite3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DrawingQueue, "submit", refuse)
        patch.setattr(Queue, "ensure_worker", lambda _: None)
        patch.setattr("rocm.runs.library.shutil.which", lambda _: None)
        for module in ("rocm.studio", "rocm.study.report.loop"):
            patch.setattr(f"{module}.detached", lambda *_, **__: None)
        yield build(Studio(home, votes=store), access("127.0.0.1", False, ""))
    store.close()


def logged(pages, values, events=(None,)):
    """Call handlers, with events those that read them; what Gradio would log, by handler."""
    state, request = SessionState(pages), Request(query_params={})

    async def call(fn, event):
        told = gr.EventData(None, event)
        try:
            await pages.process_api(fn, values(fn), state, request, event_data=told)
        except gr.Error as error:
            return error.message if error.print_exception else ""
        except Exception as error:  # noqa: BLE001, of whatever kind: Gradio logs it
            return repr(error)

    async def call_all():
        handlers = [fn for fn in pages.fns.values() if fn.fn]
        if events[0]:
            handlers = [fn for fn in handlers if fn.collects_event_data]
        calls = {(fn.api_name, str(one)): await call(fn, one) for fn in handlers for one in events}
        assert len(calls) >= 8
        return {at: words for at, words in calls.items() if words}

    return asyncio.run(call_all())


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
