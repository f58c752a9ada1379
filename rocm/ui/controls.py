"""A setting becomes a control: label, help, choices and value all come from `RunConfig`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Annotated, Any, get_args

import gradio as gr
from annotated_types import Ge, Gt, Le, MaxLen
from gradio.components import Component
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from rocm.config import RunConfig
from rocm.config.relevance import unread_settings
from rocm.config.run_config import choices

FIELDS = {name: field for name, field in RunConfig.model_fields.items() if name != "description"}
LABELS = {
    "num_inference_steps": "Sampler steps (N)",
    "num_steps": "Number of updates",
    "lr_end_factor": "Final rate share",
    "ref_grad": "Gradient of the reference",
    "backprop": "Back-propagation",
    "js_estimator": "Jensen-Shannon estimator",
    "js_samples": "Jensen-Shannon samples",
    "lora_rank": "LoRA rank",
    "lora_alpha": "LoRA alpha",
    "lora_targets": "LoRA targets",
}
SLIDER_SPAN = 49
MANY = 1e12
NAMES = re.compile(rf"\b({'|'.join(sorted(FIELDS, key=len, reverse=True))})\b(=?)")


def groups() -> dict[str, list[str]]:
    """Names of the settings that are folded away, by their group, in the order of `RunConfig`."""
    names: dict[str, list[str]] = {}
    for name, field in FIELDS.items():
        if not _extra(field)["basic"]:
            names.setdefault(_extra(field)["group"], []).append(name)
    return names


def basics() -> list[str]:
    """Names of the settings that are always in view."""
    return [name for name, field in FIELDS.items() if _extra(field)["basic"]]


class Kept(gr.Textbox):
    """A text that the page keeps unseen and sends with each event, as it was at the click.

    A `gr.State` is read when the handler runs: by then it may hold what was clicked next.
    """

    is_template = True  # the browser's part is Textbox's

    def preprocess(self, payload: str | None) -> str:
        """What the page sent, empty for nothing."""
        return super().preprocess(payload) or ""


class NumberOrWord(gr.Textbox):
    """A number or a word, the number without needless decimals."""

    is_template = True  # the browser's part is Textbox's

    def postprocess(self, value: Any) -> str | None:
        """The text of a value: 4 for 4.0."""
        return super().postprocess(f"{value:.12g}" if isinstance(value, float) else value)


def control(name: str, value: Any, suggestions: Sequence[str] = ()) -> Component:
    """The control of a setting in the open block; `RunConfig` checks its bounds.

    `suggestions` are choices for a free text; other values can be typed.
    """
    field = FIELDS[name]
    label = label_of(name)
    info = field.description or ""
    words = {"label": label, "info": info, "elem_id": f"setting_{name}"}
    if names := choices(name):
        return gr.Dropdown(list(names), value=value, **words)
    if suggestions:
        return gr.Dropdown(list(suggestions), value=value, allow_custom_value=True, **words)
    if field.annotation is bool:
        return gr.Checkbox(value=value, **words)
    if field.annotation not in (int, float):  # a text, or a number that can be left to `auto`
        return NumberOrWord(value=value, max_lines=1, **words)
    low, high = bound(field, Ge), bound(field, Le)
    is_short = low is not None and high is not None and high - low <= SLIDER_SPAN
    if field.annotation is int and is_short:
        return gr.Slider(low, high, value=value, step=1, **words)
    step = 1 if field.annotation is int else 0.01
    return gr.Number(
        value=value, step=step, **{**words, "info": f"{info} {range_words(field)}".strip()}
    )


def label_of(name: str) -> str:
    """The label of a setting's control."""
    return LABELS.get(name, name.replace("_", " ").capitalize())


def labeled(words: str) -> str:
    """A sentence with settings named as their controls: for `num_steps=5`, Number of updates 5."""

    def label(match: re.Match[str]) -> str:
        name, equals = match.groups()
        is_named = equals or "_" in name
        return label_of(name) + (" " if equals else "") if is_named else match[0]

    return NAMES.sub(label, words)


def setting_of(words: str) -> str:
    """The first setting that a sentence names, or empty."""
    match = NAMES.search(words)
    return match[1] if match else ""


def looks(values: Mapping[str, Any], faults: Mapping[str, str]) -> str:
    """A style sheet that hides what these values leave unread and puts faults at their controls."""
    unread = unread_settings(values)
    gone = [f"#setting_{name}" for name in sorted(unread)]
    gone += [f"#{group_id(group)}" for group, names in groups().items() if unread.issuperset(names)]
    rules = [f"{', '.join(gone)} {{ display: none; }}"] if gone else []
    for name, words in faults.items():
        if name in FIELDS:
            text = re.sub(r'[\\"<>&\n]', lambda match: f"\\{ord(match[0]):x} ", words)
            rules.append(f'#setting_{name}::after {{ content: "{text}"; }}')
    return f"<style>{' '.join(rules)}</style>"


def group_id(group: str) -> str:
    """The id of a group's box in the page."""
    return f"group_{group.lower().replace(' ', '_')}"


def fits(name: str, value: Any) -> bool:
    """Whether a value fits a setting's type and bounds, so that its control can show it."""
    field = FIELDS[name]
    if names := choices(name):
        return value in names
    try:
        kind: Any = Annotated[field.annotation, field]
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


def range_words(field: FieldInfo) -> str:
    """The bounds of a number in words; a bound that nobody reaches is left out."""
    at_least, above, at_most = bound(field, Ge), bound(field, Gt), bound(field, Le)
    if at_least is None and above is None:
        return ""
    low = f"above {above:g}" if at_least is None else f"{at_least:g}"
    is_open = at_most is None or at_most > MANY
    return f"({low} or more)" if is_open else f"({low} to {at_most:,.12g})"


def bound(field: FieldInfo, kind: type[Ge] | type[Gt] | type[Le] | type[MaxLen]) -> Any:
    """The lower (`Ge`, `Gt`) or upper (`Le`, `MaxLen`) bound of a field, None without one."""
    # A number that may also be a word has its bounds in the union's first member.
    parts = [getattr(part, "__metadata__", ()) for part in get_args(field.annotation)]
    known = [*field.metadata, *(item for part in parts for info in part for item in info.metadata)]
    return next((astuple(item)[0] for item in known if type(item) is kind), None)


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    assert isinstance(extra, dict), "every setting is made by config.setting"
    return extra
