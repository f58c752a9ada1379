"""What handlers of every page share: errors in words, and events that show no spinner."""

from collections.abc import Callable
from functools import wraps
from html import escape
from textwrap import shorten
from typing import Any, TypeVar

import gradio as gr
from fastapi import HTTPException
from pydantic import BaseModel, ValidationError

from rocm.errors import ConfigError, RocmError

Model = TypeVar("Model", bound=BaseModel)

# On a phone what is shown stands above the form, and a link leads to the form of its page.
TO_FORM = """<button type="button">Settings of a new %s \N{DOWNWARDS ARROW}</button>"""
SCROLL_TO_FORM = """element.addEventListener('click', () => {
  element.closest('.page').querySelector('.left').scrollIntoView();
});"""
# The handlers are no interface: their inputs are the controls of a form, in their order.
HIDDEN: dict[str, Any] = {"api_visibility": "private"}
QUIET = HIDDEN | {"show_progress": "hidden", "concurrency_limit": None}


def to_form(made: str) -> gr.HTML:
    """The link to the form of something new, in the current Gradio block; seen on phones."""
    return gr.HTML(TO_FORM % made, js_on_load=SCROLL_TO_FORM, elem_classes="to-form")


def in_words(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose expected errors reach the visitor as one sentence."""

    @wraps(handler)
    def handle(*values: Any) -> Any:
        try:
            return handler(*values)
        except RocmError as error:
            raise _said(error) from error

    return handle


class Pages(gr.Blocks):
    """Blocks that refuse a value of a wrong kind in words; Gradio logs a traceback of each."""

    async def preprocess_data(self, *given: Any, **named: Any) -> Any:
        """The values that a handler gets, from what the browser, or a call without one, sent."""
        try:
            return await super().preprocess_data(*given, **named)
        except gr.Error as error:
            raise _said(error.message) from error
        except ValueError as error:
            raise _said(error) from error


def told(event: gr.EventData, kind: type[Model]) -> Model:
    """What a page's script tells with an event; a call from outside tells anything, or nothing.

    Args:
        event: that a handler takes.
        kind: pydantic model of what is told.

    Returns:
        Such a model.

    Raises:
        ConfigError: it is of another kind.
    """
    return _checked(kind, event._data)


def asked_by_script(kind: type[Model], answer: Callable[[Model], Any]) -> Callable[[Any], Any]:
    """A function that a page's script may call; an argument of another kind is answered with 422.

    Args:
        kind: pydantic model of the argument.
        answer: takes such a model.

    Returns:
        A function of the name of `answer` for `server_functions`.
    """

    @wraps(answer)
    def serve(asked: Any) -> Any:
        try:
            checked = _checked(kind, asked)
        except ConfigError as error:
            raise HTTPException(422, str(error)) from error
        return answer(checked)

    return serve


def _checked(kind: type[Model], given: Any) -> Model:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the argument"
        raise ConfigError(f"{place}: {first['msg']}.") from error


def _said(words: Any) -> gr.Error:
    """The notice that a visitor reads; nothing is logged."""
    short = shorten(str(words), 600, placeholder=" ...")
    return gr.Error(escape(short), print_exception=False)
