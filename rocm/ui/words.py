"""Below a prompt: the words that the model has not seen, and its subjects to choose from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from rocm.config import RunConfig
from rocm.errors import RocmError
from rocm.prompts.vocabulary import load_vocabulary, remark
from rocm.runs.adapters import BASE, check_same_model, find_adapter
from rocm.ui.handlers import QUIET, named, note

INFO = "What the embedded model can draw; a choice writes a prompt."


def build_words(
    prompt: gr.Textbox, choices: Sequence[Component], runs: Path, is_public: bool = False
) -> None:
    """Make both in the open block and bind them to the prompt.

    `choices` are the control of the adapters and, if there is one, that of the model. A prompt of
    several lines is a prompt per line, to which a subject adds a line.
    """
    is_list = prompt.lines > 1

    def name_unknown(
        text: str | None, adapters: Any = None, model: str | None = ""
    ) -> dict[str, Any]:
        lines = [line for line in (text or "").splitlines() if line.strip()]
        words = remark(lines, _model_of(adapters, model or "", runs, is_public))
        return gr.update(value=note(words), visible=bool(words))

    def write_prompt(subject: str | None, text: str | None) -> tuple[None, str]:
        if not subject:  # leaving the list counts as input too
            return None, text or ""
        caption = known.caption(subject) if known else subject
        return None, "\n".join(
            filter(None, [(text or "").strip(), caption])
        ) if is_list else caption

    shown = gr.HTML(visible=False, elem_id=f"{prompt.elem_id}_words")
    triggers = [control.change for control in (prompt, *choices)]
    gr.on(triggers, name_unknown, [prompt, *choices], shown, trigger_mode="always_last", **QUIET)
    known = load_vocabulary(RunConfig().model)
    if known:
        words = named(f"{prompt.elem_id}_subject", "Subjects", INFO)
        subject = gr.Dropdown(list(known.subjects), value=None, **words)
        subject.input(write_prompt, [subject, prompt], [subject, prompt], **QUIET)


def _model_of(adapters: Any, model: str, runs: Path, is_public: bool) -> str:
    """The model that draws with some adapters; the text of the field while they do not fit it."""
    names = adapters if isinstance(adapters, list) else [adapters or ""]
    try:
        adapters = [find_adapter("" if n == BASE else str(n), runs, is_public) for n in names]
        return check_same_model(adapters, model.strip())
    except RocmError:  # said when the pictures are asked for
        return model
