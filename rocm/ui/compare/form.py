"""The left column of the Compare page: arms, prompts, seeds, how to draw, one more axis."""

import re
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from rocm.errors import ConfigError
from rocm.evaluation.service import AXES, MAX_PROMPTS, SETS, CompareDesk, Request, measurable
from rocm.ui.generate.page import STEPS

NO_AXIS = "none"
CONTROLS = (
    *("arms", "prompts", "seed", "num_seeds", "num_inference_steps", "guidance_scale"),
    *("axis", "values", "rewards", "model"),
)


@dataclass(frozen=True)
class Form:
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
    """Numbers from text such as `1, 2, 4`; ConfigError if one is none."""
    words = [word for word in re.split(r"[,;\s]+", text) if word]
    try:
        return tuple(float(word) for word in words)
    except ValueError as error:
        raise ConfigError(
            f"values={text[:100]!r} are no numbers. Write some, such as 1, 2, 4."
        ) from error


def arm_choices(desk: CompareDesk) -> list[tuple[str, str]]:
    """What can be compared, by label."""
    return [(f"run {one.label}" if one.is_run else one.label, one.name) for one in desk.choices()]


def build_form(desk: CompareDesk, is_public: bool) -> Form:
    """Make the form.

    Args:
        desk: that knows what can be compared.
        is_public: whether others can reach the page: no folders then.

    Returns:
        The controls, filled with the request that the page opens on.
    """
    first = desk.first_request()
    small = {"scale": 1, "min_width": 90}
    arms = gr.Dropdown(
        arm_choices(desk),
        value=list(first.arms),
        multiselect=True,
        allow_custom_value=not is_public,
        label="Arms",
        info="All draw the same prompts from the same noise"
        + ("." if is_public else "; an adapter's folder or owner/name of the hub can be typed."),
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
            label="How many",
            precision=0,
            minimum=1,
            maximum=MAX_PROMPTS,
            elem_id="compare_num",
            **small,
        )
        draw_seed = gr.Number(0, label="Draw seed", precision=0, elem_id="compare_draw", **small)
    fill = gr.Button("Fill in prompts from the set", size="md", elem_id="compare_fill")
    with gr.Row(elem_id="compare_seed_row"):
        seed = gr.Number(
            first.seed, label="First seed", precision=0, elem_id="compare_seed", **small
        )
        num_seeds = gr.Number(
            first.num_seeds, label="Seeds per prompt", precision=0, elem_id="compare_seeds", **small
        )
    steps = gr.Dropdown(
        STEPS,
        value=first.num_inference_steps,
        label="Sampler steps (N)",
        elem_id="compare_steps",
    )
    guidance = gr.Slider(
        1, 20, first.guidance_scale, step=0.5, label="Guidance scale", elem_id="compare_guidance"
    )
    axis, values = _build_axis()
    with gr.Accordion("Rewards and model", open=False, visible=not is_public):
        rewards = gr.Dropdown(
            measurable(),
            value=list(first.rewards),
            multiselect=True,
            allow_custom_value=True,
            label="Rewards",
            info="Measured besides those that the arms were trained on and the held-out judge.",
            elem_id="compare_rewards",
        )
        model = gr.Textbox(
            label="Model", info="Folder; empty: the arms' own.", elem_id="compare_model"
        )
    drawn = (seed, num_seeds, steps, guidance, axis, values, rewards, model, compare)
    return Form(arms, prompts, prompt_set, num, draw_seed, fill, *drawn)


def _build_axis() -> tuple[gr.Dropdown, gr.Textbox]:
    with gr.Accordion("One more axis", open=False, elem_id="compare_axis_box"):
        axis = gr.Dropdown(
            [("none", NO_AXIS), *((words, name) for name, words in AXES.items())],
            value=NO_AXIS,
            label="Vary",
            info="Every arm is drawn at each value; checkpoint shows a run's course.",
            elem_id="compare_axis",
        )
        values = gr.Textbox(
            label="Values",
            info="Such as 1, 2, 4, 8. Of checkpoints: updates; empty for all.",
            elem_id="compare_values",
        )
    return axis, values
