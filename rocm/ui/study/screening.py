"""Checking a study's pairs before it opens: as pictures, without the arms' names."""

from typing import Any

import gradio as gr
from pydantic import BaseModel, Field

from rocm.study.design import lifecycle
from rocm.study.service import KINDS, Studies
from rocm.ui.access import Access
from rocm.ui.controls import Kept
from rocm.ui.handlers import QUIET, asset, named, small_button, told
from rocm.ui.study import view

REASONS = ["unsuitable for raters", "shows text", "unclear prompt", "both pictures are broken"]
HELP = """<div class="subtle">Exclude pairs that raters should not see. The reason is kept in the
manifest. Names of arms are hidden, so that the selection favors no arm.</div>"""


class PressedPair(BaseModel):
    """The pair whose button is pressed: to be excluded, or included again."""

    pair: int = Field(ge=0, lt=2**53)
    is_back: bool


def build_screening(
    studies: Studies, access: Access, token: gr.Textbox, selected: Kept, phase: gr.State
) -> None:
    """Make this part of the page, with its handlers; `phase` changes with study or state."""
    gr.HTML("<h2>Check the pairs</h2>", elem_classes="overline")
    gr.HTML(HELP)
    with gr.Row():
        kinds = [(name.capitalize(), name) for name in KINDS]
        kind = gr.Radio(kinds, value="main", scale=3, **named("pairs_kind", "Pairs"))
        words = named("pairs_reason", "Reason for exclusion", "Choose or type a reason.")
        words |= {"allow_custom_value": True, "scale": 2, "min_width": 220}
        reason = gr.Dropdown(REASONS, value=REASONS[0], **words)
    script = {"js_on_load": asset("pairs.js"), "apply_default_css": False}
    grid = gr.HTML(elem_id="study_pairs", **script)
    with gr.Row(elem_classes="buttons"):
        before = small_button("Previous", "pairs_before")
        after = small_button("Next", "pairs_after")
    number = gr.State(0)

    def show(given: str, study_id: str, shown: str, page: int) -> tuple[str, int]:
        if not study_id or not access.allows(given):
            return "", 0
        rows, num_pages = studies.pairs(study_id, shown, page)
        page = min(max(page, 0), num_pages - 1)
        is_draft = studies.details(study_id).state == "draft"
        return view.pair_grid(rows, page, num_pages, is_draft), page

    def strike(
        given: str, study_id: str, shown: str, page: int, why: Any, event: gr.EventData
    ) -> tuple[str, int]:
        access.check(given)
        pressed = told(event, PressedPair)
        words = None if pressed.is_back else str(why or "")
        lifecycle.strike(studies.store, study_id, pressed.pair, words)
        return show(given, study_id, shown, page)

    asked = [token, selected, kind, number]
    outputs = {"outputs": [grid, number], **QUIET}
    changes = [kind.change, phase.change]
    gr.on(changes, lambda t, s, k, _: show(t, s, k, 0), asked, **outputs)
    before.click(lambda t, s, k, page: show(t, s, k, page - 1), asked, **outputs)
    after.click(lambda t, s, k, page: show(t, s, k, page + 1), asked, **outputs)
    grid.strike(strike, [*asked, reason], **outputs)
