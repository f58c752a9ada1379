"""Looking through a study's pairs before it opens: as pictures, without the arms' names."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from pydantic import BaseModel, Field

from rocm.storage.paths import ROOT
from rocm.study.service import StudyDesk
from rocm.ui.access import Access
from rocm.ui.handlers import QUIET, in_words, told
from rocm.ui.study import view

SCRIPT = ROOT / "assets" / "pairs.js"
KINDS = ["to be voted on", "struck", "practice", "checks", "all"]
REASONS = ["unsuitable for raters", "shows text", "the prompt is unclear", "both are broken"]


class StruckPair(BaseModel):
    """The pair whose button is pressed: struck, or taken in again."""

    pair: int = Field(ge=0, lt=2**53)
    is_back: bool


@dataclass(frozen=True)
class Screening:
    """The pairs and what they are chosen by."""

    kind: gr.Radio
    reason: gr.Dropdown
    before: gr.Button
    after: gr.Button
    page: gr.State
    grid: gr.HTML

    def wire(
        self,
        desk: StudyDesk,
        access: Access,
        token: gr.Textbox,
        selected: gr.State,
        phase: gr.State,
    ) -> None:
        """Bind the handlers to their events.

        Args:
            desk: the studies.
            access: that allows.
            token: that is asked for.
            selected: the study that is looked at.
            phase: that changes when another study, or another state of it, is looked at.
        """

        def show(given: str, study_id: str, kind: str, page: int) -> tuple[str, int]:
            if not study_id or not access.allows(given):
                return "", 0
            rows, num_pages = desk.pairs(study_id, kind, page)
            page = min(max(page, 0), num_pages - 1)
            is_draft = desk.look(study_id).state == "draft"
            return view.pair_grid(rows, page, num_pages, is_draft), page

        def strike(
            given: str, study_id: str, kind: str, page: int, reason: Any, event: gr.EventData
        ) -> tuple[str, int]:
            access.check(given)
            pressed = told(event, StruckPair)
            desk.strike(study_id, pressed.pair, None if pressed.is_back else str(reason or ""))
            return show(given, study_id, kind, page)

        asked = [token, selected, self.kind, self.page]
        shown = {"outputs": [self.grid, self.page], **QUIET}
        gr.on(
            [self.kind.change, phase.change],
            in_words(lambda *at: show(*at[:3], 0)),
            asked,
            **shown,
        )
        self.before.click(in_words(lambda *at: show(*at[:3], at[3] - 1)), asked, **shown)
        self.after.click(in_words(lambda *at: show(*at[:3], at[3] + 1)), asked, **shown)
        self.grid.strike(in_words(strike), [*asked, self.reason], **shown)


def build_screening() -> Screening:
    """Make the part of the page.

    Returns:
        Its controls, made in the current Gradio block.
    """
    gr.HTML("<h2>Look through the pairs</h2>", elem_classes="overline")
    gr.HTML(
        '<div class="subtle">Strike what raters should not see. Both pictures go together, the '
        "reason stays in the manifest, and no arm is named here, so that none is favoured.</div>"
    )
    with gr.Row():
        kind = gr.Radio(KINDS, value=KINDS[0], label="Pairs", scale=3, elem_id="pairs_kind")
        reason = gr.Dropdown(
            REASONS,
            value=REASONS[0],
            allow_custom_value=True,
            label="Reason for striking",
            info="Choose or type one.",
            scale=2,
            min_width=220,
            elem_id="pairs_reason",
        )
    grid = gr.HTML(
        js_on_load=SCRIPT.read_text(encoding="utf-8"), apply_default_css=False,
        elem_id="study_pairs",
    )  # fmt: skip
    with gr.Row(elem_classes="buttons"):
        looks = {"size": "md", "min_width": 96, "scale": 0}
        before = gr.Button("Earlier pairs", elem_id="pairs_before", **looks)
        after = gr.Button("Later pairs", elem_id="pairs_after", **looks)
    return Screening(kind, reason, before, after, gr.State(0), grid)
