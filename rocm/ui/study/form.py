"""The form of a new study: arms, prompts, questions, numbers, consent; or a study.yaml."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import BaseModel

from rocm.evaluation.store import Comparisons
from rocm.study.service import TYPED, WISHES, Consent, Question, Recipe, Wish
from rocm.ui.compare.form import arm_choices
from rocm.ui.generate.page import STEPS

SETS = [
    ("typed below", TYPED),
    ("the embedded model's own", "own"),
    ("as the paper: PartiPrompts and HPS", "paper"),
    ("offline stand-in: PartiPrompts, ImageReward, SPO", "offline"),
    ("a text file", "file"),
]
REWARDS = ("tiny-clip", "colorfulness")
EMPTIED = ("title", "prompts", "prompt_source", "instructions", "completion_url", "screen_out_url")
CONSENT_TEXT = (
    "You choose between pictures that computer programs made. Your choices and the time that they "
    "take are stored under a number. Nothing that names you is stored. You may stop at any time."
)
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


class OpenedFile(BaseModel):
    """What the browser has read from a file."""

    text: str


@dataclass(frozen=True)
class Form:
    """The controls; `wishes` are those of `WISHES`, in that order."""

    box: gr.Accordion
    ways: gr.Tabs
    wishes: dict[str, Component]
    build: gr.Button
    as_text: gr.Button
    text: gr.Textbox
    file: gr.HTML
    build_text: gr.Button

    @property
    def controls(self) -> list[Component]:
        """Those that a wish is made of."""
        return [self.wishes[name] for name in WISHES]


def wish(values: tuple[Any, ...]) -> Wish:
    """The wish that the controls' values make; a field that was emptied is an empty text."""
    given = dict(zip(WISHES, values, strict=True))
    for name in ("arms", "rewards", "questions"):
        given[name] = tuple(given[name] or ())
    for name in EMPTIED:
        given[name] = given[name] or ""
    return Wish(**given)


def build_form(desk: Comparisons) -> Form:
    """Make the form.

    Args:
        desk: that knows what can be compared.

    Returns:
        The controls, made in the current Gradio block.
    """
    with (
        gr.Accordion("New study", open=False, elem_id="study_new") as box,
        gr.Tabs(elem_id="study_ways") as ways,
    ):
        with gr.Tab("Form", id="form"):
            wishes = _build_wishes(desk)
            build = gr.Button("Build the study", variant="primary", elem_id="study_build")
            as_text = gr.Button("Show as study.yaml", size="md", elem_id="study_as_text")
        with gr.Tab("study.yaml", id="text"):
            text, file, build_text = _build_text()
    return Form(box, ways, wishes, build, as_text, text, file, build_text)


def _build_wishes(desk: Comparisons) -> dict[str, Component]:
    wishes = _build_first(desk) | _build_prompts()
    with gr.Accordion("Questions and answers", open=False, elem_id="study_questions_box"):
        wishes |= _build_questions()
    with gr.Accordion("How much, and of whom", open=False, elem_id="study_numbers_box"):
        wishes |= _build_numbers()
    with gr.Accordion("Instructions, and ways back", open=False, elem_id="study_texts_box"):
        wishes |= _build_texts()
    with gr.Accordion("Consent: every field is asked for", elem_id="study_consent_box"):
        wishes |= _build_consent()
    return wishes


def _build_text() -> tuple[gr.Textbox, gr.HTML, gr.Button]:
    text = gr.Textbox(
        label="study.yaml",
        info="Everything that a study can be: docs/study.md names each setting.",
        lines=16,
        max_lines=30,
        elem_id="study_text",
    )
    file = gr.HTML(FILE, js_on_load=READ_FILE, elem_id="study_file")
    build = gr.Button("Build from this text", variant="primary", elem_id="study_build_text")
    return text, file, build


def _help(model: Any, name: str) -> str:
    return str(model.model_fields[name].description)


def _number(name: str, label: str, value: Any = None, scale: int = 1) -> gr.Number:
    """A number of the recipe, with its default and help."""
    field = Recipe.model_fields[name]
    return gr.Number(
        field.default if value is None else value,
        label=label,
        info=field.description,
        precision=0 if field.annotation is int else None,
        scale=scale,
        min_width=130,
        elem_id=f"study_{name}",
    )


def _build_first(desk: Comparisons) -> dict[str, Component]:
    first = [name for name in desk.first_request().arms if name != "base"]
    return {
        "title": gr.Textbox(
            "Which picture do you prefer?",
            label="Title",
            info=_help(Recipe, "title"),
            max_lines=1,
            elem_id="study_title",
        ),
        "arms": gr.Dropdown(
            arm_choices(desk),
            value=first,
            multiselect=True,
            allow_custom_value=True,
            label="Arms",
            info="What is compared: base model, runs, adapters; an adapter's folder can be typed.",
            elem_id="study_arms",
        ),
        "comparisons": gr.Radio(
            [("every two arms", "all"), ("ROCM with RLCM of each reward", "paper-figure-3")],
            value="all",
            label="Comparisons",
            info="The second is the paper's Figure 3.",
            elem_id="study_comparisons",
        ),
    }


def _build_prompts() -> dict[str, Component]:
    found: dict[str, Component] = {}
    found["prompt_set"] = gr.Dropdown(SETS, value="own", label="Prompts", elem_id="study_set")
    found["num_prompts"] = gr.Number(
        20,
        label="How many",
        info="That are analysed; practice and checks take others besides.",
        precision=0,
        elem_id="study_num_prompts",
    )
    found["prompts"] = gr.Textbox(
        label="Typed prompts",
        info="One per line. Practice and checks take some of them for themselves.",
        lines=6,
        max_lines=12,
        visible=False,
        elem_id="study_prompts",
    )
    found["prompt_source"] = gr.Textbox(
        label="Folder of the lists, or the file",
        info="On this machine. Without a folder lists come from the Hugging Face hub.",
        max_lines=1,
        visible=False,
        elem_id="study_prompt_source",
    )
    gr.on(
        found["prompt_set"].change,
        lambda name: [
            gr.update(visible=name != TYPED),
            gr.update(visible=name == TYPED),
            gr.update(visible=name in ("paper", "offline", "file")),
        ],
        found["prompt_set"],
        [found["num_prompts"], found["prompts"], found["prompt_source"]],
        show_progress="hidden",
        api_visibility="private",
    )
    with gr.Row():
        found["seed"] = _number("seed", "Seed")
        found["seeds_per_prompt"] = _number("seeds_per_prompt", "Seeds per prompt")
    with gr.Row():
        found["num_inference_steps"] = gr.Dropdown(
            STEPS, value=4, label="Sampler steps (N)", min_width=130, elem_id="study_steps"
        )
        found["guidance_scale"] = gr.Number(
            8.5, label="Guidance scale", min_width=130, elem_id="study_guidance"
        )
    found["rewards"] = gr.Dropdown(
        list(REWARDS),
        value=list(REWARDS),
        multiselect=True,
        allow_custom_value=True,
        label="Rewards",
        info="Measured on every picture, to be held against the votes.",
        elem_id="study_rewards",
    )
    return found


def _build_questions() -> dict[str, Component]:
    asked: tuple[Question, ...] = Recipe.model_fields["questions"].default
    return {
        "questions": gr.CheckboxGroup(
            [(one.text, one.key) for one in asked],
            value=[one.key for one in asked],
            label="Questions",
            info="Asked of every pair, in this order; the first before the prompt is shown.",
            elem_id="study_questions",
        ),
        "allow_tie": gr.Checkbox(True, label="“No preference” is an answer", elem_id="study_tie"),
        "allow_skip": gr.Checkbox(True, label="A pair may be skipped", elem_id="study_skip"),
        "peeking": gr.Radio(
            [("hidden", "hidden"), ("as anytime-valid evidence", "evidence")],
            value="hidden",
            label="Results while it runs",
            elem_id="study_peeking",
        ),
    }


def _build_numbers() -> dict[str, Component]:
    with gr.Row():
        votes = _number("votes_per_pair", "Votes per pair")
        main = _number("main_per_rater", "Pairs per rater", 20)
    with gr.Row():
        checks = _number("checks_per_rater", "Checks per rater")
        repeats = _number("repeats_per_rater", "Repeats per rater")
    with gr.Row():
        practice = _number("practice", "Practice pairs")
        lease = _number("lease_minutes", "Minutes for a pair")
    with gr.Row():
        share = _number("min_check_share", "Share of checks, at least")
        fastest = _number("min_median_ms", "Shortest answer, in ms")
    return {
        "votes_per_pair": votes,
        "main_per_rater": main,
        "checks_per_rater": checks,
        "repeats_per_rater": repeats,
        "practice": practice,
        "lease_minutes": lease,
        "min_check_share": share,
        "min_median_ms": fastest,
    }


def _build_texts() -> dict[str, Component]:
    def line(name: str, label: str, lines: int = 1) -> gr.Textbox:
        field = Recipe.model_fields[name]
        return gr.Textbox(
            field.default, label=label, info=field.description, lines=lines, max_lines=8,
            elem_id=f"study_{name}",
        )  # fmt: skip

    return {
        "instructions": line("instructions", "Instructions", 4),
        "pays": gr.Checkbox(
            False, label="Raters are paid", info=_help(Recipe, "pays"), elem_id="study_pays"
        ),
        "completion_url": line("completion_url", "Address at the end"),
        "screen_out_url": line("screen_out_url", "Address of those who decline"),
    }


def _build_consent() -> dict[str, Component]:
    def line(name: str, label: str, value: str = "", lines: int = 1) -> gr.Textbox:
        return gr.Textbox(
            value, label=label, info=_help(Consent, name), lines=lines, max_lines=8,
            elem_id=f"study_consent_{name}",
        )  # fmt: skip

    found: dict[str, Component] = {"text": line("text", "Text", CONSENT_TEXT, 4)}
    found["version"] = line("version", "Version", "1")
    found["contact"] = line("contact", "Contact")
    found["min_age"] = line("min_age", "Smallest age")
    found["ethics"] = line("ethics", "Ethics")
    found["pay"] = line("pay", "Pay")
    found["retention"] = line("retention", "Retention")
    return found
