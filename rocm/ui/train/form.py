"""The left column of the training page: preset, settings, what they will cost, and Start."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from rocm.config import RunConfig
from rocm.errors import ConfigError, RocmError, RunError
from rocm.studio import Estimate, RunReport, Services
from rocm.ui import controls as forms
from rocm.ui.access import Access
from rocm.ui.handlers import HIDDEN, QUIET, in_words
from rocm.ui.train.view import duration, fault

FIRST_PRESET = "tiny-rocm-kl"
# Where the browser keeps the form; also the key of a cipher that hides nothing from its owner.
KEPT = "rocm-studio-train"
# There the run stands far below the form.
SHOW_ON_A_PHONE = """() => {
  if (window.innerWidth <= 640) document.getElementById('state').scrollIntoView();
}"""


@dataclass(frozen=True)
class Form:
    """The controls that other parts of the page use.

    `filled` is the preset whose values have reached the controls: Start, pressed while those of
    another one are on their way, must not train the old ones under the new name.
    """

    preset: gr.Dropdown
    filled: gr.Textbox
    sentence: gr.Markdown
    settings: dict[str, Component]
    token: gr.Textbox
    start: gr.Button
    forecast: gr.HTML
    command: gr.Textbox

    @property
    def controls(self) -> list[Component]:
        """The settings' controls in the order of `forms.FIELDS`."""
        return [self.settings[name] for name in forms.FIELDS]

    @property
    def inputs(self) -> list[Component]:
        """What `read_form` takes."""
        return [self.preset, self.filled, *self.controls]

    def fill_on(self, event: Any, inputs: list[Component], values: Callable[..., Any]) -> None:
        """Fill the form when something happens.

        Args:
            event: such as a button's `click`.
            inputs: what `values` takes.
            values: a function that returns a sentence and settings.
        """

        def fill(preset: str, *given: Any) -> list[Any]:
            sentence, config = values(*given)
            return [sentence, preset, *(getattr(config, name) for name in forms.FIELDS)]

        event(None, None, self.filled, js="() => ''", api_visibility="private")
        outputs = [self.sentence, self.filled, *self.controls]
        event(in_words(fill), [self.preset, *inputs], outputs, **QUIET)


def build_form(services: Services, access: Access, selected: gr.State, page: gr.Blocks) -> Form:
    """Make and wire the column.

    Args:
        services: presets, estimates and starts.
        access: the token that starting asks for.
        selected: becomes the run that was started.
        page: the block that is open now.

    Returns:
        The controls.
    """
    # Filled here and not when the page loads: a quick click on Start must not train other values.
    first = services.load_preset(FIRST_PRESET)
    preset = gr.Dropdown(_presets(services), value=FIRST_PRESET, label="Preset", elem_id="preset")
    sentence = gr.Markdown(first.description, elem_id="preset_sentence")
    filled = gr.Textbox(FIRST_PRESET, visible=False)
    token = gr.Textbox(
        label="Admin token",
        info="The value of ROCM_ADMIN_TOKEN; asked for with everything that trains or changes.",
        type="password",
        visible=bool(access.token),
        elem_id="token",
    )
    start = gr.Button("Start training", variant="primary", elem_id="start")
    forecast = gr.HTML(elem_id="forecast")
    settings = _settings(services, first)
    with gr.Accordion("Command line", open=False):
        command = gr.Textbox(
            label="The same run from a terminal",
            lines=3,
            interactive=False,
            buttons=["copy"],
            elem_id="command",
        )
    form = Form(preset, filled, sentence, settings, token, start, forecast, command)
    form.fill_on(preset.input, [preset], lambda name: _preset(services, name))
    _wire_forecast(services, access, form, page)
    _build_saving(services, access, form)
    inputs, named = [token, *form.inputs], HIDDEN | {"api_name": "start"}
    started = start.click(in_words(_starter(services, access)), inputs, selected, **named)
    started.success(None, js=SHOW_ON_A_PHONE, api_visibility="private")
    return form


def _settings(services: Services, first: RunConfig) -> dict[str, Component]:
    rewards = services.list_rewards()
    settings = {
        name: forms.control(name, getattr(first, name), rewards if name == "reward" else ())
        for name in forms.basics()
    }
    gr.HTML("<h2>All other settings</h2>", elem_classes="overline")
    for group, members in forms.groups().items():
        with gr.Accordion(group, open=False):
            settings |= {name: forms.control(name, getattr(first, name)) for name in members}
    return settings


def _presets(services: Services) -> list[tuple[str, str]]:
    """Labels and names: the embedded model's, the user's own, then the paper's, which need a GPU.

    By how a label begins, the style sheet sets headings between them.
    """
    presets = services.list_presets()
    labels = [(f"Own: {one.name}" if one.is_own else one.name, one.name) for one in presets]
    return sorted(labels, key=lambda choice: choice[0].startswith("paper-"))


def _preset(services: Services, name: str) -> tuple[str, RunConfig]:
    config = services.load_preset(name)
    return config.description, config


def read_form(preset: str, filled: str, values: tuple[Any, ...]) -> RunConfig:
    """The settings in the form.

    Args:
        preset: the chosen one.
        filled: the one whose values are in the controls.
        values: of `Form.controls`.

    Returns:
        The checked settings.

    Raises:
        RunError: the values of a chosen preset are still on their way.
        ConfigError: a value is not allowed.
    """
    if preset != filled:
        raise RunError(f"The form is being filled with '{preset}'. Try again in a moment.")
    return _config(values)


def _config(values: tuple[Any, ...]) -> RunConfig:
    try:
        return RunConfig.load(dict(zip(forms.FIELDS, values, strict=True)))
    except ConfigError as error:
        raise ConfigError(forms.labelled(str(error))) from error


def _starter(services: Services, access: Access) -> Callable[..., str]:
    def start(token: str, preset: str, filled: str, *values: Any) -> str:
        access.check(token)
        config = read_form(preset, filled, values)
        access.check_settings(config)
        problems = services.problems(config)
        if problems:
            raise RunError(problems[0])
        run_id = services.start_run(config, preset)
        words = queue_words(services.list_runs(), run_id)
        if words:
            gr.Info(words)
        return run_id

    return start


def queue_words(reports: list[RunReport], run_id: str) -> str:
    """What to say of a run that must wait; empty if nothing is before it, so that it starts now.

    Args:
        reports: all runs.
        run_id: the new one.

    Returns:
        A sentence or an empty text.
    """
    is_busy = any(report.status.is_active for report in reports)
    place = next((report.position for report in reports if report.run_id == run_id), None)
    if place is None or (place == 0 and not is_busy):
        return ""
    return f"Queued as number {place + 1}: it starts by itself when its turn comes."


def _wire_forecast(services: Services, access: Access, form: Form, page: gr.Blocks) -> None:
    # Kept in the visitor's browser, so that a reload loses nothing that was typed.
    kept = gr.BrowserState(None, storage_key=f"{KEPT}.form", secret=KEPT)

    def describe(
        token: str, sentence: str, preset: str, filled: str, *values: Any
    ) -> tuple[Any, str, str]:
        named = dict(zip(forms.FIELDS, values, strict=True))
        own = {"preset": preset, "sentence": sentence, "values": named}
        # The values of a preset that was chosen just now are still on their way.
        note = own if preset == filled else gr.skip()
        try:
            config = _config(values)
        except RocmError as error:
            return note, fault(str(error)), ""
        # Looking for files that a stranger names would tell what lies on this machine.
        problems = services.problems(config) if access.allows(token) else []
        words = forecast(services.estimate(config), problems)
        return note, words, services.command_line(config, preset or "")

    def recall(own: Any) -> list[Any]:
        choices = _presets(services)
        preset, sentence, values = kept_form(own, [name for _, name in choices])
        # Asked for by every page: presets saved since the app began are there after a reload.
        choice = gr.update(choices=choices, value=preset) if preset else gr.update(choices=choices)
        skipped = [gr.skip()] * len(form.controls)
        if not preset:
            return [choice, gr.skip(), gr.skip(), *skipped]
        shown = [values.get(name, left) for name, left in zip(forms.FIELDS, skipped, strict=True)]
        return [choice, sentence, preset, *shown]

    inputs = [form.token, form.sentence, *form.inputs]
    described = {"inputs": inputs, "outputs": [kept, form.forecast, form.command], **QUIET}
    recalled = [form.preset, form.sentence, form.filled, *form.controls]
    page.load(recall, kept, recalled, **QUIET).then(describe, **described)
    # One handler for all controls: while it answers, later changes are kept to one more call.
    changes = [form.token.change, form.filled.change, *(one.change for one in form.controls)]
    gr.on(changes, describe, trigger_mode="always_last", **described)


def kept_form(own: Any, presets: list[str]) -> tuple[str, str, dict[str, Any]]:
    """What of a form that a browser kept can be shown; it may come from another version.

    Args:
        own: `preset`, `sentence` and `values` by setting, or nothing.
        presets: names that exist.

    Returns:
        Preset, sentence and the values that fit; an empty preset if there is nothing to show.
    """
    if not isinstance(own, dict) or own.get("preset") not in presets:
        return "", "", {}
    values = own.get("values")
    known = values.items() if isinstance(values, dict) else ()
    fitting = {name: one for name, one in known if name in forms.FIELDS and forms.fits(name, one)}
    return own["preset"], str(own.get("sentence") or ""), fitting


def forecast(estimate: Estimate, problems: list[str]) -> str:
    """What a run will cost, or why it cannot work.

    Args:
        estimate: of time and memory.
        problems: sentences; empty if there are none.

    Returns:
        HTML.
    """
    if problems:
        return "".join(fault(one) for one in problems)
    parts = []
    if estimate.seconds is not None:
        parts.append(f"about {duration(estimate.seconds)}")
    if estimate.memory_mb is not None:
        parts.append(f"{estimate.memory_mb / 1000:.1f} GB of memory")
    words = " and ".join(parts)
    figure = f"<strong>{escape(words[:1].upper() + words[1:])}</strong> " if words else ""
    return f'<div class="subtle">{figure}<span>{escape(estimate.basis)}</span></div>'


def _build_saving(services: Services, access: Access, form: Form) -> None:
    with gr.Accordion("Save as a preset", open=False):
        name = gr.Textbox(
            label="Name",
            info="Letters, digits, - and _, beginning with a letter or digit.",
            max_lines=1,
            elem_id="preset_name",
        )
        words = gr.Textbox(
            label="Description",
            info="One sentence: what it shows.",
            max_lines=2,
            elem_id="preset_description",
        )
        save = gr.Button("Save preset", elem_id="save_preset")

    def save_preset(
        token: str, name: str | None, words: str | None, preset: str, filled: str, *values: Any
    ) -> tuple[Any, str, str]:
        access.check(token)
        name, words = name or "", words or ""
        services.save_preset(name, read_form(preset, filled, values), words)
        gr.Info(escape(f"Saved as preset '{name}'."))
        return gr.update(choices=_presets(services), value=name), name, words

    inputs = [form.token, name, words, *form.inputs]
    save.click(
        in_words(save_preset),
        inputs,
        [form.preset, form.filled, form.sentence],
        api_name="save_preset",
        **HIDDEN,
    )
