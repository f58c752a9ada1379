"""Continue elsewhere: the shown run as a Hugging Face job, as a command or with the own login."""

from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from rocm.errors import RocmError, RunError
from rocm.runs.jobs import PRICES, SCOPE, JobPlan
from rocm.studio import Studio
from rocm.ui.access import Access
from rocm.ui.controls import Kept
from rocm.ui.handlers import QUIET, fault, named

NO_RUN = "Choose a run from the list: its settings are the job's."


def build_elsewhere(studio: Studio, access: Access, selected: Kept) -> None:
    """Make and wire the panel, on a Space, whose files the job trains from."""
    choices = [(f"{name}, ${price:.2f} an hour", name) for name, price in PRICES.items()]
    with gr.Accordion("Continue elsewhere", open=False, elem_id="elsewhere") as folded:
        with gr.Row():
            flavor = gr.Dropdown(choices, value="t4-small", **named("job_flavor", "Hardware"))
            info = "Time limit of the job; without one it ends after 30 minutes."
            hours = gr.Number(2, precision=0, **named("job_hours", "Hours", info))
        info = "Your account name at Hugging Face, which pays and gets the adapter."
        owner = gr.Textbox(max_lines=1, **named("job_owner", "Account", info))
        price = gr.HTML(elem_id="job_price")
        command = gr.Textbox(
            lines=5, interactive=False, buttons=["copy"], **named("job_command", "Command")
        )
        start = gr.Button("Start the job", visible=access.has_login, elem_id="job_start")
        started = gr.HTML(elem_id="job_started")
    planned = _planner(studio, access.space)
    inputs = [selected, owner, flavor, hours]

    def describe(*values: Any) -> tuple[str, str]:
        try:
            plan = planned(*values)
        except RocmError as error:
            return fault(str(error)), ""
        return f'<div class="subtle">{escape(plan.price())}</div>', plan.shell()

    def begin(run_id: str, owner: str, flavor: str, hours: Any, token: gr.OAuthToken | None) -> str:
        if token is None or SCOPE not in token.scope.split():
            raise RunError("Sign in with Hugging Face first, and allow this Space to run jobs.")
        if not owner.strip():
            raise RunError("Type your account name first.")
        url = escape(planned(run_id, owner, flavor, hours).start(token.token))
        return f'<div class="note">The job has begun: <a href="{url}">{url}</a></div>'

    changes = [folded.expand, *(part.change for part in (selected, owner, flavor, hours))]
    gr.on(changes, describe, inputs, [price, command], trigger_mode="always_last", **QUIET)
    if access.has_login:
        start.click(begin, inputs, started, **QUIET)


def _planner(studio: Studio, space: str) -> Callable[..., JobPlan]:
    def planned(run_id: str, owner: str | None, flavor: str, hours: Any) -> JobPlan:
        if not run_id:
            raise RunError(NO_RUN)
        run = studio.runs.run(run_id)
        preset = str(run.about().get("preset") or "")
        command = studio.presets.command_line(run.config(), preset)
        return JobPlan(space, command, run_id, (owner or "").strip(), flavor, int(hours or 0))

    return planned
