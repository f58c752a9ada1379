"""What the drawing page gives to whom, asked of the running server."""

import json
import urllib.request

import gradio as gr
import pytest

from rocm.generation.orders import MAX_ORDERED, MAX_ORDERED_PUBLIC, Orders
from rocm.generation.queue import DrawingQueue
from rocm.ui.access import access
from rocm.ui.generate.page import GenerateHandlers, _build_form, _build_view
from tests.ui.test_access import post, serve  # noqa: F401, a fixture


def drawing_call(url):
    """Name and plain arguments of the page's draw endpoint, and the largest order it offers."""
    with urllib.request.urlopen(f"{url}config") as answer:
        config = json.load(answer)
    parts = {item["id"]: item["props"] for item in config["components"]}
    entry = next(one for one in config["dependencies"] if one["api_name"] == "_draw")
    data = [parts[number].get("value") for number in entry["inputs"]]
    most = next(one["maximum"] for one in parts.values() if one.get("elem_id") == "num_pictures")
    return data, most


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("host", "token"), [("0.0.0.0", ""), ("127.0.0.1", "secret")])
def test_in_public_a_call_that_skips_the_page_draws_nothing_and_sees_nothing(
    serve,  # noqa: F811
    tmp_path,
    host,
    token,
):
    url = serve(access(host, False, token))
    data, most = drawing_call(url)
    assert most == MAX_ORDERED_PUBLIC
    assert "Reload" in post(url, "_draw", data)[1]
    assert not list((tmp_path / "generated").rglob("entry.json"))


@pytest.mark.filterwarnings("ignore")
def test_in_private_the_page_offers_larger_orders(serve):  # noqa: F811
    assert drawing_call(serve(access("127.0.0.1", False, "")))[1] == MAX_ORDERED


def test_a_drawing_deleted_elsewhere_is_said_once_and_no_more_asked_for(tmp_path):
    orders = Orders(tmp_path, DrawingQueue(tmp_path / "log.txt"))
    with gr.Blocks() as page:
        form, draw = _build_form(tmp_path / "runs", False)
        view = _build_view(draw)
        parts = GenerateHandlers(orders, tmp_path / "runs", form, view, gr.State(""))
    assert page
    changes = parts._poll("", "20260101-000000-000000-abcd", "")
    assert not changes[view.timer].active
    assert changes[view.shown] == ""
    assert "There is no drawing" in changes[view.drawing]
