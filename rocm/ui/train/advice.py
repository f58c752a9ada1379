"""A pilot of all divergences: start it, see how far it is, read the verdict."""

from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from rocm.errors import RocmError
from rocm.experiments.advise.pilot import AdviceReport
from rocm.studio import Studio
from rocm.ui.access import Access
from rocm.ui.handlers import QUIET, fault, look_while_open
from rocm.ui.train.form import TrainForm, read_form
from rocm.ui.train.view import lead

NO_PILOT = """<div class="empty"><strong>No pilot yet.</strong> A pilot trains every divergence at
the same KL and tells whether one of them is better than KL.</div>"""
CONTINUE = "(The pilot has stopped; Start pilot with the same settings continues it.)"


def build_advice(studio: Studio, access: Access, form: TrainForm | None) -> None:
    """Make and wire the panel; `form` has the shared settings, None if training is not allowed."""
    with gr.Accordion("Which divergence?", open=False, elem_id="advice") as folded:
        cost = gr.HTML(elem_id="advice_cost")
        start = gr.Button(
            "Start pilot", variant="primary", visible=bool(form), elem_id="start_advice"
        )
        state = gr.HTML(elem_id="advice_state")
        verdict = gr.Markdown(elem_id="advice_verdict")

    def look() -> tuple[str, str]:
        try:
            return shown(studio.advice(), form is not None)
        except RocmError as error:
            return fault(str(error)), ""

    reading: dict[str, Any] = {"inputs": None, "outputs": [state, verdict]}
    look_while_open(folded, look, 3.0, **reading)
    if form:
        changes = [form.forecast.change, folded.expand]
        told = {"inputs": form.inputs, "outputs": cost, **QUIET}
        gr.on(changes, _coster(studio), trigger_mode="always_last", **told)
        inputs = [form.token, form.where, *form.inputs]
        waited = form.send_on(start.click)
        begun = waited.then(_starter(studio, access), inputs, None, api_name="start_advice")
        begun.then(look, **reading, **QUIET)


def shown(report: AdviceReport | None, may_train: bool) -> tuple[str, str]:
    """What a pilot is doing, as HTML, and its verdict as Markdown."""
    if report is None:
        return NO_PILOT, ""
    if report.text and not report.is_at_work:
        arms = ",".join(f"run:{run_id}" for run_id in report.arms)
        link = lead("Make a blind study", tab="study", arms=arms) if may_train else ""
        return f'<p class="leads">{link}</p>', report.text
    words = report.progress if report.is_at_work else f"{report.progress} {CONTINUE}"
    return f'<div class="state">{escape(words)}</div>', ""


def _coster(studio: Studio) -> Callable[..., str]:
    def cost(preset: str, filled: str, *values: Any) -> str:
        try:
            words = studio.pilot(preset, read_form(preset, filled, values)).cost()
        except RocmError as error:
            return fault(str(error))
        return f'<div class="subtle">{escape(words)}</div>'

    return cost


def _starter(studio: Studio, access: Access) -> Callable[..., None]:
    def start(token: str, where: str, preset: str, filled: str, *values: Any) -> None:
        access.check(token)
        config = read_form(preset, filled, values)
        access.check_settings(config)
        studio.start_pilot(preset, config, where)

    return start
