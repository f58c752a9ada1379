"""What handlers of every page share: errors in words, and events that show no spinner."""

from collections.abc import Callable
from functools import wraps
from html import escape
from textwrap import shorten
from typing import Any

import gradio as gr
from fastapi import HTTPException
from pydantic import TypeAdapter, ValidationError

from rocm.errors import RocmError

# On a phone what is shown stands above the form, and a link leads to the form of its page.
TO_FORM = """<button type="button">Settings of a new %s \N{DOWNWARDS ARROW}</button>"""
SCROLL_TO_FORM = """element.addEventListener('click', () => {
  element.closest('.page').querySelector('.left').scrollIntoView();
});"""
QUIET = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}


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
            words = shorten(str(error), 600, placeholder=" ...")
            raise gr.Error(escape(words), print_exception=False) from error

    return handle


def asked_by_script(kind: type[Any], answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function that a page's script may call; an argument of another kind is answered with 422.

    Args:
        kind: pydantic model of the argument.
        answer: takes such a model.

    Returns:
        A function of the name of `answer` for `server_functions`.
    """
    checker = TypeAdapter(kind)

    @wraps(answer)
    def serve(asked: Any) -> Any:
        try:
            checked = checker.validate_python(asked)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the argument"
            raise HTTPException(422, f"{place}: {first['msg']}.") from error
        return answer(checked)

    return serve
