"""Checking a study's pairs before it opens: as pictures, without the arms' names."""

from typing import Any

import gradio as gr
from pydantic import BaseModel, Field

from rocm.storage.paths import ROOT
from rocm.study.design import lifecycle
from rocm.study.service import KINDS, Studies
from rocm.ui.access import Access
from rocm.ui.handlers import QUIET, in_words, told
from rocm.ui.study import view

SCRIPT = ROOT / "assets" / "pairs.js"
LABELS = {"main": "Main", "excluded": "Excluded", "practice": "Practice", "checks": "Checks",
          "all": "All"}  # fmt: skip
REASONS = ["unsuitable for raters", "shows text", "unclear prompt", "both pictures are broken"]
HELP = """<div class="subtle">Exclude pairs that raters should not see. The reason is kept in the
manifest. Names of arms are hidden, so that the selection favors no arm.</div>"""


class PressedPair(BaseModel):
    """The pair whose button is pressed: to be excluded, or included again."""

    pair: int = Field(ge=0, lt=2**53)
    is_back: bool


def build_screening(
    studies: Studies, access: Access, token: gr.Textbox, selected: gr.State, phase: gr.State
) -> None:
    """Make this part of the page, with its handlers; `phase` changes with study or state."""
    gr.HTML("<h2>Check the pairs</h2>", elem_classes="overline")
    gr.HTML(HELP)
    with gr.Row():
        kind = gr.Radio(
            [(LABELS[name], name) for name in KINDS], value="main", label="Pairs", scale=3,
            elem_id="pairs_kind",
        )  # fmt: skip
        reason = gr.Dropdown(
            REASONS,
            value=REASONS[0],
            allow_custom_value=True,
            label="Reason for exclusion",
            info="Choose or type a reason.",
            scale=2,
            min_width=220,
            elem_id="pairs_reason",
        )
    grid = gr.HTML(
        js_on_load=SCRIPT.read_text(encoding="utf-8"), apply_default_css=False,
        elem_id="study_pairs",
    )  # fmt: skip
    with gr.Row(elem_classes="buttons"):
        looks: dict[str, Any] = {"size": "md", "min_width": 96, "scale": 0}
        before = gr.Button("Previous", elem_id="pairs_before", **looks)
        after = gr.Button("Next", elem_id="pairs_after", **looks)
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
    gr.on(changes, in_words(lambda t, s, k, _: show(t, s, k, 0)), asked, **outputs)
    before.click(in_words(lambda t, s, k, page: show(t, s, k, page - 1)), asked, **outputs)
    after.click(in_words(lambda t, s, k, page: show(t, s, k, page + 1)), asked, **outputs)
    grid.strike(in_words(strike), [*asked, reason], **outputs)
