"""Shared by the handlers of all pages: errors as sentences, and events without a spinner."""

from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from functools import wraps
from html import escape
from inspect import iscoroutinefunction
from pathlib import Path
from textwrap import shorten
from typing import Any, TypeVar

import gradio as gr
from fastapi import HTTPException
from gradio.components import Component
from pydantic import BaseModel, ValidationError

from rocm.errors import ConfigError, RocmError
from rocm.storage.numbers import number
from rocm.storage.paths import ROOT
from rocm.storage.progress import told_to
from rocm.ui.access import Access

Model = TypeVar("Model", bound=BaseModel)
Changes = dict[Component, Any]  # what a handler returns: new values and looks

# On a phone the results stand above the form, and a link leads to the form.
TO_FORM = """<button type="button">Settings of a new %s \N{DOWNWARDS ARROW}</button>"""
SCROLL_TO_FORM = """element.addEventListener('click', () => {
  element.closest('.page').querySelector('.left').scrollIntoView();
});"""
SHOWN_EVERY_S = 0.3
SILENT: dict[str, Any] = {"show_progress": "hidden"}
QUIET = SILENT | {"concurrency_limit": None}
SMALL: dict[str, Any] = {"size": "md", "min_width": 96, "scale": 0}
SAVE = """(name_and_data) => {
  const [name, data] = name_and_data.split('|');
  const bytes = Uint8Array.from(atob(data), char => char.charCodeAt(0));
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([bytes]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}"""


def to_form(made: str) -> gr.HTML:
    """The link to the form, in the open block; visible on phones."""
    return gr.HTML(TO_FORM % made, js_on_load=SCROLL_TO_FORM, elem_classes="to-form")


def named(elem_id: str, label: str, info: str | None = None) -> dict[str, Any]:
    """Arguments of a component: its id in the page, its label and its help."""
    return {"elem_id": elem_id, "label": label, "info": info}


def small_button(
    words: str, elem_id: str | None = None, look: Any = "secondary", **options: Any
) -> gr.Button:
    """A button beside others, as wide as its words."""
    return gr.Button(words, variant=look, elem_id=elem_id, **SMALL | options)


def token_box(access: Access, elem_id: str) -> gr.Textbox:
    """The box for the admin token, which is there where one is asked for."""
    info = "The value of ROCM_ADMIN_TOKEN where the app was started."
    words = named(elem_id, "Admin token", info)
    return gr.Textbox(type="password", visible=bool(access.token), **words)


def click_to_save(
    files: Mapping[gr.Button, Callable[..., tuple[str, bytes]]], inputs: list[Any]
) -> None:
    """A click on a button downloads the file whose name and content its function returns."""
    carrier = gr.Textbox(visible="hidden", label="Download", container=False)
    for button, file in files.items():
        carried = button.click(_carried(file), inputs, carrier, **SILENT)
        carried.success(None, carrier, None, js=SAVE)


def _carried(file: Callable[..., tuple[str, bytes]]) -> Callable[..., str]:
    @wraps(file)
    def carry(*values: Any) -> str:
        name, content = file(*values)
        return f"{name}|{b64encode(content).decode()}"

    return carry


def scripted(name: str, servers: list[Any], **options: Any) -> gr.HTML:
    """The component of assets/NAME.html and NAME.js, whose script may call `servers`."""
    return gr.HTML(
        html_template=asset(f"{name}.html"),
        js_on_load=asset(f"{name}.js"),
        server_functions=servers,
        apply_default_css=False,
        **{"elem_id": name, **options},
    )


def asset(name: str) -> str:
    """The text of a file in assets/."""
    return (ROOT / "assets" / name).read_text(encoding="utf-8")


def click_at_work(
    button: gr.Button,
    doing: str,
    act: Callable[..., Any],
    inputs: list[Any],
    outputs: list[Any],
    **options: Any,
) -> None:
    """Handle a click by `act`; meanwhile the button says `doing`, then how much of it is done.

    `act` returns the value of the only output, or changes; `doing` is a verb and what is counted.
    """
    verb, things = doing.split()
    look = "() => ({__type__: 'update', value: %s, interactive: %s})"
    begin, end = look % (repr(f"{verb} ..."), "false"), look % (repr(button.value), "true")

    @wraps(act)
    def handle(*values: Any) -> Iterator[dict[Any, Any]]:
        now: deque[tuple[int, int]] = deque(maxlen=1)

        def work() -> Any:
            with told_to(lambda done, total: now.append((done, total))):
                return act(*values)

        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(work)
            while not wait([job], SHOWN_EVERY_S).done:
                if now:
                    yield {button: "{} {} of {} {}".format(verb, *now[0], things)}
            result = job.result()
        is_changes = isinstance(result, dict) and "__type__" not in result  # as gr.update has
        yield result if is_changes else {outputs[0]: result}

    at_work = button.click(None, None, button, js=begin)
    handled = at_work.then(handle, inputs, [button, *outputs], **SILENT | options)
    for over in (handled.success, handled.failure):  # `then` would leave out a failure
        over(None, None, button, js=end)


def offered(file: Path) -> Any:
    """A `gr.DownloadButton` with a file to take away."""
    words = f"Download {number(file.stat().st_size / 1e6, 1)} MB"
    return gr.update(value=str(file), label=words, visible=True)


def look_while_open(
    folded: gr.Accordion, look: Callable[..., Any], seconds: float, **io: Any
) -> None:
    """Call `look` when an accordion is opened, and again and again while it is open.

    `io` are its `inputs` and `outputs`.
    """
    timer = gr.Timer(seconds, active=False)
    timer.tick(look, **io, **QUIET)
    folded.expand(lambda: gr.Timer(active=True), None, timer, **QUIET).then(look, **io, **QUIET)
    folded.collapse(lambda: gr.Timer(active=False), None, timer, **QUIET)


def fault(words: str) -> str:
    """An error message as HTML."""
    return note(words, "error")


def note(words: str, kind: str = "") -> str:
    """A remark as HTML: `error`, `warning`, `going` for work, or plain."""
    return f'<div class="{f"note {kind}".strip()}">{escape(words)}</div>'


class Pages(gr.Blocks):
    """Blocks in which a value of the wrong type and RocmErrors of handlers become sentences."""

    async def call_function(self, *given: Any, **named: Any) -> Any:
        """What a handler answers."""
        try:
            return await super().call_function(*given, **named)
        except RocmError as error:
            raise _said(error) from error

    async def preprocess_data(self, *given: Any, **named: Any) -> Any:
        """The values for a handler, from what the browser or another client sent."""
        try:
            return await super().preprocess_data(*given, **named)
        except gr.Error as error:
            raise _said(error.message) from error
        except ValueError as error:
            raise _said(error) from error


def told(event: gr.EventData, kind: type[Model]) -> Model:
    """The data of a page script's event as a `kind`; ConfigError for data of another form."""
    return _checked(kind, event._data)


def asked_by_script(kind: type[Model], answer: Callable[[Model], Any]) -> Callable[[Any], Any]:
    """A function for `server_functions`, named as `answer`, which takes a `kind`; else 422."""

    def check(asked: Any) -> Model:
        try:
            return _checked(kind, asked)
        except ConfigError as error:
            raise HTTPException(422, str(error)) from error

    @wraps(answer)
    def serve(asked: Any) -> Any:
        return answer(check(asked))

    @wraps(answer)
    async def serve_later(asked: Any) -> Any:
        return await answer(check(asked))

    return serve_later if iscoroutinefunction(answer) else serve


def _checked(kind: type[Model], given: Any) -> Model:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the argument"
        raise ConfigError(f"{place}: {first['msg']}.") from error


def _said(words: Any) -> gr.Error:
    """A notice for the visitor, without a traceback in the log."""
    short = shorten(str(words), 600, placeholder=" ...")
    return gr.Error(escape(short), print_exception=False)
