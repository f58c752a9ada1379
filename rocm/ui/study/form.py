"""The form of a new study, made from the fields of `Recipe`; or a study.yaml."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import gradio as gr
from annotated_types import Ge, Le, MaxLen
from gradio.components import Component
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rocm.evaluation.request import first_request
from rocm.evaluation.store import Comparisons
from rocm.study.design.form import TYPED
from rocm.study.design.recipe import (
    ANSWERS,
    CHECKS,
    QUESTIONS,
    SIZE,
    Consent,
    Prompts,
    Recipe,
    StudyArm,
)
from rocm.ui.compare.form import arm_choices
from rocm.ui.generate.page import STEPS
from rocm.ui.study.cost import CostBox, build_cost
from rocm.ui.words import build_words

SETS = [
    ("Typed below", TYPED),
    ("The embedded model's own", "own"),
    ("The paper's: PartiPrompts and HPS", "paper"),
    ("Offline: PartiPrompts, ImageReward, SPO", "offline"),
    ("Text file", "file"),
]
REWARDS = ("tiny-preference", "tiny-clip")
CONSENT_TEXT = (
    "You choose between pictures that computer programs made. Your choices and the time that they "
    "take are stored under a number. Nothing that names you is stored. You may stop at any time."
)
# What the form starts with where that is not the recipe's default.
FIRST: dict[str, Any] = {
    "title": "Which picture do you prefer?",
    "prompts.num": 20,
    "consent.text": CONSENT_TEXT,
    "consent.version": "1",
    "consent.min_age": 18,  # without a value the browser would show 0
}
LONG = 20_000
# From the first attempt on, the style sheet marks fields that are needed and empty.
MARK_EMPTY = "() => { document.getElementById('study_steps').dataset.isTried = 'yes'; }"
# The browser reads the file: the server takes no uploads.
READ_FILE = """
const input = element.querySelector('input');
input.addEventListener('change', async () => {
  const file = input.files[0];
  if (!file) return;
  if (file.size > 200000) trigger('too_large', {});
  else trigger('read', {text: await file.text()});
  input.value = '';
});"""
FILE = """<label class="file-button">Open a study.yaml
<input type="file" accept=".yaml,.yml,text/yaml" aria-label="Open a study.yaml"></label>"""


@dataclass(frozen=True)
class StudyForm:
    """The form's controls; `fields` are by the recipe's names, as `form_recipe` takes them."""

    box: gr.Accordion
    tabs: gr.Tabs
    fields: dict[str, Any]
    cost: CostBox
    build: gr.Button
    as_text: gr.Button
    text: gr.Textbox
    file: gr.HTML
    build_text: gr.Button


def build_form(compare: Comparisons) -> StudyForm:
    """Make the form in the current Gradio block; `compare` knows the arms to choose from."""
    with (
        gr.Accordion("New study", open=False, elem_id="study_new") as box,
        gr.Tabs(elem_id="study_ways") as tabs,
    ):
        with gr.Tab("Form", id="form"):
            fields, cost, build, as_text = _build_steps(compare)
        with gr.Tab("study.yaml", id="text"):
            text = gr.Textbox(
                label="study.yaml",
                info="All settings of a study; docs/study.md describes them.",
                lines=16,
                max_lines=30,
                elem_id="study_text",
            )
            file = gr.HTML(FILE, js_on_load=READ_FILE, elem_id="study_file")
            build_text = gr.Button("Build from text", variant="primary", elem_id="study_build_text")
    return StudyForm(box, tabs, fields, cost, build, as_text, text, file, build_text)


def _build_steps(
    compare: Comparisons,
) -> tuple[dict[str, Component], CostBox, gr.Button, gr.Button]:
    groups = _groups()
    with gr.Walkthrough(elem_id="study_steps") as steps:
        with gr.Step("Arms", id=0):
            fields = _build_arms(compare)
            _turn(steps, 0)
        with gr.Step("Size", id=1):
            with gr.Row(elem_classes="study-columns"):
                with gr.Column(min_width=300):
                    fields |= _build_prompts(fields["arms"], compare.runs)
                    fields |= _rows(["seed", "seeds_per_prompt", *groups.pop(SIZE)])
                with gr.Column(min_width=300):
                    cost = build_cost("study_new_cost")
            _turn(steps, 1)
        with gr.Step("People", id=2):
            fields |= {name: _control(name) for name in groups.pop(ANSWERS)}
            fields["allow_tie"] = gr.Checkbox(True, label="Allow ties")
            for group, names in groups.items():
                with gr.Accordion(group, open=False):
                    fields |= _rows(names) if group == CHECKS else _controls(names)
            _turn(steps, 2)
        with gr.Step("Consent", id=3):
            fields |= _controls([f"consent.{name}" for name in Consent.model_fields])
            with gr.Row(elem_classes="buttons"):
                _button("Back", steps, 2)
                build = gr.Button("Build study", variant="primary", elem_id="study_build")
                as_text = gr.Button("Show as study.yaml", size="md", elem_id="study_as_text")
            gr.on([build.click, as_text.click], None, js=MARK_EMPTY, api_visibility="private")
    return fields, cost, build, as_text


def _turn(steps: gr.Walkthrough, place: int) -> None:
    """Buttons that lead from a step to its neighbors."""
    with gr.Row(elem_classes="buttons"):
        if place:
            _button("Back", steps, place - 1)
        _button("Next", steps, place + 1)


def _button(words: str, steps: gr.Walkthrough, to: int) -> None:
    look: Any = "primary" if words == "Next" else "secondary"
    script = f"() => ({{__type__: 'update', selected: {to}}})"
    button = gr.Button(words, variant=look, size="md", min_width=96, scale=0)
    button.click(None, None, steps, js=script, api_visibility="private")


def _build_arms(compare: Comparisons) -> dict[str, Component]:
    fields: dict[str, Component] = {"title": _control("title")}
    fields["arms"] = gr.Dropdown(
        arm_choices(compare),
        value=[name for name in first_request().arms if name != "base"],
        multiselect=True,
        allow_custom_value=True,
        label="Arms",
        info="Models to compare: base model, runs, adapters, or a typed adapter folder.",
        elem_id="study_arms",
    )
    fields["comparisons"] = gr.Radio(
        [
            ("Every two arms", "all"),
            ("Each with the next, for a ladder of betas", "neighbors"),
            ("ROCM with RLCM, by reward (Figure 3)", "paper-figure-3"),
        ],
        value="all",
        label="Comparisons",
        elem_id="study_comparisons",
    )
    with gr.Row():
        name = "arms.num_inference_steps"
        label = StudyArm.model_fields["num_inference_steps"].title
        fields[name] = gr.Dropdown(STEPS, value=4, label=label, min_width=130)
        fields["arms.guidance_scale"] = _control("arms.guidance_scale")
    fields["rewards"] = gr.Dropdown(
        list(REWARDS),
        value=list(REWARDS),
        multiselect=True,
        allow_custom_value=True,
        label="Rewards",
        info=Recipe.model_fields["rewards"].description,
        elem_id="study_rewards",
    )
    return fields


def _build_prompts(arms: gr.Dropdown, runs: Path) -> dict[str, Component]:
    kind = gr.Dropdown(SETS, value="own", label="Prompt set", elem_id="study_prompts_set")
    num, split = _control("prompts.num"), _control("prompts.split")
    with gr.Column(visible=False) as own:
        typed = gr.Textbox(
            label="Typed prompts",
            info="One prompt per line; practice and checks use some of them.",
            lines=6,
            max_lines=12,
            elem_id="study_prompts_typed",
        )
        build_words(typed, [arms], runs)
    source = gr.Textbox(
        label="Folder or file",
        info="On this machine. Prompt lists without a folder come from the Hugging Face hub.",
        max_lines=1,
        visible=False,
        elem_id="study_prompts_source",
    )
    gr.on(
        kind.change,
        lambda name: [
            gr.update(visible=name != TYPED),
            gr.update(visible=name != TYPED),
            gr.update(visible=name == TYPED),
            gr.update(visible=name in ("paper", "offline", "file")),
        ],
        kind,
        [num, split, own, source],
        show_progress="hidden",
        api_visibility="private",
    )
    return {
        "prompts.set": kind, "prompts.num": num, "prompts.split": split, "prompts.typed": typed,
        "prompts.source": source,
    }  # fmt: skip


def _groups() -> dict[str, list[str]]:
    """Names of the recipe's fields that are folded away, by group."""
    groups: dict[str, list[str]] = {}
    for name, field in Recipe.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra["group"]:
            groups.setdefault(str(extra["group"]), []).append(name)
    return groups


def _rows(names: Sequence[str]) -> dict[str, Component]:
    """Controls of numbers, two in a row."""
    fields: dict[str, Component] = {}
    for first in range(0, len(names), 2):
        with gr.Row():
            fields |= {name: _control(name) for name in names[first : first + 2]}
    return fields


def _controls(names: Sequence[str]) -> dict[str, Component]:
    return {name: _control(name) for name in names}


def _control(name: str) -> Component:
    """The control of a field; label, help, default and bounds are the recipe's."""
    part, _, key = name.rpartition(".")
    models: dict[str, type[BaseModel]] = {"consent": Consent, "prompts": Prompts, "arms": StudyArm}
    field = (models[part] if part else Recipe).model_fields[key]
    value: Any = FIRST.get(name, None if field.is_required() else field.default)
    words: dict[str, Any] = {
        "label": field.title,
        "info": field.description,
        "elem_id": f"study_{name.replace('.', '_')}",
    }
    if name == "questions":
        choices = [(question.text, question.key) for question in QUESTIONS]
        return gr.CheckboxGroup(choices, value=[key for _, key in choices], **words)
    if get_origin(field.annotation) is Literal:
        return gr.Radio(list(get_args(field.annotation)), value=value, **words)
    if field.annotation is bool:
        return gr.Checkbox(value, **words)
    if field.annotation in (int, float):
        low, high = _bound(field, Ge), _bound(field, Le)
        bound = "or more" if high > 1e9 else f"to {high:,g}"
        words["info"] = f"{field.description} ({low:,g} {bound})"
        precision = 0 if field.annotation is int else None
        return gr.Number(value, precision=precision, min_width=130, **words)
    lines = 4 if _bound(field, MaxLen) == LONG else 1
    if field.is_required():  # the style sheet tells an empty one by its placeholder
        words |= {"placeholder": " ", "elem_classes": "needed"}
    return gr.Textbox(value, lines=lines, max_lines=8, **words)


def _bound(field: FieldInfo, kind: type[Ge] | type[Le] | type[MaxLen]) -> Any:
    """A bound of a field, None without one."""
    name = {Ge: "ge", Le: "le", MaxLen: "max_length"}[kind]
    return next((getattr(item, name) for item in field.metadata if type(item) is kind), None)
