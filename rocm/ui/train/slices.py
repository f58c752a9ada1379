"""Training in slices of the visitor's GPU time, as on a ZeroGPU Space, in the form's place.

The only handler of the page that trains: each slice needs the request of its visitor. When the
visitor leaves, no further slice begins.
"""

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import gradio as gr

from rocm.config import RunConfig
from rocm.config.presets import FIRST_PRESET, preset_names
from rocm.errors import RocmError, RunError
from rocm.runs.jobs import quota_words
from rocm.runs.slices import Slices
from rocm.studio import Studio
from rocm.ui.controls import Kept
from rocm.ui.handlers import QUIET, fault, named
from rocm.ui.train.form import SHOW_ON_A_PHONE

MAX_RUNS = 50
AT_ONCE = 8
ABOUT = """Training takes **your ZeroGPU time**, in slices of at most {seconds:.0f} seconds with a
checkpoint after each. **This run stops when you leave this page**: the slice at work ends, and no
other begins. A restart of this Space erases its runs."""
NO_LOGIN = """ZeroGPU lends 2 minutes a day without a login, 5 with a free account, 40 with PRO
(August 2026). What is left of yours can be read only after a login."""


def build_slices(
    studio: Studio, slices: Slices, selected: Kept, page: gr.Blocks, has_login: bool
) -> None:
    """Make and wire the column; a run that begins is `selected`."""
    gr.Markdown(ABOUT.format(seconds=slices.seconds), elem_id="slices_about")
    names = [name for name in preset_names() if name.startswith("tiny-")]
    preset, first = named("preset", "Preset"), RunConfig.load(FIRST_PRESET)
    chosen = gr.Dropdown(names, value=FIRST_PRESET, **preset)
    sentence = gr.Markdown(first.description, elem_id="preset_sentence")
    beta = gr.Textbox(str(first.beta), **named("slices_beta", "Beta", "Weight of the divergence."))
    num_steps = gr.Number(first.num_steps, precision=0, **named("slices_steps", "Updates"))
    with gr.Row(elem_classes="buttons"):
        looks: dict[str, Any] = {"size": "md", "min_width": 96, "scale": 0}
        start = gr.Button("Start training", variant="primary", elem_id="start", **looks)
        stop = gr.Button("Stop", variant="stop", elem_id="stop_run", **looks)
        resume = gr.Button("Resume the shown run", elem_id="resume_run", **looks)
    words, own = gr.HTML(elem_id="slices_state"), gr.State("")
    quota, used = gr.HTML(elem_id="quota"), gr.State(0.0)
    if has_login:
        gr.LoginButton(size="md", elem_id="login")

    def describe(name: str) -> tuple[str, str, int]:
        config = RunConfig.load(name)
        return config.description, str(config.beta), config.num_steps

    def begin(name: str, beta: str, num_steps: Any) -> tuple[str, str]:
        if len(studio.runs.queue.all_runs()) >= MAX_RUNS:
            raise RunError(f"This Space keeps {MAX_RUNS} runs, its most. Duplicate it for others.")
        run_id = studio.runs.create(RunConfig.load(name, beta=beta, num_steps=num_steps), name)
        return run_id, run_id

    def end(run_id: str) -> str:
        if not run_id:
            raise RunError("This page trains no run.")
        slices.stop(studio.runs.run(run_id))
        return _said("Stopping after this update.")

    chosen.input(describe, chosen, [sentence, beta, num_steps], **QUIET)
    settings = [chosen, beta, num_steps]
    begun = start.click(begin, settings, [selected, own], api_name="start")
    begun.success(None, js=SHOW_ON_A_PHONE)
    taken = resume.click(lambda run_id: run_id, selected, own, **QUIET)
    working = QUIET | {"concurrency_limit": AT_ONCE, "concurrency_id": "slices"}
    for event in (begun, taken):
        trained = event.success(_trainer(studio, slices), [own, used], [words, used], **working)
        trained.then(_quota, used, quota, **QUIET)
    stop.click(end, own, words, **QUIET)
    page.load(_quota, used, quota, **QUIET)


def _trainer(studio: Studio, slices: Slices) -> Callable[..., Iterator[tuple[str, float]]]:
    def train(run_id: str, used: float) -> Iterator[tuple[str, float]]:
        began = 0.0
        try:
            run = studio.runs.run(run_id)
            for number in slices.train_run(run):
                used += monotonic() - began if began else 0.0
                yield _said(f"Slice {number}: waiting for a GPU, then training."), used
                began = monotonic()
        except RocmError as error:
            yield fault(str(error)), used
        except gr.Error as error:  # of ZeroGPU: the quota, or a slice that took too long
            yield fault(f"{error.message} The run keeps its last checkpoint."), used
            raise
        else:
            status = run.status()
            words = f"{status.state.capitalize()} after {status.step} updates."
            yield _said(words), used + monotonic() - began

    return train


def _quota(used: float, token: gr.OAuthToken | None) -> str:
    """What is left of the visitor's time, and what this page took of it."""
    taken = f" This page has used at most {used:.0f} seconds." if used else ""
    try:
        return _said(f"{quota_words(token.token) if token else NO_LOGIN}{taken}")
    except RocmError as error:
        return fault(str(error))


def _said(words: str) -> str:
    return f'<div class="note" role="status">{words}</div>'
