"""What handlers of all pages share."""

from threading import Event

import gradio as gr

from rocm.storage.progress import counted
from rocm.ui.handlers import click_at_work


def test_a_button_at_work_says_how_much_is_done_and_then_the_result_comes():
    is_seen = Event()

    def act():
        for number in counted(range(3)):
            if number == 2:
                assert is_seen.wait(60)
        return gr.update(value="archive")

    with gr.Blocks() as page:
        button, output = gr.Button("Pack"), gr.Textbox()
        click_at_work(button, "Packing pictures", act, [], [output])
    said = next(one.fn for one in page.fns.values() if one.outputs == [button, output])()
    assert next(said) == {button: "Packing 2 of 3 pictures"}
    is_seen.set()
    assert list(said)[-1] == {output: gr.update(value="archive")}
