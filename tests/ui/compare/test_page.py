"""What the Compare page hands out and to whom, asked of its functions and of the running server."""

import gradio as gr
import pytest

from rocm.algorithms.intervals import Interval
from rocm.evaluation.request import Request
from rocm.evaluation.store import Comparisons
from rocm.evaluation.table import ComparisonTable, Row
from rocm.generation.queue import DrawingQueue
from rocm.ui.access import access
from rocm.ui.compare.form import request_of, values_of
from rocm.ui.compare.page import ComparePage, servers
from rocm.ui.compare.view import table_html


@pytest.fixture
def comparisons(tmp_path):
    return Comparisons(tmp_path, DrawingQueue(tmp_path / "log.txt"))


def test_a_form_gives_back_the_request_that_filled_it():
    request = Request(
        ("base", "run:x"), ("one", "two"), 3, 2, 8, 7.5, "assets/tiny-lcm", "adapter_strength",
        (0.5, 1.0), ("tiny-clip",),
    )  # fmt: skip
    assert request_of(values_of(request).values()) == request


def test_what_is_gone_is_nothing_for_the_script_and_a_sentence_once_for_the_page(comparisons):
    for ask, asked in zip(servers(comparisons), ({}, {"after": 0}, {"indices": [0]}), strict=True):
        assert not any(ask({"key": "0123456789abcdef", **asked}) or [])
        assert not any(ask({"key": "../../etc", **asked}) or [])
    with gr.Blocks():
        page = ComparePage(comparisons, access("127.0.0.1", False, ""))
    changes = page._poll("0123456789abcdef", "")
    assert "There is no comparison" in changes[page._view["state"]]
    assert not changes[page._view["timer"]].active


def test_a_difference_is_bold_only_where_its_interval_leaves_out_zero():
    def row(title, low, high):
        mean = Interval(0.5, 0.4, 0.6, 9, "prompts")
        difference = Interval((low + high) / 2, low, high, 9, "prompts")
        return Row(title, ("a",), False, {"a": mean}, {"a": difference})

    rows = (row("<b>sure</b>", 0.1, 0.3), row("unsure", -0.1, 0.3), row("sure", -0.3, -0.1))
    text = table_html(ComparisonTable(("a",), "", rows, 9, 1))
    assert text.count('class="sure"') == 2
    assert "<b>sure</b>" not in text
    assert text.count('<td class="trained">') == 3


@pytest.mark.filterwarnings("ignore")
def test_in_public_folders_of_the_machine_are_refused_and_no_zip_is_made(serve, tmp_path):
    page = serve(access("0.0.0.0", False, ""))
    assert "_pack" not in page.inputs
    assert "_pack" in serve(access("127.0.0.1", False, "")).inputs
    for name, changed in (
        ("_compare", {"compare_arms": [str(tmp_path)]}),
        ("_compare_all", {"compare_model": "/etc"}),
    ):
        assert "event: error" in page.call(name, changed)[1]
    assert "event: error" in page.post("_fill", ["/etc/passwd", 3, 0])[1]
    assert not (tmp_path / "comparisons").exists()
