"""What the drawing page gives to whom, asked of the running server."""

import gradio as gr
import pytest

from rocm.generation.orders import Orders
from rocm.generation.queue import DrawingQueue
from rocm.ui.access import access
from rocm.ui.generate.page import GeneratePage


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("host", "token"), [("0.0.0.0", ""), ("127.0.0.1", "secret")])
def test_in_public_a_call_that_skips_the_page_draws_nothing_and_sees_nothing(
    serve, tmp_path, host, token
):
    page = serve(access(host, False, token))
    assert "Reload" in page.call("_draw")[1]
    assert not list((tmp_path / "generated").rglob("entry.json"))


def test_a_drawing_deleted_elsewhere_is_said_once_and_no_more_asked_for(tmp_path):
    orders = Orders(tmp_path, DrawingQueue(tmp_path / "log.txt"))
    with gr.Blocks():
        page = GeneratePage(orders, tmp_path / "runs", access("127.0.0.1", False, ""))
    changes = page._poll("", "20260101-000000-000000-abcd", "")
    assert not changes[page._view["timer"]].active
    assert changes[page._view["shown"]] == ""
    assert "There is no drawing" in changes[page._view["drawing"]]
