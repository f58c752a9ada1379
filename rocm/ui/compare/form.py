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
from rocm.runs.adapters import adapter_choices
from rocm.ui.generate.page import STEPS

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
        (f"run {choice.label}" if choice.is_run else choice.label, choice.name)
        for choice in adapter_choices(comparisons.runs)
    ]


def build_form(comparisons: Comparisons, is_public: bool) -> CompareForm:
    """Make the form, filled with the page's first request; no folders on a public page."""
    first = first_request()
    small = {"scale": 1, "min_width": 90}
    arms = gr.Dropdown(
        arm_choices(comparisons),
        value=list(first.arms),
        multiselect=True,
        allow_custom_value=not is_public,
        label="Arms",
        info="All arms draw the same prompts from the same noise"
        + ("." if is_public else "; you can type a checkpoint (RUN@STEP), folder or owner/name."),
        elem_id="compare_arms",
    )
    compare = gr.Button("Compare", variant="primary", elem_id="compare")
    prompts = gr.Textbox(
        "\n".join(first.prompts),
        label="Prompts",
        info="One per line.",
        lines=8,
        max_lines=12,
        elem_id="compare_prompts",
    )
    choice = _build_set(is_public)
    with gr.Row(elem_id="compare_seed_row"):
        seed = gr.Number(
            first.seed, label="First seed", precision=0, elem_id="compare_seed", **small
        )
        num_seeds = gr.Number(
            first.num_seeds, label="Seeds per prompt", precision=0, elem_id="compare_seeds", **small
        )
    steps = gr.Dropdown(
        STEPS, value=first.num_inference_steps, label="Sampler steps (N)", elem_id="compare_steps"
    )
    guidance = gr.Slider(
        1, 20, first.guidance_scale, step=0.5, label="Guidance scale", elem_id="compare_guidance"
    )
    axis, values = _build_axis()
    rewards, model = _build_measures(first.rewards, is_public)
    drawn = (seed, num_seeds, steps, guidance, axis, values, rewards, model, compare)
    return CompareForm(arms, prompts, *choice, *drawn)


def _build_set(is_public: bool) -> tuple[gr.Dropdown, gr.Number, gr.Number, gr.Button]:
    small = {"scale": 1, "min_width": 90}
    with gr.Row(elem_id="compare_set_row"):
        prompt_set = gr.Dropdown(
            list(SETS),
            value=next(iter(SETS)),
            label="Set",
            allow_custom_value=not is_public,
            elem_id="compare_set",
            scale=2,
            min_width=150,
        )
        num = gr.Number(
            16,
            label="Number",
            precision=0,
            minimum=1,
            maximum=MAX_PROMPTS,
            elem_id="compare_num",
            **small,
        )
        draw_seed = gr.Number(0, label="Prompt seed", precision=0, elem_id="compare_draw", **small)
    fill = gr.Button("Fill in from the set", size="md", elem_id="compare_fill")
    return prompt_set, num, draw_seed, fill


def _build_measures(chosen: tuple[str, ...], is_public: bool) -> tuple[gr.Dropdown, gr.Textbox]:
    with gr.Accordion("Rewards and model", open=False, visible=not is_public):
        rewards = gr.Dropdown(
            measurable(),
            value=list(chosen),
            multiselect=True,
            allow_custom_value=True,
            label="Rewards",
            info="Measured in addition to the arms' own rewards and the held-out judge.",
            elem_id="compare_rewards",
        )
        model = gr.Textbox(
            label="Model",
            info="Model folder. Default: the arms' own model.",
            elem_id="compare_model",
        )
    return rewards, model


def _build_axis() -> tuple[gr.Dropdown, gr.Textbox]:
    with gr.Accordion("One more axis", open=False, elem_id="compare_axis_box"):
        axis = gr.Dropdown(
            [("none", NO_AXIS), *((words, name) for name, words in AXES.items())],
            value=NO_AXIS,
            label="Vary",
            info="Every arm is drawn at each value.",
            elem_id="compare_axis",
        )
        values = gr.Textbox(
            label="Values",
            info="Such as 1, 2, 4, 8. For checkpoints: numbers of updates, or empty for all.",
            elem_id="compare_values",
        )
    return axis, values
