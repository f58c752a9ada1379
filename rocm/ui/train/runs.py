"""The list of runs: state and result of each, which is selected, which are compared."""

import json

import gradio as gr
from pydantic import BaseModel

from rocm.errors import RocmError
from rocm.runs.library import Runs
from rocm.runs.reports import RunReport
from rocm.storage.numbers import number, signed
from rocm.ui.handlers import asked_by_script, scripted
from rocm.ui.train import view
from rocm.ui.train.previews import data_address


class AskedRun(BaseModel):
    """The run that is selected, or whose thumbnail the browser asks for."""

    run: str


class RunsToCompare(BaseModel):
    """The runs that are ticked."""

    runs: list[str]


def run_list(runs: Runs) -> gr.HTML:
    """The list; its value is made by `listed`. Events: `choose` (`run`), `compare` (`runs`)."""

    def thumbnail(asked: AskedRun) -> str:
        try:
            path = runs.report(asked.run).thumbnail
            return data_address(path) if path else ""
        except (RocmError, FileNotFoundError):  # the run was deleted since the list was drawn
            return ""

    return scripted("runs", [asked_by_script(AskedRun, thumbnail)])


def listed(reports: list[RunReport], selected: str, overlay: tuple[str, ...], words: str) -> str:
    """The value of `run_list`, as JSON; `words` is HTML shown if there is no run."""
    rows = [_row(report) for report in reports]
    return json.dumps(
        {"rows": rows, "selected": selected, "overlay": list(overlay), "words": words}
    )


def _row(report: RunReport) -> dict[str, str]:
    return {
        "id": report.run_id,
        "title": report.name,
        "under": view.origin(report),
        "note": report.note,
        "state": report.status.state,
        "doing": view.place(report),
        "reward": "" if report.reward is None else signed(report.reward, 2),
        "judge": "" if report.judge is None else number(report.judge, 3),
        "picture": f"{report.thumbnail}" if report.thumbnail else "",
    }
