"""The right column of the Study page: list, state, actions, links, what a study can tell."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import BaseModel

from rocm.storage.paths import ROOT
from rocm.study.service import SECONDS_PER_PAIR, Deleted
from rocm.ui.access import Access
from rocm.ui.study import view
from rocm.ui.study.screening import Screening, build_screening

ASSETS = ROOT / "assets"
POLL_S = 2.0
ONLY_HERE = "Works on this machine only: docs/deploy.md says how raters elsewhere reach a study."
SEND_IT = (
    "For raters; anybody who has it can vote. For Prolific put ?PROLIFIC_PID={{%PROLIFIC_PID%}} "
    "behind it; Mechanical Turk opens it as it is."
)
EMPTY_BIN = [("The bin is empty.", "")]
LIST = '<div class="run-list" tabindex="0" role="region" aria-label="Studies"></div>'


class ChosenStudy(BaseModel):
    """The study that is clicked on."""

    study: str


@dataclass(frozen=True)
class View:
    """What handlers change besides the form and the screening.

    `phase` changes with the study that is looked at and its state, and with nothing else.
    """

    token: gr.Textbox
    studies: gr.HTML
    bin: gr.Accordion
    deleted: gr.Dropdown
    restore: gr.Button
    empty: gr.Button
    state: gr.HTML
    cancel: gr.Button
    go_on: gr.Button
    as_new: gr.Button
    question: gr.Row
    asked: gr.HTML
    link: gr.Textbox
    pilot: gr.Textbox
    draft_box: gr.Column
    seconds: gr.Number
    pay: gr.Number
    foresee: gr.Button
    outlook: gr.HTML
    open: gr.Button
    pause: gr.Button
    resume: gr.Button
    close: gr.Button
    delete: gr.Button
    invite_box: gr.Row
    num_invited: gr.Number
    invite: gr.Button
    invitations: gr.Textbox
    running_box: gr.Row
    num_more: gr.Number
    more: gr.Button
    pack: gr.Button
    archive: gr.DownloadButton
    selected: gr.State
    phase: gr.State
    seen: gr.State
    pending: gr.State
    timer: gr.Timer


def build_view(token: gr.Textbox, access: Access) -> tuple[View, dict[str, gr.Button], Screening]:
    """Make the right column.

    Args:
        token: of the left column.
        access: whether only this machine can reach the page.

    Returns:
        What handlers change, the buttons that answer a question, and the pairs to look through.
    """
    parts: dict[str, Any] = {"token": token}
    parts["studies"] = gr.HTML(
        html_template=LIST,
        js_on_load=(ASSETS / "studies.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="studies",
    )
    parts |= _build_bin()
    parts["state"] = gr.HTML(view.NOT_CHOSEN, elem_id="study_state")
    with gr.Row(visible=False, elem_classes="question", elem_id="study_question") as question:
        parts["asked"] = gr.HTML()
        sure = _button("Yes", "study_sure", "stop")
        not_now = _button("Not now", "study_not_now")
    parts["question"] = question
    with gr.Row(elem_classes="buttons"):
        parts["cancel"] = _button("Cancel the build", "study_cancel", "stop", visible=False)
        parts["go_on"] = _button("Go on with the build", "study_go_on", "primary", visible=False)
        for name, words, look in (
            ("open", "Open the study", "primary"),
            ("pause", "Pause", "secondary"),
            ("resume", "Resume", "primary"),
            ("close", "Close", "stop"),
            ("pack", "Pack as a zip", "secondary"),
            ("delete", "Delete", "stop"),
        ):
            parts[name] = _button(words, f"study_{name}", look, visible=False)
        parts["archive"] = gr.DownloadButton(
            "Download", visible=False, size="md", min_width=96, scale=0, elem_id="study_archive"
        )
        parts["as_new"] = _button("Copy to a new study.yaml", "study_as_new", visible=False)
    parts |= _build_links(access) | _build_invitations() | _build_running()
    with gr.Column(visible=False, elem_id="study_draft") as parts["draft_box"]:
        parts |= _build_outlook()
        screening = build_screening()
    parts |= {
        "selected": gr.State(""),
        "phase": gr.State(""),
        "seen": gr.State(()),
        "pending": gr.State(("", "", 0, "")),
    }
    parts["timer"] = gr.Timer(POLL_S, active=False)
    return View(**parts), {"sure": sure, "not_now": not_now}, screening


def bin_choices(deleted: list[Deleted]) -> Any:
    """Deleted drafts to choose from; the one that was deleted last is chosen."""
    found = [
        (f"{one.title} ({one.study_id}, {one.deleted_at:%d %b %H:%M} UTC)", one.study_id)
        for one in deleted
    ] or EMPTY_BIN
    return gr.update(choices=found, value=found[0][1])


def _button(words: str, name: str, look: str = "secondary", **options: Any) -> gr.Button:
    return gr.Button(words, variant=look, size="md", min_width=96, scale=0, elem_id=name, **options)


def _build_bin() -> dict[str, Any]:
    with (
        gr.Accordion("Bin", open=False, elem_id="study_bin") as box,
        gr.Row(elem_classes="buttons"),
    ):
        found = gr.Dropdown(
            EMPTY_BIN, value="", label="Deleted draft", show_label=False, container=False,
            elem_id="study_deleted",
        )  # fmt: skip
        restore = _button("Take back", "study_restore")
        empty = _button("Empty the bin", "study_empty", "stop")
    return {"bin": box, "deleted": found, "restore": restore, "empty": empty}


def _build_links(access: Access) -> dict[str, Component]:
    looks = {"interactive": False, "visible": False, "max_lines": 1, "buttons": ["copy"]}
    return {
        "link": gr.Textbox(
            label="Voting link",
            info=ONLY_HERE if access.is_local else SEND_IT,
            elem_id="study_link",
            **looks,
        ),
        "pilot": gr.Textbox(
            label="Pilot link",
            info="To try the study: these votes are never analysed.",
            elem_id="study_pilot",
            **looks,
        ),
    }


def _build_invitations() -> dict[str, Any]:
    with gr.Row(visible=False, elem_classes="buttons", elem_id="study_inviting") as box:
        number = gr.Number(
            10, precision=0, minimum=1, show_label=False, container=False, label="Raters to invite",
            scale=0, min_width=76, elem_id="study_num_invited",
        )  # fmt: skip
        invite = _button("Invite", "study_invite")
    links = gr.Textbox(
        label="Invitations",
        interactive=False,
        visible=False,
        max_lines=8,
        buttons=["copy"],
        elem_id="study_invitations",
    )
    return {"invite_box": box, "num_invited": number, "invite": invite, "invitations": links}


def _build_running() -> dict[str, Any]:
    with gr.Row(visible=False, elem_classes="buttons", elem_id="study_running") as box:
        num_more = gr.Number(
            5, precision=0, minimum=1, show_label=False, container=False, label="More raters",
            scale=0, min_width=76, elem_id="study_num_more",
        )  # fmt: skip
        more = _button("more raters", "study_more")
    return {"running_box": box, "num_more": num_more, "more": more}


def _build_outlook() -> dict[str, Component]:
    gr.HTML("<h2>What it takes and can tell</h2>", elem_classes="overline")
    with gr.Row(elem_id="study_assumed"):
        seconds = gr.Number(
            SECONDS_PER_PAIR, label="Seconds per pair", min_width=130, elem_id="study_seconds"
        )
        pay = gr.Number(
            0, label="Pay per hour, in any currency", min_width=130, elem_id="study_pay"
        )
    with gr.Row(elem_classes="buttons"):
        foresee = _button("Work it out", "study_foresee")
    outlook = gr.HTML(
        '<div class="subtle">Raters, minutes, cost, and how likely a true difference is found: '
        "some hundred studies are simulated, which takes up to half a minute.</div>",
        elem_id="study_outlook",
    )
    return {"seconds": seconds, "pay": pay, "foresee": foresee, "outlook": outlook}
