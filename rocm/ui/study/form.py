"""The form of a new study, made from the fields of `Recipe`; or a study.yaml."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import gradio as gr
from annotated_types import MaxLen
from gradio.components import Component
from pydantic import BaseModel

from rocm.evaluation.request import first_request
from rocm.evaluation.store import Comparisons
from rocm.runs.adapters import BASE
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
from rocm.study.service import Studies
from rocm.ui.compare.form import arm_choices
from rocm.ui.controls import bound, range_words
from rocm.ui.generate.page import STEPS
from rocm.ui.handlers import SILENT, named, small_button
from rocm.ui.study.cost import CostBox
from rocm.ui.words import build_words

SETS = [
    ("Typed below", TYPED),
    ("The embedded model's own", "own"),
    ("The paper's: PartiPrompts and HPS", "paper"),
    ("Offline: PartiPrompts, ImageReward, SPO", "offline"),
    ("Text file", "file"),
]
LISTS = ("paper", "offline", "file")  # those that may lie in a folder
COMPARISONS = [
    ("Every two arms", "all"),
    ("Each with the next, for a ladder of betas", "neighbors"),
    ("ROCM with RLCM, by reward (Figure 3)", "paper-figure-3"),
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


class StudyForm:
    """The form's controls; `fields` are by the recipe's names, as `form_recipe` takes them."""

    def __init__(self, compare: Comparisons, studies: Studies) -> None:
        """Make the form in the current Gradio block; `compare` knows the arms to choose from."""
        self.fields: dict[str, Any] = {}
        with (
            gr.Accordion("New study", open=False, elem_id="study_new") as self.box,
            gr.Tabs(elem_id="study_ways") as self.tabs,
        ):
            with gr.Tab("Form", id="form"), gr.Walkthrough(elem_id="study_steps") as steps:
                self._build_steps(steps, compare, studies)
            with gr.Tab("study.yaml", id="text"):
                info = "All settings of a study; docs/study.md describes them."
                words = named("study_text", "study.yaml", info)
                self.text = gr.Textbox(lines=16, max_lines=30, **words)
                self.file = gr.HTML(FILE, js_on_load=READ_FILE, elem_id="study_file")
                words = {"variant": "primary", "elem_id": "study_build_text"}
                self.build_text = gr.Button("Build from text", **words)

    def _build_steps(self, steps: gr.Walkthrough, compare: Comparisons, studies: Studies) -> None:
        groups = _groups()
        with gr.Step("Arms", id=0):
            self._build_arms(compare)
            _turn(steps, 0)
        with gr.Step("Size", id=1):
            with gr.Row(elem_classes="study-columns"):
                with gr.Column(min_width=300):
                    self._build_prompts(compare.runs)
                    self._add_rows(["seed", "seeds_per_prompt", *groups.pop(SIZE)])
                with gr.Column(min_width=300):
                    self.cost = CostBox("study_new_cost", studies)
            _turn(steps, 1)
        with gr.Step("People", id=2):
            self._add(groups.pop(ANSWERS))
            self.fields["allow_tie"] = gr.Checkbox(True, label="Allow ties")
            for group, names in groups.items():
                with gr.Accordion(group, open=False):
                    self._add_rows(names) if group == CHECKS else self._add(names)
            _turn(steps, 2)
        with gr.Step("Consent", id=3):
            self._add([f"consent.{name}" for name in Consent.model_fields])
            with gr.Row(elem_classes="buttons"):
                _button("Back", steps, 2)
                self.build = gr.Button("Build study", variant="primary", elem_id="study_build")
                words = {"size": "md", "elem_id": "study_as_text"}
                self.as_text = gr.Button("Show as study.yaml", **words)
            gr.on([self.build.click, self.as_text.click], None, js=MARK_EMPTY)

    def _build_arms(self, compare: Comparisons) -> None:
        many = {"multiselect": True, "allow_custom_value": True}
        self._add(["title"])
        info = "Models to compare: base model, runs, adapters, or a typed adapter folder."
        words = named("study_arms", "Arms", info) | many
        chosen = [name for name in first_request().arms if name != BASE]
        self.fields["arms"] = gr.Dropdown(arm_choices(compare), value=chosen, **words)
        words = named("study_comparisons", "Comparisons")
        self.fields["comparisons"] = gr.Radio(COMPARISONS, value="all", **words)
        with gr.Row():
            name = "arms.num_inference_steps"
            label = StudyArm.model_fields["num_inference_steps"].title
            self.fields[name] = gr.Dropdown(STEPS, value=4, label=label, min_width=130)
            self._add(["arms.guidance_scale"])
        words = named("study_rewards", "Rewards", Recipe.model_fields["rewards"].description) | many
        self.fields["rewards"] = gr.Dropdown(list(REWARDS), value=list(REWARDS), **words)

    def _build_prompts(self, runs: Path) -> None:
        kind = gr.Dropdown(SETS, value="own", **named("study_prompts_set", "Prompt set"))
        self.fields["prompts.set"] = kind
        self._add(["prompts.num", "prompts.split"])
        with gr.Column(visible=False) as own:
            info = "One prompt per line; practice and checks use some of them."
            words = named("study_prompts_typed", "Typed prompts", info)
            typed = gr.Textbox(lines=6, max_lines=12, **words)
            build_words(typed, [self.fields["arms"]], runs)
        info = "On this machine. Prompt lists without a folder come from the Hugging Face hub."
        words = named("study_prompts_source", "Folder or file", info)
        source = gr.Textbox(max_lines=1, visible=False, **words)
        self.fields |= {"prompts.typed": typed, "prompts.source": source}

        def shown(name: str) -> list[Any]:
            looks = (name != TYPED, name != TYPED, name == TYPED, name in LISTS)
            return [gr.update(visible=is_shown) for is_shown in looks]

        parts = [self.fields["prompts.num"], self.fields["prompts.split"], own, source]
        kind.change(shown, kind, parts, **SILENT)

    def _add(self, names: Sequence[str]) -> None:
        self.fields |= {name: _control(name) for name in names}

    def _add_rows(self, names: Sequence[str]) -> None:
        """Controls of numbers, two in a row."""
        for first in range(0, len(names), 2):
            with gr.Row():
                self._add(names[first : first + 2])


def _turn(steps: gr.Walkthrough, place: int) -> None:
    """Buttons that lead from a step to its neighbors."""
    with gr.Row(elem_classes="buttons"):
        if place:
            _button("Back", steps, place - 1)
        _button("Next", steps, place + 1)


def _button(words: str, steps: gr.Walkthrough, to: int) -> None:
    button = small_button(words, look="primary" if words == "Next" else "secondary")
    script = f"() => ({{__type__: 'update', selected: {to}}})"
    button.click(None, None, steps, js=script)


def _groups() -> dict[str, list[str]]:
    """Names of the recipe's fields that are folded away, by group."""
    groups: dict[str, list[str]] = {}
    for name, field in Recipe.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra["group"]:
            groups.setdefault(str(extra["group"]), []).append(name)
    return groups


def _control(name: str) -> Component:
    """The control of a field; label, help, default and bounds are the recipe's."""
    part, _, key = name.rpartition(".")
    models: dict[str, type[BaseModel]] = {"consent": Consent, "prompts": Prompts, "arms": StudyArm}
    field = (models[part] if part else Recipe).model_fields[key]
    value: Any = FIRST.get(name, None if field.is_required() else field.default)
    elem_id = f"study_{name.replace('.', '_')}"
    words: dict[str, Any] = {"label": field.title, "info": field.description, "elem_id": elem_id}
    if name == "questions":
        choices = [(question.text, question.key) for question in QUESTIONS]
        return gr.CheckboxGroup(choices, value=[key for _, key in choices], **words)
    if get_origin(field.annotation) is Literal:
        return gr.Radio(list(get_args(field.annotation)), value=value, **words)
    if field.annotation is bool:
        return gr.Checkbox(value, **words)
    if field.annotation in (int, float):
        words["info"] = f"{field.description} {range_words(field)}"
        precision = 0 if field.annotation is int else None
        return gr.Number(value, precision=precision, min_width=130, **words)
    lines = 4 if bound(field, MaxLen) == LONG else 1
    if field.is_required():  # the style sheet tells an empty one by its placeholder
        words |= {"placeholder": " ", "elem_classes": "needed"}
    return gr.Textbox(value, lines=lines, max_lines=8, **words)
