"""Events when something has changed instead of a timer: an idle or hidden page costs nothing."""

import asyncio
from collections.abc import Callable
from time import monotonic

import gradio as gr
from pydantic import BaseModel, Field

from rocm.ui.handlers import asked_by_script, asset

LOOK_S = 1.0
ANSWER_S = 20.0


class SeenMark(BaseModel):
    """The mark that the browser has seen."""

    mark: str = Field(max_length=100)


def watcher(mark: Callable[[], int], tab: str) -> gr.HTML:
    """A component whose `tick` comes once at first and whenever `mark()` has changed.

    It asks only while the page is visible and `tab` is in front; the answer comes with the change,
    or after `ANSWER_S` seconds without.
    """

    async def wait_for_change(seen: SeenMark) -> str:
        until = monotonic() + ANSWER_S
        while (now := str(await asyncio.to_thread(mark))) == seen.mark and monotonic() < until:
            await asyncio.sleep(LOOK_S)
        return now

    return gr.HTML(
        js_on_load=asset("watch.js").replace("TAB", tab),
        server_functions=[asked_by_script(SeenMark, wait_for_change)],
        visible="hidden",
    )
