"""Buttons that act on the run that is looked at. Built only where training is allowed.

Whatever throws away asks first, and what is thrown away lies in a bin.
"""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
from gradio.components import Component

from rocm.config import RunConfig
from rocm.studio import RunReport, Services
from rocm.ui.access import Access
from rocm.ui.handlers import HIDDEN, QUIET, in_words
from rocm.ui.train import view
from rocm.ui.train.form import Form

# Button, its words, and whether it can be pressed for a run; each is a method of Services.
SIMPLE = {
    "stop_run": ("Stop", lambda report: report.status.state in ("starting", "running")),
    "resume_run": ("Resume", lambda report: report.status.is_resumable),
    "sample_now": ("Sample now", lambda report: report.status.state == "running"),
    "save_now": ("Save now", lambda report: report.status.state == "running"),
    "cancel_run": ("Leave the queue", lambda report: report.position is not None),
}
TRAINING = ("stop_run", "resume_run", "sample_now", "save_now")
WAITING = ("cancel_run", "earlier", "later")
DONE = {
    "sample_now": "Pictures are drawn after this update.",
    "save_now": "A checkpoint is written after this update.",
}


@dataclass(frozen=True)
class Actions:
    """The buttons by name, and the texts that follow the run that is looked at.

    `named` is the run whose title and note stand in the boxes: what is typed must not reach another
    one that is chosen by the same click.
    """

    buttons: dict[str, gr.Button]
    title: gr.Textbox
    note: gr.Textbox
    named: gr.State

    @property
    def components(self) -> dict[str, Component]:
        """All that a poll may change, by name."""
        return {**self.buttons, "title": self.title, "note": self.note, "named": self.named}


def pressable(report: RunReport | None, num_waiting: int) -> dict[str, Any]:
    """Which buttons can be pressed.

    Args:
        report: of the run that is looked at, None for none.
        num_waiting: runs in the queue.

    Returns:
        Updates by the button's name.
    """
    rules = {name: rule for name, (_, rule) in SIMPLE.items()} | {
        "earlier": lambda report: bool(report.position),
        "later": lambda report: report.position is not None and report.position < num_waiting - 1,
        "continue_run": lambda report: report.status.state in ("finished", "stopped"),
        "delete": lambda report: not report.status.is_active and report.position is None,
    }
    is_waiting = report is not None and report.position is not None
    shown = {name: is_waiting for name in WAITING} | {name: not is_waiting for name in TRAINING}
    return {
        name: gr.update(
            interactive=report is not None and bool(rule(report)), visible=shown.get(name, True)
        )
        for name, rule in rules.items()
    }


def build_actions(services: Services, access: Access, form: Form, selected: gr.State) -> Actions:
    """Make and wire the buttons.

    Args:
        services: what they ask.
        access: the token that each of them checks.
        form: holds the token; receives cloned settings.
        selected: the run that they act on.

    Returns:
        What a poll changes.
    """
    buttons = {}
    with gr.Row(elem_classes="buttons"):
        for name, (words, _) in SIMPLE.items():
            look = "stop" if name == "stop_run" else "secondary"
            buttons[name] = _button(words, name, look, visible=name in TRAINING)
        buttons["earlier"] = _button("Earlier", "earlier", visible=False)
        buttons["later"] = _button("Later", "later", visible=False)
    for name in SIMPLE:
        _wire(services, access, form, selected, buttons[name], name)
    _wire_moves(services, access, form, selected, buttons)
    named = gr.State("")
    with gr.Accordion("Name, continue, copy, export, delete", open=False, elem_id="manage"):
        title, note = _build_words(services, access, form, named)
        with gr.Row(elem_classes="buttons"):
            _build_clone(services, form, selected)
            buttons["continue_run"] = _build_continue(services, access, form, selected)
            _build_export(services, access, form, selected)
            if access.is_local:
                opener = _button("Open folder", "open_folder")
                _wire(services, access, form, selected, opener, "open_folder")
            buttons["delete"] = _button("Delete", "delete", "stop")
        _build_delete(services, access, form, selected, buttons["delete"])
        _build_bin(services, access, form, selected)
    return Actions(buttons, title, note, named)


def _button(words: str, name: str, look: str = "secondary", **options: Any) -> gr.Button:
    return gr.Button(words, variant=look, size="md", min_width=96, scale=0, elem_id=name, **options)


def _wire(
    services: Services,
    access: Access,
    form: Form,
    selected: gr.State,
    button: gr.Button,
    name: str,
) -> None:
    def act(token: str, run_id: str) -> None:
        access.check(token)
        getattr(services, name)(run_id)
        if name in DONE:
            gr.Info(DONE[name])

    named = HIDDEN | {"api_name": name.removesuffix("_run")}
    button.click(in_words(act), [form.token, selected], None, **named)


def _wire_moves(
    services: Services,
    access: Access,
    form: Form,
    selected: gr.State,
    buttons: dict[str, gr.Button],
) -> None:
    for name, by in {"earlier": -1, "later": 1}.items():

        def move(token: str, run_id: str, by: int = by) -> None:
            access.check(token)
            position = services.run_status(run_id).position
            services.move_run(run_id, (position or 0) + by)

        named = HIDDEN | {"api_name": name}
        buttons[name].click(in_words(move), [form.token, selected], None, **named)


def _build_words(
    services: Services, access: Access, form: Form, named: gr.State
) -> tuple[gr.Textbox, gr.Textbox]:
    with gr.Row():
        title = gr.Textbox(label="Name", max_lines=1, scale=2, elem_id="run_title")
        note = gr.Textbox(label="Note", max_lines=3, scale=3, elem_id="run_note")

    def write(token: str, run_id: str, title: str, note: str) -> None:
        access.check(token)
        if not run_id:
            return
        services.rename_run(run_id, title)
        services.annotate_run(run_id, note)

    inputs = [form.token, named, title, note]
    for box in (title, note):
        gr.on([box.blur, box.submit], in_words(write), inputs, None, **QUIET)
    return title, note


def _build_clone(services: Services, form: Form, selected: gr.State) -> None:
    clone = _button("Copy settings to the form", "clone")

    def values(run_id: str) -> tuple[str, RunConfig]:
        words = f"Settings of {view.title(services.run_status(run_id))}."
        return words, services.clone_config(run_id)

    form.fill_on(clone.click, [selected], values)


def _build_continue(
    services: Services, access: Access, form: Form, selected: gr.State
) -> gr.Button:
    more = gr.Number(
        20,
        precision=0,
        minimum=1,
        show_label=False,
        container=False,
        label="More updates",
        scale=0,
        min_width=76,
        elem_id="num_more",
    )
    button = _button("more updates", "continue_run")

    def go_on(token: str, run_id: str, num_more: float | None) -> None:
        access.check(token)
        services.continue_run(run_id, int(num_more or 0))

    button.click(in_words(go_on), [form.token, selected, more], None, api_name="continue", **HIDDEN)
    return button


def _build_export(services: Services, access: Access, form: Form, selected: gr.State) -> None:
    export = _button("Export", "export")
    archive = gr.DownloadButton(
        "Download", visible=False, size="md", min_width=96, scale=0, elem_id="archive"
    )

    def pack(token: str, run_id: str) -> Any:
        access.check(token)
        with TemporaryDirectory(prefix="rocm-export-") as folder:
            path = services.export_run(run_id, Path(folder))
            words = f"Download {path.stat().st_size / 1e6:.1f} MB"
            kept = archive.move_resource_to_block_cache(str(path))  # for a day
        return gr.update(value=kept, label=words, visible=True)

    export.click(in_words(pack), [form.token, selected], archive, api_name="export", **HIDDEN)
    selected.change(lambda: gr.update(visible=False), None, archive, **QUIET)


def _build_delete(
    services: Services, access: Access, form: Form, selected: gr.State, delete: gr.Button
) -> None:
    asked, deleted = gr.State(""), gr.State("")
    with gr.Row(visible=False, elem_classes="question") as question:
        words = gr.HTML()
        sure = _button("Move to the bin", "delete_sure", "stop")
        keep = _button("Keep", "delete_keep")
    with gr.Row(visible=False, elem_classes="question") as undoing:
        done = gr.HTML()
        undo = _button("Undo", "undo")

    def ask(run_id: str) -> tuple[Any, str, Any, str]:
        named = escape(view.title(services.run_status(run_id)))
        text = f"Move <strong>{named}</strong> to the bin? It can be taken back from there."
        return gr.update(visible=True), text, gr.update(visible=False), run_id

    def drop(token: str, run_id: str) -> tuple[Any, Any, str, str, str]:
        access.check(token)
        named = escape(view.title(services.run_status(run_id)))
        services.delete_run(run_id)
        left = services.list_runs()
        chosen = left[0].run_id if left else ""
        text = f"<strong>{named}</strong> is in the bin."
        return gr.update(visible=False), gr.update(visible=True), text, run_id, chosen

    def take_back(token: str, run_id: str) -> tuple[Any, str]:
        access.check(token)
        services.restore_run(run_id)
        return gr.update(visible=False), run_id

    delete.click(in_words(ask), selected, [question, words, undoing, asked], **QUIET)
    keep.click(lambda: gr.update(visible=False), None, question, **QUIET)
    sure.click(
        in_words(drop),
        [form.token, asked],
        [question, undoing, done, deleted, selected],
        api_name="delete",
        **HIDDEN,
    )
    back = [form.token, deleted]
    undo.click(in_words(take_back), back, [undoing, selected], api_name="undo", **HIDDEN)


def _build_bin(services: Services, access: Access, form: Form, selected: gr.State) -> None:
    with gr.Accordion("Bin", open=False, elem_id="bin") as folded:
        with gr.Row(elem_classes="buttons"):
            found = gr.Dropdown(
                [("The bin is empty.", "")],
                value="",
                label="Deleted run",
                show_label=False,
                container=False,
                elem_id="bin_runs",
            )
            restore = _button("Take back", "restore")
            empty = _button("Empty the bin", "empty_bin", "stop")
        with gr.Row(visible=False, elem_classes="question") as question:
            words = gr.HTML()
            sure = _button("Delete for good", "empty_sure", "stop")
            keep = _button("Keep", "empty_keep")

    def look() -> Any:
        return _choices(services)

    def take_back(token: str, run_id: str | None) -> tuple[Any, Any]:
        access.check(token)
        if not run_id:
            return gr.skip(), _choices(services)
        services.restore_run(run_id)
        return run_id, _choices(services)

    def ask() -> tuple[Any, str]:
        count = len(services.list_bin())
        text = f"Delete {count} run{'s' if count > 1 else ''} for good? This cannot be undone."
        return gr.update(visible=count > 0), text

    def wipe(token: str) -> tuple[Any, Any]:
        access.check(token)
        services.empty_bin()
        return gr.update(visible=False), _choices(services)

    folded.expand(look, None, found, **QUIET)
    back = [form.token, found]
    restore.click(in_words(take_back), back, [selected, found], api_name="restore", **HIDDEN)
    empty.click(ask, None, [question, words], **QUIET)
    keep.click(lambda: gr.update(visible=False), None, question, **QUIET)
    sure.click(in_words(wipe), form.token, [question, found], api_name="empty_bin", **HIDDEN)


def _choices(services: Services) -> Any:
    deleted = services.list_bin()
    choices = [(view.run_label(report), report.run_id) for report in deleted]
    choices = choices or [("The bin is empty.", "")]
    return gr.update(choices=choices, value=choices[0][1])
