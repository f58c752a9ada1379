"""The right column of the Study page: list, state, actions, links, cost and power."""

from typing import Any

import gradio as gr
from pydantic import BaseModel

from rocm.study.archive.bin import Deleted
from rocm.study.service import Studies
from rocm.ui.access import Access
from rocm.ui.controls import Kept
from rocm.ui.handlers import SMALL, asset, named, small_button
from rocm.ui.study import view
from rocm.ui.study.cost import CostBox
from rocm.ui.study.screening import build_screening
from rocm.ui.watch import watcher

RUNNING = ("open", "paused")
# Words and look of each button that acts on the study, and the states in which it is shown.
ACTIONS = {
    "cancel": ("Cancel build", "stop", ("building",)),
    "go_on": ("Resume build", "primary", ("unfinished",)),
    "open": ("Open study", "primary", ("draft",)),
    "pause": ("Pause", "secondary", ("open",)),
    "resume": ("Resume", "primary", ("paused",)),
    "close": ("Close", "stop", RUNNING),
    "pack": ("Pack as zip", "secondary", (*RUNNING, "closed")),
    "delete": ("Delete", "stop", ("unfinished", "draft")),
}
BARE: dict[str, Any] = {"show_label": False, "container": False}
ONLY_HERE = "Works on this machine only. docs/deploy.md explains how remote raters reach a study."
SEND_IT = (
    "Everyone with the link can vote. For Prolific append ?PROLIFIC_PID={{%PROLIFIC_PID%}}; "
    "Mechanical Turk uses the link as it is."
)
EMPTY_BIN = [("The bin is empty.", "")]
LIST = '<div class="run-list" tabindex="0" role="region" aria-label="Studies"></div>'


class ChosenStudy(BaseModel):
    """The study that is clicked."""

    study: str


def build_panel(studies: Studies, token: gr.Textbox, access: Access) -> dict[str, Any]:
    """Make the right column; returns its components. `phase` changes with study and state only."""
    panel: dict[str, Any] = {"token": token, "selected": Kept(visible="hidden")}
    panel |= {"pending": Kept(visible="hidden"), "phase": gr.State(""), "seen": gr.State(())}
    script = {"js_on_load": asset("studies.js"), "apply_default_css": False}
    panel["studies"] = gr.HTML(html_template=LIST, elem_id="studies", **script)
    with gr.Accordion("Bin", open=False, elem_id="study_bin") as panel["bin"], _buttons():
        words = named("study_deleted", "Deleted draft") | BARE
        panel["deleted"] = gr.Dropdown(EMPTY_BIN, value="", **words)
        panel["restore"] = small_button("Restore", "study_restore")
        panel["empty"] = small_button("Empty bin", "study_empty", "stop")
    panel["state"] = gr.HTML(view.LOADING, elem_id="study_state")
    with gr.Row(visible=False, elem_classes="question", elem_id="study_question") as question:
        panel["asked"] = gr.HTML()
        panel["sure"] = small_button("Yes", "study_sure", "stop")
        panel["not_now"] = small_button("Cancel", "study_not_now")
    panel["question"] = question
    with _buttons():
        for name, (label, look, _) in ACTIONS.items():
            panel[name] = small_button(label, f"study_{name}", look, visible=False)
        looks = {"visible": False, "elem_id": "study_archive", **SMALL}
        panel["archive"] = gr.DownloadButton("Download", **looks)
        panel["as_new"] = small_button("Copy as new study.yaml", "study_as_new", visible=False)
    _build_raters(panel, access)
    with gr.Column(visible=False, elem_id="study_draft") as panel["draft_box"]:
        CostBox("study_cost", studies).follow_draft(access, panel)
        build_screening(studies, access, token, panel["selected"], panel["phase"])
    panel["watch"] = watcher(studies.mark, "study")
    return panel


def _build_raters(panel: dict[str, Any], access: Access) -> None:
    """Links and invitations, and more raters."""
    looks: dict[str, Any] = {"interactive": False, "visible": False, "buttons": ["copy"]}
    words = named("study_link", "Voting link", ONLY_HERE if access.is_local else SEND_IT)
    panel["link"] = gr.Textbox(max_lines=1, **words, **looks)
    panel["qr"] = gr.HTML(elem_id="study_qr")
    info = "For trying out the study: pilots' votes are never analyzed."
    words = named("study_pilot", "Pilot link", info)
    panel["pilot"] = gr.Textbox(max_lines=1, **words, **looks)
    with _buttons(visible=False, elem_id="study_inviting") as panel["invite_box"]:
        panel["num_invited"] = _count(10, "Raters to invite", "study_num_invited")
        panel["invite"] = small_button("Invite raters", "study_invite")
    words = named("study_invitations", "Invitations")
    panel["invitations"] = gr.Textbox(max_lines=8, **words, **looks)
    with _buttons(visible=False, elem_id="study_running") as panel["running_box"]:
        panel["num_more"] = _count(5, "Additional raters", "study_num_more")
        panel["more"] = small_button("Add raters", "study_more")


def _buttons(**options: Any) -> gr.Row:
    return gr.Row(elem_classes="buttons", **options)


def _count(value: int, label: str, name: str) -> gr.Number:
    words = {**named(name, label), **BARE, "scale": 0, "min_width": 76}
    return gr.Number(value, precision=0, minimum=1, **words)


def bin_choices(deleted: list[Deleted]) -> Any:
    """Deleted drafts to choose from; the last deleted one is chosen."""
    choices = [
        (f"{row.title} ({row.study_id}, {row.deleted_at:%d %b %H:%M} UTC)", row.study_id)
        for row in deleted
    ] or EMPTY_BIN
    return gr.update(choices=choices, value=choices[0][1])
