"""Live charts of a run, or of several on top of each other.

The page is told which runs to draw and whether they changed; it then asks for the rows that it
lacks. Means, axes and scales are the browser's work (assets/charts.js).
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gradio as gr

from rocm.config import ROOT
from rocm.errors import RocmError
from rocm.services import Bookmark, RunFeed, Services
from rocm.ui.live_plot import load_plotly

ASSETS = ROOT / "assets"
MAX_RUNS = 6


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
        server_functions=[_row_server(services)],
        apply_default_css=False,
        elem_id="charts",
    )


def _row_server(services: Services) -> Callable[[dict[str, Any]], list[dict[str, Any] | None]]:
    def chart_rows(asked: dict[str, Any]) -> list[dict[str, Any] | None]:
        return [rows_or_none(services, one) for one in asked["runs"][:MAX_RUNS]]

    return chart_rows


def rows_or_none(services: Services, asked: dict[str, Any]) -> dict[str, Any] | None:
    """As `new_rows`; None for a run that is gone or damaged, which the next poll says in words."""
    try:
        return new_rows(services, asked)
    except RocmError:
        return None


def new_rows(services: Services, asked: dict[str, Any]) -> dict[str, Any]:
    """What the browser lacks of one run.

    Args:
        services: the runs.
        asked: `run`, and the `offset` and `time` of its bookmark.

    Returns:
        `columns`, `bookmark`, `is_fresh`, `has_more`, and under `info` what drawing needs.
    """
    bookmark = Bookmark(int(asked["offset"]), float(asked["time"]))
    feed: RunFeed = services.run_feed(str(asked["run"]), bookmark)
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
