"""The left column of the Compare page: arms, prompts, seeds, sampling, one more axis."""

import re
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from rocm.errors import ConfigError
from rocm.evaluation.request import AXES, MAX_PROMPTS, SETS, Request, first_request
from rocm.evaluation.store import Comparisons
from rocm.rewards.names import measurable
from rocm.runs.adapters import RUN, adapter_choices
from rocm.ui.generate.page import STEPS
from rocm.ui.handlers import named
from rocm.ui.words import build_words

NO_AXIS = "none"
CONTROLS = (
    *("arms", "prompts", "seed", "num_seeds", "num_inference_steps", "guidance_scale"),
    *("axis", "values", "rewards", "model"),
)


@dataclass(frozen=True)
class CompareForm:
    """The controls; those of `CONTROLS` are fields of `Request`."""

    arms: gr.Dropdown
    prompts: gr.Textbox
    prompt_set: gr.Dropdown
    num_prompts: gr.Number
    prompt_seed: gr.Number
    fill: gr.Button
    seed: gr.Number
    num_seeds: gr.Number
    num_inference_steps: gr.Dropdown
    guidance_scale: gr.Slider
    axis: gr.Dropdown
    values: gr.Textbox
    rewards: gr.Dropdown
    model: gr.Textbox
    compare: gr.Button

    @property
    def controls(self) -> list[Component]:
        """In the order of `CONTROLS`."""
        return [getattr(self, name) for name in CONTROLS]

    def request(self, values: tuple[Any, ...]) -> Request:
        """The request that the controls' values make."""
        given = dict(zip(CONTROLS, values, strict=True))
        axis = "" if given["axis"] in (None, NO_AXIS) else given["axis"]
        lines = [line for line in (given["prompts"] or "").splitlines() if line.strip()]
        return Request(
            arms=tuple(given["arms"] or ()),
            prompts=tuple(lines),
            seed=given["seed"],
            num_seeds=given["num_seeds"],
            num_inference_steps=given["num_inference_steps"],
            guidance_scale=given["guidance_scale"],
            model=given["model"] or "",
            axis=axis,
            values=numbers(given["values"] or "") if axis else (),
            rewards=tuple(given["rewards"] or ()),
        )

    def filled(self, request: Request) -> dict[Component, Any]:
        """New values of all controls but the arms."""
        values = {name: getattr(request, name) for name in CONTROLS if name != "arms"}
        values |= {
            "prompts": "\n".join(request.prompts),
            "axis": request.axis or NO_AXIS,
            "values": ", ".join(f"{value:g}" for value in request.values),
            "rewards": list(request.rewards),
        }
        return {getattr(self, name): value for name, value in values.items()}


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


def build_form(comparisons: Comparisons, is_public: bool) -> CompareForm:
    """Make the form, filled with the page's first request; no folders on a public page."""
    first = first_request()
    small = {"scale": 1, "min_width": 90, "precision": 0}
    typed = "." if is_public else "; you can type a checkpoint (RUN@STEP), folder or owner/name."
    info = f"All arms draw the same prompts from the same noise{typed}"
    many = {"multiselect": True, "allow_custom_value": not is_public}
    words = named("compare_arms", "Arms", info)
    arms = gr.Dropdown(arm_choices(comparisons), value=list(first.arms), **many, **words)
    compare = gr.Button("Compare", variant="primary", elem_id="compare")
    words = named("compare_prompts", "Prompts", "One per line.")
    prompts = gr.Textbox("\n".join(first.prompts), lines=8, max_lines=12, **words)
    beside_prompts = gr.Column()
    choice = _build_set(is_public)
    with gr.Row(elem_id="compare_seed_row"):
        seed = gr.Number(first.seed, **named("compare_seed", "First seed"), **small)
        words = named("compare_seeds", "Seeds per prompt")
        num_seeds = gr.Number(first.num_seeds, **words, **small)
    words = named("compare_steps", "Sampler steps (N)")
    steps = gr.Dropdown(STEPS, value=first.num_inference_steps, **words)
    words = named("compare_guidance", "Guidance scale")
    guidance = gr.Slider(1, 20, first.guidance_scale, step=0.5, **words)
    axis, values = _build_axis()
    rewards, model = _build_measures(first.rewards, is_public)
    with beside_prompts:
        build_words(prompts, [arms, model], comparisons.runs, is_public)
    drawn = (seed, num_seeds, steps, guidance, axis, values, rewards, model, compare)
    return CompareForm(arms, prompts, *choice, *drawn)


def _build_set(is_public: bool) -> tuple[gr.Dropdown, gr.Number, gr.Number, gr.Button]:
    small = {"scale": 1, "min_width": 90, "precision": 0}
    with gr.Row(elem_id="compare_set_row"):
        look = {"allow_custom_value": not is_public, "scale": 2, "min_width": 150}
        prompt_set = gr.Dropdown(
            list(SETS), value=next(iter(SETS)), **look, **named("compare_set", "Set")
        )
        words = named("compare_num", "Number")
        num = gr.Number(16, minimum=1, maximum=MAX_PROMPTS, **words, **small)
        draw_seed = gr.Number(0, **named("compare_draw", "Prompt seed"), **small)
    fill = gr.Button("Fill in from the set", size="md", elem_id="compare_fill")
    return prompt_set, num, draw_seed, fill


def _build_measures(chosen: tuple[str, ...], is_public: bool) -> tuple[gr.Dropdown, gr.Textbox]:
    info = "Measured in addition to the arms' own rewards and the held-out judge."
    words = named("compare_rewards", "Rewards", info)
    many = {"multiselect": True, "allow_custom_value": True}
    with gr.Accordion("Rewards and model", open=False, visible=not is_public):
        rewards = gr.Dropdown(measurable(), value=list(chosen), **many, **words)
        info = "Model folder. Default: the arms' own model."
        model = gr.Textbox(**named("compare_model", "Model", info))
    return rewards, model


def _build_axis() -> tuple[gr.Dropdown, gr.Textbox]:
    with gr.Accordion("One more axis", open=False, elem_id="compare_axis_box"):
        choices = [("none", NO_AXIS), *((words, name) for name, words in AXES.items())]
        words = named("compare_axis", "Vary", "Every arm is drawn at each value.")
        axis = gr.Dropdown(choices, value=NO_AXIS, **words)
        info = "Such as 1, 2, 4, 8. For checkpoints: numbers of updates, or empty for all."
        values = gr.Textbox(**named("compare_values", "Values", info))
    return axis, values
