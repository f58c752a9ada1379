"""The Train page: settings on the left; runs, live charts and previews on the right.

No handler trains: Start returns a run's id; when the runs' directories change, what has changed is
sent. The shown runs are in the address: `?run=` and, for compared runs, `with=`.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from rocm.errors import RocmError
from rocm.runs.engines.base import job_of
from rocm.runs.library import Runs
from rocm.runs.names import run_label
from rocm.runs.reports import RunReport
from rocm.studio import Studio
from rocm.ui.access import HOW_TO_ALLOW, Access
from rocm.ui.controls import Kept
from rocm.ui.handlers import QUIET, fault, to_form, told
from rocm.ui.train import view as run_view
from rocm.ui.train.actions import Actions, build_actions, build_restart, pressable
from rocm.ui.train.advice import build_advice
from rocm.ui.train.charts import MAX_RUNS, live_charts
from rocm.ui.train.elsewhere import build_elsewhere
from rocm.ui.train.form import build_form
from rocm.ui.train.overoptimization import build_overoptimization
from rocm.ui.train.previews import previews
from rocm.ui.train.runs import AskedRun, RunsToCompare, listed, run_list
from rocm.ui.train.slices import build_slices
from rocm.ui.train.sweeps import build_sweeps
from rocm.ui.watch import watcher


@dataclass(frozen=True)
class Seen:
    """What a visitor's page shows, so that a poll sends only changes."""

    run_id: str = ""
    key: tuple[Any, ...] = ()
    values: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, Any] = field(default_factory=dict)


def build(studio: Studio, access: Access, page: gr.Blocks) -> None:
    """Make the page in the open block, whose load event selects a run."""
    selected, overlay, seen = Kept(visible="hidden"), gr.State(()), gr.State(Seen())
    actions: Actions | None = None
    may_queue = access.may_train and studio.slices is None
    with gr.Row(elem_classes="page"):
        with gr.Column(scale=1, min_width=320, elem_classes="left"):
            if studio.slices:
                build_slices(studio, studio.slices, selected, page, access.has_login)
            elif may_queue:
                form = build_form(studio, access, selected, page)
            else:
                gr.Markdown(HOW_TO_ALLOW, elem_id="training_off")
            if access.space:
                build_elsewhere(studio, access, selected)
        with gr.Column(scale=3, min_width=320, elem_classes="right"):
            if may_queue or studio.slices:
                to_form("run")
            runs = run_list(studio.runs)
            state = gr.HTML(elem_id="state")
            if may_queue:
                actions = build_actions(studio.runs, access, form, selected)
            with gr.Column(elem_id="warnings"):
                warnings = gr.HTML()
                if actions:
                    build_restart(studio, actions, form, selected)
            with gr.Row(elem_id="measured"):
                with gr.Column(min_width=320):
                    gr.HTML("<h2>Pictures over time</h2>", elem_classes="overline")
                    pictures = previews(studio.runs)
                with gr.Column(min_width=320):
                    charts = live_charts(studio.runs)
            build_overoptimization(studio.runs, selected)
            build_sweeps(studio, access, form if may_queue else None)
            build_advice(studio, access, form if may_queue else None)
    view = {"runs": runs, "state": state, "warnings": warnings, "charts": charts}
    view |= {"previews": pictures, **(actions.components if actions else {})}
    page.load(_chooser(studio.runs), None, [selected, overlay], **QUIET)
    runs.choose(_chosen, overlay, [selected, overlay], **QUIET)
    runs.compare(_compared, selected, overlay, **QUIET)
    reading = {"inputs": [selected, overlay, seen], "outputs": [*view.values(), seen], **QUIET}

    def poll(run_id: str, overlay: tuple[str, ...], before: Seen) -> dict[Component, Any]:
        changes, now = changed(studio.runs, access, (run_id, *overlay), before)
        shown = {view[name]: value for name, value in changes.items() if name in view}
        return {**shown, seen: now}

    watcher(studio.runs.mark, "train").tick(poll, **reading)
    gr.on([selected.change, overlay.change], poll, **reading)


def _chooser(runs: Runs) -> Callable[[gr.Request], tuple[str, tuple[str, ...]]]:
    def choose(request: gr.Request) -> tuple[str, tuple[str, ...]]:
        wanted = request.query_params.get("run", "")
        others = dict.fromkeys(request.query_params.get("with", "").split(","))
        reports = runs.all()
        known = {report.run_id for report in reports}
        if wanted and wanted not in known:
            gr.Warning(escape(f"There is no run '{wanted[:100]}' here."))
        run_id = first_shown(reports, wanted)
        overlay = [other for other in others if other in known and other != run_id]
        if len(overlay) >= MAX_RUNS:
            gr.Warning(f"The charts hold {MAX_RUNS} runs; the first runs of the address are drawn.")
        return run_id, tuple(overlay[: MAX_RUNS - 1])

    return choose


def _chosen(overlay: tuple[str, ...], event: gr.EventData) -> tuple[str, tuple[str, ...]]:
    run_id = told(event, AskedRun).run
    return run_id, tuple(run for run in overlay if run != run_id)


def _compared(selected: str, event: gr.EventData) -> tuple[str, ...]:
    runs = told(event, RunsToCompare).runs
    if len(runs) >= MAX_RUNS:
        gr.Warning(f"The charts hold {MAX_RUNS} runs. Untick one first.")
    return tuple(run for run in runs if run != selected)[: MAX_RUNS - 1]


def first_shown(reports: list[RunReport], wanted: str) -> str:
    """The run that a fresh page shows: `wanted`, else a running one, else the newest; or empty."""
    ids = [report.run_id for report in reports]
    active = [report.run_id for report in reports if report.status.is_active]
    return next(iter([run_id for run_id in ids if run_id == wanted] + active + ids), "")


def changed(
    runs: Runs, access: Access, shown: tuple[str, ...], seen: Seen
) -> tuple[dict[str, Any], Seen]:
    """New values by the name of the page's part, and what the page shows with them.

    `shown` are the runs in the charts; the first is the selected run, or empty.
    """
    reports = runs.all()
    known = {report.run_id: report for report in reports}
    drawn = [run_id for run_id in shown if run_id in known]
    report = known.get(shown[0])
    nothing = run_view.NOTHING_YET if access.may_train else run_view.NOTHING_TO_SHOW
    values = {
        "runs": listed(in_order(reports), shown[0], tuple(shown[1:]), nothing),
        "charts": json.dumps([_chart(runs, known[run_id]) for run_id in drawn]),
    }
    key = (report, values["charts"], bool(reports))
    if key == seen.key:
        values = seen.values | values
    else:
        values |= _parts(runs, report, bool(reports), access.may_train)
        values["previews"] = _previews(runs, [known[run_id] for run_id in drawn])
    changes: dict[str, Any] = {
        name: value for name, value in values.items() if seen.values.get(name) != value
    }
    buttons = pressable(report, sum(other.position is not None for other in reports))
    looks = {name: look for name, look in buttons.items() if seen.buttons.get(name) != look}
    if looks or shown[0] != seen.run_id:
        changes |= {**looks, "shown": shown[0]}
    if shown[0] != seen.run_id and report:
        changes |= {"title": report.title, "note": report.note, "named": report.run_id}
    return changes, Seen(shown[0], key, values, buttons)


def in_order(reports: list[RunReport]) -> list[RunReport]:
    """Runs in the order of the list: running, waiting by position, then the others as given."""

    def rank(report: RunReport) -> tuple[int, int]:
        waiting = report.status.is_queued
        return (0 if report.status.is_active else 1 if waiting else 2, report.position or 0)

    return sorted(reports, key=rank)


def _chart(runs: Runs, report: RunReport) -> dict[str, str]:
    try:
        version = runs.version(report.run_id)
    except RocmError as error:  # damaged, or deleted since the list was read
        version = str(error)
    return {"id": report.run_id, "label": run_label(report.run_id, report.name), "version": version}


def _parts(runs: Runs, report: RunReport | None, has_runs: bool, may_train: bool) -> dict[str, str]:
    if report is None:
        return _no_run(has_runs)
    try:
        return _run_parts(runs, report, may_train)
    except RocmError as error:  # damaged, or deleted since the list was read
        return {**_no_run(has_runs), "state": fault(str(error))}


def _no_run(has_runs: bool) -> dict[str, str]:
    return {"state": run_view.NOTHING_CHOSEN if has_runs else "", "warnings": ""}


def _previews(runs: Runs, drawn: list[RunReport]) -> str:
    shown = []
    for report in drawn:
        with suppress(RocmError):  # damaged, or deleted since the list was read
            steps = runs.run(report.run_id).sample_steps()
            label = run_label(report.run_id, report.name)
            shown.append({"run": report.run_id, "label": label, "steps": steps})
    config = drawn[0].config if drawn else None
    scores = run_view.told_scores(config) if config else []
    return json.dumps({"runs": shown, "scores": scores, "words": run_view.NO_PREVIEWS})


def _run_parts(runs: Runs, report: RunReport, may_train: bool) -> dict[str, str]:
    run_id = report.run_id
    run, pace = runs.run(run_id), runs.pace(run_id)
    state = run_view.state_line(report, pace, run.config(), run.log_tail(30))
    state += run_view.job_line(job_of(run))
    if (run.path / "adapter").is_dir() and not report.status.is_active:
        state += run_view.leads(run_id, may_train)
    return {"state": state, "warnings": run_view.warnings(run_id, pace)}
