"""Live charts of a run, or of several on top of each other.

The page is told which runs to draw and whether they changed; it then asks for the rows that it
lacks. Means, axes and scales are the browser's work (assets/charts.js).
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gradio as gr
from pydantic import BaseModel, Field

from rocm.errors import RocmError
from rocm.storage.paths import ROOT
from rocm.studio import Bookmark, RunFeed, Services
from rocm.ui.handlers import asked_by_script
from rocm.ui.plot import load_plotly

ASSETS = ROOT / "assets"
MAX_RUNS = 6


class AskedRows(BaseModel):
    """What the browser has of a run: the bookmark of its last row."""

    run: str
    offset: int = Field(ge=0, lt=2**53)
    time: float


class AskedRuns(BaseModel):
    """The runs whose rows the browser asks for."""

    runs: list[AskedRows] = Field(max_length=MAX_RUNS)


def live_charts(services: Services) -> gr.HTML:
    """The charts; their value is JSON: a list of `id`, `label` and `version` of the runs to draw.

    Args:
        services: the runs.

    Returns:
        The component, made in the current Gradio block.
    """
    return gr.HTML(
        html_template=(ASSETS / "charts.html").read_text(encoding="utf-8"),
        js_on_load=(ASSETS / "charts.js").read_text(encoding="utf-8"),
        head=load_plotly(),
        server_functions=[asked_by_script(AskedRuns, _row_server(services))],
        apply_default_css=False,
        elem_id="charts",
    )


def _row_server(services: Services) -> Callable[[AskedRuns], list[dict[str, Any] | None]]:
    def chart_rows(asked: AskedRuns) -> list[dict[str, Any] | None]:
        return [rows_or_none(services, one) for one in asked.runs]

    return chart_rows


def rows_or_none(services: Services, asked: AskedRows) -> dict[str, Any] | None:
    """As `new_rows`; None for a run that is gone or damaged, which the next poll says in words."""
    try:
        return new_rows(services, asked)
    except RocmError:
        return None


def new_rows(services: Services, asked: AskedRows) -> dict[str, Any]:
    """What the browser lacks of one run.

    Args:
        services: the runs.
        asked: the run, and where the browser's last row of it begins.

    Returns:
        `columns`, `bookmark`, `is_fresh`, `has_more`, and under `info` what drawing needs.
    """
    feed: RunFeed = services.run_feed(asked.run, Bookmark(asked.offset, asked.time))
    page = feed.page
    return {
        "columns": page.columns,
        "bookmark": asdict(page.bookmark),
        "is_fresh": page.is_fresh,
        "has_more": page.has_more,
        "info": {
            "pictures_per_step": feed.pictures_per_step,
            "resumed": feed.resumed,
            "warnings": feed.warnings,
            "base_scores": feed.base_scores,
        },
    }
