"""The left column of the Compare page: arms, prompts, seeds, sampling, one more axis."""

import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import gradio as gr

from rocm.errors import ConfigError
from rocm.evaluation.request import AXES, MAX_PROMPTS, SETS, Request, first_request
from rocm.evaluation.store import Comparisons
from rocm.rewards.names import measurable
from rocm.runs.adapters import RUN, adapter_choices
from rocm.ui.generate.page import STEPS
from rocm.ui.handlers import named
from rocm.ui.words import build_words

NO_AXIS = "none"
CONTROLS = [field.name for field in fields(Request)]


def request_of(given: Sequence[Any]) -> Request:
    """The request that the values of the form's `CONTROLS` make."""
    values = dict(zip(CONTROLS, given, strict=True))
    axis = "" if values["axis"] in (None, NO_AXIS) else values["axis"]
    lines = [line for line in (values["prompts"] or "").splitlines() if line.strip()]
    values |= {
        "arms": tuple(values["arms"] or ()),
        "prompts": tuple(lines),
        "model": values["model"] or "",
        "axis": axis,
        "values": numbers(values["values"] or "") if axis else (),
        "rewards": tuple(values["rewards"] or ()),
    }
    return Request(**values)


def values_of(request: Request) -> dict[str, Any]:
    """Values of the form's `CONTROLS`, by name."""
    return vars(request) | {
        "arms": list(request.arms),
        "prompts": "\n".join(request.prompts),
        "axis": request.axis or NO_AXIS,
        "values": ", ".join(f"{value:g}" for value in request.values),
        "rewards": list(request.rewards),
    }


def numbers(text: str) -> tuple[float, ...]:
    """Numbers from text such as `1, 2, 4`."""
    words = [word for word in re.split(r"[,;\s]+", text) if word]
    try:
        return tuple(float(word) for word in words)
    except ValueError as error:
        raise ConfigError(
            f"values={text[:100]!r} are not numbers. Write numbers, such as 1, 2, 4."
        ) from error


def arm_choices(comparisons: Comparisons) -> list[tuple[str, str]]:
    """Labels and names of the adapters that can be compared."""
    return [
        (f"run {label}" if name.startswith(RUN) else label, name)
        for label, name in adapter_choices(comparisons.runs)
    ]


def build_form(comparisons: Comparisons, is_public: bool) -> dict[str, Any]:
    """Make the form, filled with the page's first request; no folders on a public page."""
    first, form = first_request(), {}
    small = {"scale": 1, "min_width": 90, "precision": 0}
    typed = "." if is_public else "; you can type a checkpoint (RUN@STEP), folder or owner/name."
    info = f"All arms draw the same prompts from the same noise{typed}"
    words = named("compare_arms", "Arms", info) | {"allow_custom_value": not is_public}
    choices, chosen = arm_choices(comparisons), list(first.arms)
    form["arms"] = gr.Dropdown(choices, value=chosen, multiselect=True, **words)
    form["compare"] = gr.Button("Compare", variant="primary", elem_id="compare")
    words = named("compare_prompts", "Prompts", "One per line.")
    form["prompts"] = gr.Textbox("\n".join(first.prompts), lines=8, max_lines=12, **words)
    beside_prompts = gr.Column()
    with gr.Row(elem_id="compare_set_row"):
        words = named("compare_set", "Set") | {"allow_custom_value": not is_public}
        sets = list(SETS)
        form["set"] = gr.Dropdown(sets, value=sets[0], scale=2, min_width=150, **words)
        words = named("compare_num", "Number")
        form["num_prompts"] = gr.Number(16, minimum=1, maximum=MAX_PROMPTS, **words, **small)
        form["prompt_seed"] = gr.Number(0, **named("compare_draw", "Prompt seed"), **small)
    form["fill"] = gr.Button("Fill in from the set", size="md", elem_id="compare_fill")
    with gr.Row(elem_id="compare_seed_row"):
        form["seed"] = gr.Number(first.seed, **named("compare_seed", "First seed"), **small)
        words = named("compare_seeds", "Seeds per prompt")
        form["num_seeds"] = gr.Number(first.num_seeds, **words, **small)
    words = named("compare_steps", "Sampler steps (N)")
    form["num_inference_steps"] = gr.Dropdown(STEPS, value=first.num_inference_steps, **words)
    words = named("compare_guidance", "Guidance scale")
    form["guidance_scale"] = gr.Slider(1, 20, first.guidance_scale, step=0.5, **words)
    with gr.Accordion("One more axis", open=False, elem_id="compare_axis_box"):
        choices = [("none", NO_AXIS), *((words, name) for name, words in AXES.items())]
        words = named("compare_axis", "Vary", "Every arm is drawn at each value.")
        form["axis"] = gr.Dropdown(choices, value=NO_AXIS, **words)
        info = "Such as 1, 2, 4, 8. For checkpoints: numbers of updates, or empty for all."
        form["values"] = gr.Textbox(**named("compare_values", "Values", info))
    with gr.Accordion("Rewards and model", open=False, visible=not is_public):
        info = "Measured in addition to the arms' own rewards and the held-out judge."
        words = named("compare_rewards", "Rewards", info) | {"allow_custom_value": True}
        chosen = list(first.rewards)
        form["rewards"] = gr.Dropdown(measurable(), value=chosen, multiselect=True, **words)
        info = "Model folder. Default: the arms' own model."
        form["model"] = gr.Textbox(**named("compare_model", "Model", info))
    with beside_prompts:
        build_words(form["prompts"], [form["arms"], form["model"]], comparisons.runs, is_public)
    return form
