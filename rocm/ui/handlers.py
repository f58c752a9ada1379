"""What handlers of every page share: errors in words, and events that show no spinner."""

from collections.abc import Callable
from functools import wraps
from html import escape
from textwrap import shorten
from typing import Any

import gradio as gr

from rocm.errors import RocmError

QUIET = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}


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
