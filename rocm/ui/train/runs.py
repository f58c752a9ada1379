"""The list of runs: what each does and how it did, which is looked at, which are compared."""

import json
from collections.abc import Callable

import gradio as gr
from pydantic import BaseModel

from rocm.errors import RocmError
from rocm.storage.paths import ROOT
from rocm.studio import RunReport, Services
from rocm.ui.handlers import asked_by_script
from rocm.ui.train import view
from rocm.ui.train.previews import data_address

ASSETS = ROOT / "assets"


class AskedRun(BaseModel):
    """The run whose thumbnail the browser asks for, or that is chosen."""

    run: str


class RunsToCompare(BaseModel):
    """The runs that are ticked."""

    runs: list[str]


def run_list(services: Services) -> gr.HTML:
    """The list; its value is made by `listed`. Events: `choose` (`run`), `compare` (`runs`).

    Args:
        services: the runs.

    Returns:
        The component, made in the current Gradio block.
    """
    return gr.HTML(
        html_template=(ASSETS / "runs.html").read_text(encoding="utf-8"),
        js_on_load=(ASSETS / "runs.js").read_text(encoding="utf-8"),
        server_functions=[asked_by_script(AskedRun, _thumbnail_server(services))],
        apply_default_css=False,
        elem_id="runs",
    )


def _thumbnail_server(services: Services) -> Callable[[AskedRun], str]:
    def thumbnail(asked: AskedRun) -> str:
        try:
            path = services.run_status(asked.run).thumbnail
            return data_address(path) if path else ""
        except (RocmError, FileNotFoundError):  # the run was deleted since the list was drawn
            return ""

    return thumbnail


def listed(reports: list[RunReport], selected: str, overlay: tuple[str, ...], words: str) -> str:
    """The list as JSON.

    Args:
        reports: all runs, in the order of the list.
        selected: the run that is looked at.
        overlay: runs that are drawn with it.
        words: HTML shown where there is no run.

    Returns:
        The value of `run_list`.
    """
    rows = [_row(report) for report in reports]
    return json.dumps(
        {"rows": rows, "selected": selected, "overlay": list(overlay), "words": words}
    )


def _row(report: RunReport) -> dict[str, str]:
    return {
        "id": report.run_id,
        "title": view.title(report),
        "under": view.origin(report),
        "note": report.note,
        "state": report.status.state,
        "doing": view.place(report),
        "reward": _number(report.reward, "+.2f"),
        "judge": _number(report.judge, ".3f"),
        "picture": f"{report.thumbnail}" if report.thumbnail else "",
    }


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form).replace("-", "\N{MINUS SIGN}")
