"""What handlers of all pages share."""

from threading import Event

import gradio as gr
import pytest

from rocm.storage.progress import counted
from rocm.ui.handlers import click_at_work


def handler_of(act):
    """The handler behind a button that packs pictures, the button, and what it changes."""
    with gr.Blocks() as page:
        button, output = gr.Button("Pack"), gr.Textbox()
        click_at_work(button, "Packing pictures", act, [], [output])
    function = next(one for one in page.fns.values() if one.outputs == [button, output])
    return function.fn, button, output


def test_a_button_at_work_says_how_much_is_done_and_then_the_result_comes():
    is_seen = Event()

    def act():
        for number in counted(range(3)):
            if number == 2:
                assert is_seen.wait(60)
        return gr.update(value="archive")

    handle, button, output = handler_of(act)
    said = handle()
    assert next(said) == {button: "Packing 2 of 3 pictures"}
    is_seen.set()
    assert list(said)[-1] == {output: gr.update(value="archive")}


def test_an_error_at_work_reaches_the_visitor():
    def act():
        raise gr.Error("The disk is full.")

    handle, _, _ = handler_of(act)
    with pytest.raises(gr.Error, match="full"):
        list(handle())
