"""Live charts of one run or several.

The page is told which runs to draw and whether they changed; it then asks for new rows. The
browser computes means, axes and scales (assets/charts.js).
"""

from dataclasses import asdict
from typing import Any

import gradio as gr
from pydantic import BaseModel, Field

from rocm.errors import RocmError
from rocm.runs.feed import Bookmark
from rocm.runs.library import Runs
from rocm.ui.handlers import asked_by_script, scripted
from rocm.ui.plot import load_plotly

MAX_RUNS = 6


class AskedRows(BaseModel):
    """A run and the bookmark of the browser's last row of it."""

    run: str
    offset: int = Field(ge=0, lt=2**53)
    time: float


class AskedRuns(BaseModel):
    """The runs whose rows the browser asks for."""

    runs: list[AskedRows] = Field(max_length=MAX_RUNS)


def live_charts(runs: Runs) -> gr.HTML:
    """The charts; the value is JSON: `id`, `label` and `version` of the runs to draw."""

    def chart_rows(asked: AskedRuns) -> list[dict[str, Any] | None]:
        return [rows_or_none(runs, run) for run in asked.runs]

    return scripted("charts", [asked_by_script(AskedRuns, chart_rows)], head=load_plotly())


def rows_or_none(runs: Runs, asked: AskedRows) -> dict[str, Any] | None:
    """As `new_rows`; None for a deleted or damaged run, which the next poll reports."""
    try:
        return new_rows(runs, asked)
    except RocmError:
        return None


def new_rows(runs: Runs, asked: AskedRows) -> dict[str, Any]:
    """Rows of a run after the browser's bookmark; under `info` what drawing needs."""
    feed = runs.feed(asked.run, Bookmark(asked.offset, asked.time))
    info = {name: value for name, value in vars(feed).items() if name != "page"}
    return {**asdict(feed.page), "info": info}
