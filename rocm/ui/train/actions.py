"""Buttons that act on the selected run. Built only where training is allowed.

Destructive actions ask first, and deleted runs stay in a bin.
"""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import gradio as gr
from annotated_types import Le
from gradio.components import Component

from rocm.config import RunConfig
from rocm.config.objective import AUTO
from rocm.config.presets import FIRST_PRESET
from rocm.errors import RunError
from rocm.runs.export import export
from rocm.runs.library import Runs, open_in_file_manager
from rocm.runs.names import run_label
from rocm.runs.reports import RunReport
from rocm.runs.run_dir import Control
from rocm.storage.numbers import quantity
from rocm.studio import Studio
from rocm.ui.access import Access
from rocm.ui.controls import FIELDS, Kept, bound
from rocm.ui.handlers import QUIET, click_at_work, named
from rocm.ui.train.form import TrainForm

Rule = Callable[[RunReport], bool]
STOPPABLE = ("submitted", "starting", "running")
# Buttons with one effect: words, and for which runs they are enabled.
SIMPLE: dict[str, tuple[str, Rule]] = {
    "stop_run": ("Stop", lambda report: report.status.state in STOPPABLE),
    "resume_run": ("Resume", lambda report: report.status.is_resumable),
    "sample_now": ("Sample now", lambda report: report.status.state == "running"),
    "save_now": ("Save now", lambda report: report.status.state == "running"),
    "cancel_run": ("Leave the queue", lambda report: report.position is not None),
}
TRAINING = ("stop_run", "resume_run", "sample_now", "save_now")
WAITING = ("cancel_run", "earlier", "later")
MOVES = {"earlier": -1, "later": 1}
DONE = {
    "sample_now": "Pictures are drawn after this update.",
    "save_now": "A checkpoint is written after this update.",
}


@dataclass(frozen=True)
class Actions:
    """The buttons by name, and the texts that follow the selected run.

    `shown` is the run that the buttons were last drawn for and act on, `named` that of the texts:
    neither a click nor typed text may reach a run that was selected a moment later.
    """

    access: Access
    buttons: dict[str, gr.Button]
    title: gr.Textbox
    note: gr.Textbox
    named: Kept
    shown: Kept

    @property
    def components(self) -> dict[str, Component]:
        """All that a poll may change, by name."""
        texts = {"title": self.title, "note": self.note, "named": self.named}
        return {**self.buttons, **texts, "shown": self.shown}


@dataclass(frozen=True)
class _Target:
    """What the buttons act on: `shown` of the runs; they may select another."""

    runs: Runs
    access: Access
    form: TrainForm
    selected: Kept
    shown: Kept

    def on_click(
        self,
        button: gr.Button,
        act: Callable[..., Any],
        inputs: list[Component],
        outputs: Any = None,
        api_name: str = "",
    ) -> None:
        """Call `act` with the inputs, once the admin token was checked."""

        def checked(token: str, *values: Any) -> Any:
            self.access.check(token)
            return act(*values)

        name = api_name or button.elem_id
        button.click(checked, [self.form.token, *inputs], outputs, api_name=name)


def pressable(report: RunReport | None, num_waiting: int) -> dict[str, Any]:
    """Updates that enable the buttons for a run (None for no run), by the button's name."""
    rules: dict[str, Rule] = {name: rule for name, (_, rule) in SIMPLE.items()} | {
        "earlier": lambda report: bool(report.position),
        "later": lambda report: report.position is not None and report.position < num_waiting - 1,
        "continue_run": lambda report: report.status.state in ("finished", "stopped"),
        "delete": lambda report: not (report.status.is_active or report.status.is_queued),
    }
    is_waiting = report is not None and report.position is not None
    shown = {name: is_waiting for name in WAITING} | {name: not is_waiting for name in TRAINING}
    updates = {
        name: gr.update(
            interactive=report is not None and bool(rule(report)), visible=shown.get(name, True)
        )
        for name, rule in rules.items()
    }
    config = report.config if report else None
    words = f"Restart with beta {larger_beta(config):g}" if config else ""
    return updates | {"restart": gr.update(value=words, interactive=bool(config))}


def build_actions(runs: Runs, access: Access, form: TrainForm, selected: Kept) -> Actions:
    """Make and wire the buttons; some select another run."""
    target = _Target(runs, access, form, selected, Kept(visible="hidden"))
    buttons = {}
    with gr.Row(elem_classes="buttons"):
        for name, (words, _) in SIMPLE.items():
            look = "stop" if name == "stop_run" else "secondary"
            buttons[name] = _button(words, name, look, visible=name in TRAINING)
        for name in MOVES:
            buttons[name] = _button(name.capitalize(), name, visible=False)
    for name in SIMPLE:
        act = simple_action(runs, name)
        target.on_click(buttons[name], act, [target.shown], api_name=name.removesuffix("_run"))
    for name, by in MOVES.items():
        target.on_click(buttons[name], _mover(runs, by), [target.shown])
    with gr.Accordion("Name, continue, copy, export, delete", open=False, elem_id="manage"):
        named_run = Kept(visible="hidden")
        title, note = _build_texts(target, named_run)
        with gr.Row(elem_classes="buttons"):
            _build_copy(target)
            buttons["continue_run"] = _build_continue(target)
            _build_export(target)
            if access.is_local:
                opener = _button("Open folder", "open_folder")
                show = lambda run_id: open_in_file_manager(runs.run(run_id).path)  # noqa: E731
                target.on_click(opener, show, [target.shown])
            buttons["delete"] = _button("Delete", "delete", "stop")
        _build_delete(target, buttons["delete"])
        _build_bin(target)
    return Actions(access, buttons, title, note, named_run, target.shown)


def build_restart(studio: Studio, actions: Actions, form: TrainForm, selected: Kept) -> None:
    """Make the button, shown with a warning, that trains a run's settings with twice the beta."""
    target = _Target(studio.runs, actions.access, form, selected, actions.shown)
    button = actions.buttons["restart"] = _button("Restart with beta x2", "restart")

    def restart(run_id: str) -> str:
        report, config = studio.runs.report(run_id), studio.runs.run(run_id).config()
        config = RunConfig.load(config.model_dump(), beta=larger_beta(config))
        actions.access.check_settings(config)
        if report.status.is_active:
            studio.runs.stop(run_id)
        return studio.start_run(config, report.preset or "run")

    target.on_click(button, restart, [target.shown], selected)


def larger_beta(config: RunConfig) -> float:
    """Twice the beta of settings, within its bounds; the first preset's for 0 and auto."""
    most = bound(FIELDS["beta"], Le) or float("inf")
    fixed = 0.0 if config.beta == AUTO else float(config.beta)
    return min(2 * fixed or float(RunConfig.load(FIRST_PRESET).beta), most)


def _button(words: str, name: str, look: str = "secondary", **options: Any) -> gr.Button:
    return gr.Button(words, variant=look, size="md", min_width=96, scale=0, elem_id=name, **options)


def simple_action(runs: Runs, name: str) -> Callable[[str], None]:
    """The effect of a button of `SIMPLE` on a run's id; RunError where it has none."""

    def act(run_id: str) -> None:
        if name == "stop_run":
            # Handed back meanwhile, it waits: stopping would take it out of the queue.
            if runs.report(run_id).status.state not in (*STOPPABLE, "stopping"):
                raise RunError(f"Nothing was stopped: {run_id} is not training.")
            runs.stop(run_id)
        elif name == "resume_run":
            runs.resume(run_id)
        elif name == "cancel_run":
            runs.queue.cancel(runs.run(run_id))
        elif name in ("sample_now", "save_now"):
            runs.ask(run_id, cast(Control, name))
            gr.Info(DONE[name])

    return act


def _mover(runs: Runs, by: int) -> Callable[[str], None]:
    def move(run_id: str) -> None:
        runs.queue.move(runs.run(run_id), (runs.report(run_id).position or 0) + by)

    return move


def _build_texts(target: _Target, named_run: Kept) -> tuple[gr.Textbox, gr.Textbox]:
    with gr.Row():
        title = gr.Textbox(label="Name", max_lines=1, scale=2, elem_id="run_title")
        note = gr.Textbox(label="Note", max_lines=3, scale=3, elem_id="run_note")

    def write(token: str, run_id: str, title: str, note: str) -> None:
        target.access.check(token)
        if run_id:
            target.runs.rename(run_id, title)
            target.runs.annotate(run_id, note)

    inputs = [target.form.token, named_run, title, note]
    for box in (title, note):
        gr.on([box.blur, box.submit], write, inputs, None, **QUIET)
    return title, note


def _build_copy(target: _Target) -> None:
    button, runs = _button("Copy settings to the form", "clone"), target.runs

    def values(run_id: str) -> tuple[str, RunConfig]:
        return f"Settings of {runs.report(run_id).name}.", runs.run(run_id).config()

    target.form.fill_on(button.click, [target.shown], values)


def _build_continue(target: _Target) -> gr.Button:
    look = {"show_label": False, "container": False, "scale": 0, "min_width": 76}
    more = gr.Number(20, precision=0, minimum=1, **look, **named("num_more", "More updates"))
    button = _button("more updates", "continue_run")
    extend = lambda run_id, num_more: target.runs.extend(run_id, int(num_more or 0))  # noqa: E731
    target.on_click(button, extend, [target.shown, more], api_name="continue")
    return button


def _build_export(target: _Target) -> None:
    button = _button("Export", "export")
    archive = gr.DownloadButton(
        "Download", visible=False, size="md", min_width=96, scale=0, elem_id="archive"
    )

    def pack(run_id: str) -> Any:
        with TemporaryDirectory(prefix="rocm-export-") as folder:
            path = export(target.runs.run(run_id), Path(folder))
            words = f"Download {path.stat().st_size / 1e6:.1f} MB"
            kept = archive.move_resource_to_block_cache(str(path))  # for a day
        return gr.update(value=kept, label=words, visible=True)

    def checked(token: str, run_id: str) -> Any:
        target.access.check(token)
        return pack(run_id)

    inputs = [target.form.token, target.shown]
    click_at_work(button, "Exporting files", checked, inputs, [archive], api_name="export")
    target.selected.change(_hide, None, archive, **QUIET)


def _hide() -> Any:
    return gr.update(visible=False)


def _build_delete(target: _Target, delete: gr.Button) -> None:
    runs = target.runs
    asked, deleted = Kept(visible="hidden"), Kept(visible="hidden")
    with gr.Row(visible=False, elem_classes="question") as question:
        words = gr.HTML()
        sure = _button("Move to the bin", "delete_sure", "stop")
        keep = _button("Keep", "delete_keep")
    with gr.Row(visible=False, elem_classes="question") as undoing:
        done = gr.HTML()
        undo = _button("Undo", "undo")

    def ask(run_id: str) -> tuple[Any, str, Any, str]:
        title = escape(runs.report(run_id).name)
        text = f"Move <strong>{title}</strong> to the bin? You can restore it from there."
        return gr.update(visible=True), text, _hide(), run_id

    def drop(run_id: str) -> tuple[Any, Any, str, str, str]:
        title = escape(runs.report(run_id).name)
        runs.delete(run_id)
        selected = next((report.run_id for report in runs.all()), "")
        text = f"<strong>{title}</strong> is in the bin."
        return _hide(), gr.update(visible=True), text, run_id, selected

    def take_back(run_id: str) -> tuple[Any, str]:
        runs.restore(run_id)
        return _hide(), run_id

    delete.click(ask, target.shown, [question, words, undoing, asked], **QUIET)
    keep.click(_hide, None, question, **QUIET)
    dropped = [question, undoing, done, deleted, target.selected]
    target.on_click(sure, drop, [asked], dropped, api_name="delete")
    target.on_click(undo, take_back, [deleted], [undoing, target.selected])


def _build_bin(target: _Target) -> None:
    runs = target.runs
    with gr.Accordion("Bin", open=False, elem_id="bin") as folded:
        with gr.Row(elem_classes="buttons"):
            look = {"show_label": False, "container": False, **named("bin_runs", "Deleted run")}
            deleted = gr.Dropdown([("The bin is empty.", "")], value="", **look)
            restore = _button("Restore", "restore")
            empty = _button("Empty the bin", "empty_bin", "stop")
        with gr.Row(visible=False, elem_classes="question") as question:
            words = gr.HTML()
            sure = _button("Delete permanently", "empty_sure", "stop")
            keep = _button("Keep", "empty_keep")

    def choices() -> Any:
        listed = [
            (run_label(report.run_id, report.name), report.run_id) for report in runs.deleted()
        ]
        listed = listed or [("The bin is empty.", "")]
        return gr.update(choices=listed, value=listed[0][1])

    def take_back(run_id: str | None) -> tuple[Any, Any]:
        if not run_id:
            return gr.skip(), choices()
        runs.restore(run_id)
        return run_id, choices()

    def ask() -> tuple[Any, str]:
        count = len(runs.deleted())
        text = f"Delete {quantity(count, 'run')} permanently? This cannot be undone."
        return gr.update(visible=count > 0), text

    def wipe() -> tuple[Any, Any]:
        runs.empty_bin()
        return _hide(), choices()

    folded.expand(choices, None, deleted, **QUIET)
    target.on_click(restore, take_back, [deleted], [target.selected, deleted])
    empty.click(ask, None, [question, words], **QUIET)
    keep.click(_hide, None, question, **QUIET)
    target.on_click(sure, wipe, [], [question, deleted], api_name="empty_bin")
