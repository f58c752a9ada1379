"""The left column of the Train page: preset, settings, estimated cost, and Start."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from rocm.config import RunConfig
from rocm.config.presets import FIRST_PRESET
from rocm.errors import RocmError, RunError, SettingsError
from rocm.rewards.names import EMBEDDED, learned_here, usable_published
from rocm.runs.engines.base import chosen_engine
from rocm.runs.reports import RunReport
from rocm.storage.numbers import duration, number
from rocm.studio import Studio
from rocm.training.estimate import Estimate
from rocm.ui import controls
from rocm.ui.access import Access
from rocm.ui.controls import Kept
from rocm.ui.handlers import QUIET, fault, named

PLACES = {"local": ("This machine", "local"), "slurm": ("Slurm", "slurm"), "ray": ("Ray", "ray")}
# Where the browser keeps the form; also the key of a cipher that hides nothing from its owner.
KEPT = "rocm-studio-train"
# The settings take no typing while they are filled, so that none is lost.
EMPTIED = """() => {
  document.getElementById('settings').inert = true;
  return '';
}"""
# A list of presets that is left without a choice tells of an input, too.
EMPTIED_BY_PRESET = f"(preset, filled) => preset === filled ? filled : ({EMPTIED})()"
FILLED = "() => { document.getElementById('settings').inert = false; }"
WAIT_FOR_FORM = """async () => {
  while (document.getElementById('settings').inert) await new Promise(done => setTimeout(done, 50));
}"""
# Arrow keys double or halve a learning rate, whose steps would be of its own size.
DOUBLE = """document.addEventListener('keydown', event => {
  const factor = {ArrowUp: 2, ArrowDown: 0.5}[event.key];
  const input = event.target.closest('[id^=setting_][id$=learning_rate] input');
  if (!factor || !input || !Number(input.value)) return;
  event.preventDefault();
  input.value = Number((Number(input.value) * factor).toPrecision(6));
  input.dispatchEvent(new Event('input', {bubbles: true}));
});"""
# On a phone the run is far below the form.
SHOW_ON_A_PHONE = """() => {
  if (window.innerWidth <= 640) document.getElementById('state').scrollIntoView();
}"""


@dataclass(frozen=True)
class TrainForm:
    """The controls that other parts of the page use.

    `filled` is the preset whose values have reached the controls: Start, pressed while another
    preset is being loaded, must not train the old values under the new name.
    """

    preset: gr.Dropdown
    filled: gr.Textbox
    sentence: gr.Markdown
    settings: dict[str, Component]
    token: gr.Textbox
    where: gr.Dropdown
    start: gr.Button
    forecast: gr.HTML
    command: gr.Textbox
    looks: gr.HTML

    @property
    def controls(self) -> list[Component]:
        """The settings' controls in the order of `controls.FIELDS`."""
        return [self.settings[name] for name in controls.FIELDS]

    @property
    def inputs(self) -> list[Component]:
        """What `read_form` takes."""
        return [self.preset, self.filled, *self.controls]

    def fill_on(
        self,
        event: Any,
        inputs: list[Component],
        values: Callable[..., Any],
        emptied: str = EMPTIED,
    ) -> None:
        """Fill the form on an event; `values(*inputs)` returns a sentence and settings.

        `emptied` is a script that gives `filled` its value meanwhile; a value that is not empty
        leaves the form as it is.
        """

        def fill(preset: str, filled: str, *given: Any) -> list[Any]:
            if filled:
                return [gr.skip()] * len(outputs)
            sentence, config = values(*given)
            return [sentence, preset, *(getattr(config, name) for name in controls.FIELDS)]

        outputs = [self.sentence, self.filled, *self.controls]
        given = [self.preset, self.filled]
        emptying = event(None, given, self.filled, js=emptied)
        emptying.then(fill, [*given, *inputs], outputs, **QUIET).then(None, js=FILLED)

    def send_on(self, event: Any) -> Any:
        """The event once the form is filled; what follows gets the filled values."""
        return event(None, None, None, js=WAIT_FOR_FORM)


def build_form(studio: Studio, access: Access, selected: Kept, page: gr.Blocks) -> TrainForm:
    """Make and wire the column; a run that starts at once is `selected`."""
    # Filled here and not when the page loads: a quick click on Start must not train other values.
    first = studio.presets.load(FIRST_PRESET)
    preset = gr.Dropdown(_presets(studio), value=FIRST_PRESET, label="Preset", elem_id="preset")
    sentence = gr.Markdown(first.description, elem_id="preset_sentence")
    filled = gr.Textbox(FIRST_PRESET, visible=False)
    info = "The value of ROCM_ADMIN_TOKEN; needed to train or change anything."
    words = named("token", "Admin token", info)
    token = gr.Textbox(type="password", visible=bool(access.token), **words)
    words = named("where", "Where", "Where to train; engines that answer are listed.")
    where = gr.Dropdown([PLACES["local"]], value="local", visible=False, **words)
    start = gr.Button("Start training", variant="primary", elem_id="start")
    forecast = gr.HTML(elem_id="forecast")
    with gr.Column(elem_id="settings"):
        settings = _settings(studio, first)
    with gr.Accordion("Command line", open=False):
        words = named("command", "Command for this run")
        command = gr.Textbox(lines=3, interactive=False, buttons=["copy"], **words)
    looks = gr.HTML(controls.looks(first.model_dump(), {}), js_on_load=DOUBLE, elem_id="looks")
    parts = (preset, filled, sentence, settings, token, where, start, forecast, command, looks)
    form = TrainForm(*parts)

    def chosen(name: str) -> tuple[str, RunConfig]:
        config = studio.presets.load(name)
        return config.description, config

    reward = settings["reward"]
    reward.focus(lambda: gr.update(choices=reward_choices()), None, reward, **QUIET)
    form.fill_on(preset.input, [preset], chosen, EMPTIED_BY_PRESET)
    _wire_forecast(studio, access, form, page)
    _build_saving(studio, access, form)
    page.load(lambda: _places(studio), None, where, **QUIET)
    inputs, waited = [token, where, *form.inputs], form.send_on(start.click)
    started = waited.then(_starter(studio, access), inputs, selected, api_name="start")
    started.success(None, js=SHOW_ON_A_PHONE)
    return form


def reward_choices() -> list[str]:
    """The rewards that are offered now: embedded, published on this disk, learned."""
    return [*EMBEDDED, *usable_published(), *learned_here()]


def _places(studio: Studio) -> Any:
    places = studio.places()
    chosen = chosen_engine()
    value = chosen if chosen in places else "local"
    choices = [PLACES[name] for name in places]
    return gr.update(choices=choices, value=value, visible=len(places) > 1)


def _settings(studio: Studio, first: RunConfig) -> dict[str, Component]:
    offered = {"reward": reward_choices()}
    settings = {
        name: controls.control(name, getattr(first, name), offered.get(name, ()))
        for name in controls.basics()
    }
    gr.HTML("<h2>All other settings</h2>", elem_classes="overline")
    for group, members in controls.groups().items():
        with gr.Accordion(group, open=False, elem_id=controls.group_id(group)):
            settings |= {name: controls.control(name, getattr(first, name)) for name in members}
    return settings


def _presets(studio: Studio) -> list[tuple[str, str]]:
    """Labels and names: the embedded model's presets, the user's, then those of papers.

    The style sheet sets headings between them by how a label starts.
    """
    presets = studio.presets.all()
    labels = [
        (f"Own: {preset.name}" if preset.is_own else preset.name, preset.name) for preset in presets
    ]
    return sorted(labels, key=lambda choice: choice[0].startswith(("paper-", "original-")))


def read_form(preset: str, filled: str, values: tuple[Any, ...]) -> RunConfig:
    """The checked settings in the form; `values` are those of `TrainForm.controls`.

    RunError while the values of the chosen preset are still being loaded.
    """
    if preset != filled:
        raise RunError(f"Preset '{preset}' is still being loaded. Try again in a moment.")
    return _config(values)


def _config(values: tuple[Any, ...]) -> RunConfig:
    try:
        return RunConfig.load(dict(zip(controls.FIELDS, values, strict=True)))
    except SettingsError as error:
        named = {name: controls.labeled(words) for name, words in error.faults.items()}
        raise SettingsError(named) from error


def _starter(studio: Studio, access: Access) -> Callable[..., Any]:
    def start(token: str, where: str, preset: str, filled: str, *values: Any) -> Any:
        access.check(token)
        config = read_form(preset, filled, values)
        access.check_settings(config)
        problems = studio.problems(config, where)
        if problems:
            raise RunError(" ".join(map(controls.labeled, problems)))
        run_id = studio.start_run(config, preset, where)
        words = queue_notice(studio.runs.all(), run_id)
        if words:
            gr.Info(words)
        return gr.skip() if words else run_id

    return start


def queue_notice(reports: list[RunReport], run_id: str) -> str:
    """A notice that a new run must wait; empty if it starts now."""
    is_busy = any(report.status.is_active for report in reports)
    place = next((report.position for report in reports if report.run_id == run_id), None)
    if place is None or (place == 0 and not is_busy):
        return ""
    return f"Queued as number {place + 1}. It starts automatically; the list of runs has it."


def _wire_forecast(studio: Studio, access: Access, form: TrainForm, page: gr.Blocks) -> None:
    # Kept in the visitor's browser, so that a reload keeps what was typed.
    kept = gr.BrowserState(None, storage_key=f"{KEPT}.form", secret=KEPT)

    def describe(
        token: str, sentence: str, where: str, preset: str, filled: str, *values: Any
    ) -> tuple[Any, str, str, str]:
        by_name = dict(zip(controls.FIELDS, values, strict=True))
        own = {"preset": preset, "sentence": sentence, "values": by_name}
        # The values of a preset that was just chosen are still being loaded.
        note = own if preset == filled else gr.skip()
        try:
            config = _config(values)
        except SettingsError as error:
            words = "".join(map(fault, error.faults.values()))
            return note, words, "", controls.looks(by_name, error.faults)
        except RocmError as error:
            return note, fault(str(error)), "", controls.looks(by_name, {})
        # Looking for files named by a stranger would reveal what this machine has.
        problems = studio.problems(config, where) if access.allows(token) else []
        placed = {controls.setting_of(words): controls.labeled(words) for words in problems}
        words = forecast(studio.estimate(config), list(map(controls.labeled, problems)))
        command = studio.presets.command_line(config, preset or "")
        return note, words, command, controls.looks(by_name, placed)

    def recall(own: Any) -> list[Any]:
        choices = _presets(studio)
        preset, sentence, values = kept_form(own, [name for _, name in choices])
        # Read at every load: presets saved since the app started appear after a reload.
        choice = gr.update(choices=choices, value=preset) if preset else gr.update(choices=choices)
        skipped = [gr.skip()] * len(form.controls)
        if not preset:
            return [choice, gr.skip(), gr.skip(), *skipped]
        shown = [
            values.get(name, left) for name, left in zip(controls.FIELDS, skipped, strict=True)
        ]
        return [choice, sentence, preset, *shown]

    inputs = [form.token, form.sentence, form.where, *form.inputs]
    outputs = [kept, form.forecast, form.command, form.looks]
    described = {"inputs": inputs, "outputs": outputs, **QUIET}
    recalled = [form.preset, form.sentence, form.filled, *form.controls]
    page.load(None, js=EMPTIED)
    page.load(recall, kept, recalled, **QUIET).then(None, js=FILLED).then(describe, **described)
    # One handler for all controls: while it runs, later changes are merged into one more call.
    changes = [
        form.token.change,
        form.where.change,
        form.filled.change,
        *(control.change for control in form.controls),
    ]
    gr.on(changes, describe, trigger_mode="always_last", **described)


def kept_form(own: Any, presets: list[str]) -> tuple[str, str, dict[str, Any]]:
    """Preset, sentence and fitting values of a form kept by a browser, maybe of another version.

    The preset is empty if nothing can be shown.
    """
    if not isinstance(own, dict) or own.get("preset") not in presets:
        return "", "", {}
    values = own.get("values")
    known = values.items() if isinstance(values, dict) else ()
    fitting = {
        name: value
        for name, value in known
        if name in controls.FIELDS and controls.fits(name, value)
    }
    return own["preset"], str(own.get("sentence") or ""), fitting


def forecast(estimate: Estimate, problems: list[str]) -> str:
    """Expected time and memory of a run as HTML, or the problems with its settings."""
    if problems:
        return "".join(map(fault, problems))
    parts = []
    if estimate.seconds is not None:
        parts.append(f"about {duration(estimate.seconds)}")
    if estimate.memory_mb is not None:
        parts.append(f"{number(estimate.memory_mb / 1000, 1)} GB of memory")
    words = " and ".join(parts)
    figure = f"<strong>{escape(words[:1].upper() + words[1:])}.</strong> " if words else ""
    return f'<div class="subtle">{figure}<span>{escape(estimate.basis)}</span></div>'


def _build_saving(studio: Studio, access: Access, form: TrainForm) -> None:
    with gr.Accordion("Save as a preset", open=False):
        info = "Letters, digits, - and _, starting with a letter or digit."
        name = gr.Textbox(max_lines=1, **named("preset_name", "Name", info))
        info = "One sentence that describes the preset."
        words = gr.Textbox(max_lines=2, **named("preset_description", "Description", info))
        save = gr.Button("Save preset", elem_id="save_preset")

    def save_preset(
        token: str, name: str | None, words: str | None, preset: str, filled: str, *values: Any
    ) -> tuple[Any, str, str]:
        access.check(token)
        name, words = name or "", words or ""
        studio.presets.save(name, read_form(preset, filled, values), words)
        gr.Info(escape(f"Saved as preset '{name}'."))
        return gr.update(choices=_presets(studio), value=name), name, words

    inputs = [form.token, name, words, *form.inputs]
    outputs = [form.preset, form.filled, form.sentence]
    form.send_on(save.click).then(save_preset, inputs, outputs, api_name="save_preset")
