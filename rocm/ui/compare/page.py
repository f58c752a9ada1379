"""The Compare page: arms and prompts on the left; grid, table and efficiency on the right.

Compare submits a request and returns; a timer polls it until it has ended. The key of the shown
comparison is in the address.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import BaseModel, Field

from rocm.errors import ConfigError, DrawingError, RocmError
from rocm.evaluation.efficiency import COSTS
from rocm.evaluation.formats import FORMATS as TABLE_FORMATS
from rocm.evaluation.plan import make_plan
from rocm.evaluation.request import Request, first_request, prompt_set
from rocm.evaluation.store import Comparisons
from rocm.runs.adapters import BASE
from rocm.ui.access import Access
from rocm.ui.compare import view as compare_view
from rocm.ui.compare.form import CompareForm, arm_choices, build_form, numbers
from rocm.ui.figures import efficiency_figure
from rocm.ui.generate.page import SAVE
from rocm.ui.generate.view import picture_look
from rocm.ui.handlers import (
    QUIET,
    asked_by_script,
    click_at_work,
    fault,
    in_words,
    named,
    scripted,
    to_form,
)
from rocm.ui.plot import live_plot

FORMATS = {"csv": "CSV", "json": "JSON", "md": "Markdown", "tex": "LaTeX"}
SHOW_ON_A_PHONE = """() => {
  const words = document.getElementById('compare_state');
  if (window.innerWidth <= 640) words.closest('.right').scrollIntoView();
}"""
COST_INFO = """Mean reward of the last 20 updates, with a band of one standard deviation. Cost
excludes evaluations and pauses."""
MAX_ROWS, MAX_PICTURES, MAX_LISTED = 2000, 32, 30


@dataclass(frozen=True)
class CompareView:
    """Components that handlers change besides the form."""

    state: gr.HTML
    grid: gr.HTML
    table: gr.HTML
    chart: gr.HTML
    no_run: gr.HTML
    cost: gr.Radio
    question: gr.Row
    asked: gr.HTML
    cancel: gr.Button
    image: gr.Button
    pack: gr.Button
    archive: gr.DownloadButton
    earlier: gr.Dropdown
    timer: gr.Timer
    shown: gr.State
    seen: gr.State
    started: gr.State


def build(comparisons: Comparisons, access: Access, tab: gr.Tab) -> None:
    """Make the page; the first selection of its tab opens the comparison in the address."""
    is_public = not access.may_train or bool(access.token)
    with gr.Row(elem_classes="page"):
        with gr.Column(scale=1, min_width=320, elem_classes="left"):
            form = build_form(comparisons, is_public)
        with gr.Column(scale=3, min_width=320, elem_classes="right"):
            to_form("comparison")
            view, buttons = _build_view(comparisons, is_public)
    CompareHandlers(comparisons, is_public, form, view).wire(tab, buttons)


def _build_view(
    comparisons: Comparisons, is_public: bool
) -> tuple[CompareView, dict[str, gr.Button]]:
    looks = {"min_width": 90, "scale": 0, "size": "md", "interactive": False}
    with gr.Row(visible=False, elem_classes="question", elem_id="compare_question") as question:
        asked = gr.HTML()
        sure = gr.Button("Draw all", variant="stop", scale=0, size="md", elem_id="compare_sure")
        not_now = gr.Button("Not now", scale=0, size="md", elem_id="compare_not_now")
    with gr.Row(elem_classes="cmp-titles"):
        gr.HTML("<h2>Comparison</h2>", elem_classes="overline")
        cancel = gr.Button("Cancel", variant="stop", elem_id="compare_cancel", **looks)
        image = gr.Button("Save picture", elem_id="compare_image", **looks)
        pack = gr.Button("Make zip", elem_id="compare_pack", visible=not is_public, **looks)
        archive = gr.DownloadButton(
            "Download", visible=False, size="md", min_width=90, scale=0, elem_id="compare_archive"
        )
    state = gr.HTML(compare_view.NOTHING, elem_id="compare_state")
    grid = scripted("compare", servers(comparisons), elem_id="compare_grid")
    with gr.Row(elem_classes="cmp-titles"):
        gr.HTML("<h2>Table</h2>", elem_classes="overline")
        buttons = {
            ending: gr.Button(words, elem_id=f"compare_{ending}", **looks | {"interactive": True})
            for ending, words in FORMATS.items()
        }
    table = gr.HTML(compare_view.NO_TABLE, elem_id="compare_table")
    gr.HTML("<h2>Reward against cost</h2>", elem_classes="overline")
    words = named("compare_cost", "Cost", COST_INFO)
    cost = gr.Radio(list(COSTS), value=next(iter(COSTS)), visible=False, **words)
    chart = live_plot("compare_efficiency")
    no_run = gr.HTML(compare_view.NO_RUN, elem_id="compare_no_run")
    earlier = gr.Dropdown(
        [], label="Earlier comparisons", visible=not is_public, elem_id="compare_earlier"
    )
    states = (gr.State(""), gr.State(""), gr.State(()))
    timer = gr.Timer(0.5, active=False)
    shown = (question, asked, cancel, image, pack, archive, earlier, timer)
    view = CompareView(state, grid, table, chart, no_run, cost, *shown, *states)
    return view, {**buttons, "sure": sure, "not_now": not_now}


class AskedPlan(BaseModel):
    """The comparison whose plan the browser asks for."""

    key: str


class AskedScores(AskedPlan):
    """The results of a comparison from a number on."""

    after: int = Field(ge=0, lt=2**53)


class AskedPictures(AskedPlan):
    """Pictures of a comparison by their numbers."""

    indices: list[int] = Field(max_length=MAX_PICTURES)


def servers(comparisons: Comparisons) -> list[Callable[[Any], Any]]:
    """Functions for the grid's script: a plan, rows of scores, pictures; None if deleted."""

    def compare_plan(asked: AskedPlan) -> dict[str, Any] | None:
        return _or_none(lambda: compare_view.rows_of_plan(asked.key, comparisons.plan(asked.key)))

    def compare_rows(asked: AskedScores) -> list[Any] | None:
        rows = _or_none(lambda: comparisons.results(asked.key, asked.after)[:MAX_ROWS])
        return rows and [[result.index, result.scores] for result in rows]

    def compare_pictures(asked: AskedPictures) -> list[str | None] | None:
        files = _or_none(lambda: [comparisons.picture(asked.key, i) for i in asked.indices])
        looks = [file and picture_look(file) for file in files or ()]
        return [look.data if look else None for look in looks] or None

    return [
        asked_by_script(AskedPlan, compare_plan),
        asked_by_script(AskedScores, compare_rows),
        asked_by_script(AskedPictures, compare_pictures),
    ]


class CompareHandlers:
    """The page's handlers: each converts values, asks the comparisons, converts the answer."""

    def __init__(
        self, comparisons: Comparisons, is_public: bool, form: CompareForm, view: CompareView
    ) -> None:
        """Bind the parts of a page."""
        self._comparisons, self._is_public = comparisons, is_public
        self._form, self._view = form, view

    def wire(self, tab: gr.Tab, buttons: dict[str, gr.Button]) -> None:
        """Bind the handlers to their events."""
        form, view = self._form, self._view
        everything = [*form.controls, *vars(view).values()]
        silent = {"api_visibility": "private", "show_progress": "hidden"}
        entered = tab.select(self._enter, [view.shown], everything, **QUIET)
        asking = [view.started, view.asked, *form.controls]
        asked = form.compare.click(in_words(self._compare), asking, everything, **silent)
        asked.success(None, js=SHOW_ON_A_PHONE, api_visibility="private")
        sure = buttons["sure"].click(in_words(self._compare_all), asking, everything, **silent)
        if self._comparisons.are_lent:
            for event in (entered, asked, sure):
                event.success(in_words(self._comparisons.lend), view.shown, None, **QUIET)
        buttons["not_now"].click(lambda: gr.update(visible=False), None, view.question, **QUIET)
        view.timer.tick(in_words(self._poll), [view.shown, view.seen], everything, **QUIET)
        view.cancel.click(in_words(self._cancel), [view.shown, view.started], None, **silent)
        view.earlier.input(in_words(self._open), [view.earlier], everything, **silent)
        drawn = [view.chart, view.cost, view.no_run]
        view.cost.input(in_words(self._chart), [view.shown, view.cost], drawn, **QUIET)
        filling = [form.prompt_set, form.num_prompts, form.prompt_seed]
        form.fill.click(in_words(self._fill), filling, form.prompts, **silent)
        form.arms.focus(
            lambda: gr.update(choices=arm_choices(self._comparisons)), None, form.arms, **QUIET
        )
        carrier = gr.Textbox(visible="hidden", label="Download", container=False)
        for button, ending in {
            view.image: "png",
            **{buttons[kind]: kind for kind in FORMATS},
        }.items():
            button.click(in_words(self._saver(ending)), [view.shown], carrier, **silent).success(
                None, carrier, None, js=SAVE, api_visibility="private"
            )
        if not self._is_public:  # every zip is a file, and visitors could fill the disk
            pack = in_words(self._pack)
            click_at_work(view.pack, "Packing pictures", pack, [view.shown], [view.archive])

    def _enter(self, shown: str, request: gr.Request) -> dict[Component, Any]:
        """When the tab opens: the comparison in the address, unless one is shown."""
        if shown:
            return {self._view.shown: gr.skip()}
        names = ("comparison", "arms", "strengths")
        key, arms, strengths = (request.query_params.get(name, "") for name in names)
        try:
            if arms:
                return self._draw_first((BASE, *arms.split(",")), numbers(strengths))
            return self._open(key) if key else self._open_first()
        except RocmError as error:
            gr.Warning(escape(str(error)[:500]))
            return self._open_first()

    def _open_first(self) -> dict[Component, Any]:
        """The newest comparison, or the first request, which is then drawn."""
        for key in [] if self._is_public else self._comparisons.keys():
            if self._comparisons.results(key):
                return self._open(key)
        if self._comparisons.are_lent:  # the visitor's GPU time is not spent unasked
            return {self._view.shown: gr.skip()}
        return self._draw_first(first_request().arms)

    def _draw_first(
        self, arms: tuple[str, ...], strengths: tuple[float, ...] = ()
    ) -> dict[Component, Any]:
        axis = "adapter_strength" if strengths else ""
        request = replace(first_request(), arms=arms, axis=axis, values=strengths)
        plan = make_plan(request, self._comparisons.runs, self._is_public)
        return self._open(self._comparisons.draw(plan, request, self._is_public))

    def _open(self, key: str | None) -> dict[Component, Any]:
        key = key or ""
        return self._filled(self._comparisons.request(key)) | self._shown(key)

    def _compare(self, started: tuple[str, ...], _: str, *values: Any) -> dict[Component, Any]:
        return self._compare_all(started, "", *values)

    def _compare_all(
        self, started: tuple[str, ...], agreed: str, *values: Any
    ) -> dict[Component, Any]:
        """Draw, or ask first; `agreed` is the question that was confirmed."""
        view, request = self._view, self._form.request(values)
        plan = make_plan(request, self._comparisons.runs, self._is_public)
        question = escape(self._comparisons.question(plan))
        if question != agreed and question:
            return {view.question: gr.update(visible=True), view.asked: question}
        if self._is_public and any(self._comparisons.status(k).state == "drawing" for k in started):
            raise DrawingError("Your last comparison is still being drawn. Wait, or cancel it.")
        key = self._comparisons.draw(plan, request, self._is_public)
        hidden = {view.question: gr.update(visible=False), view.started: (*started, key)}
        return hidden | self._shown(key)

    def _poll(self, shown: str, seen: str) -> dict[Component, Any]:
        if not shown:
            return {self._view.timer: gr.Timer(active=False)}
        try:
            status = self._comparisons.status(shown)
        except RocmError as error:  # deleted or damaged; polling ends
            stopped = {self._view.timer: gr.Timer(active=False), self._view.shown: ""}
            return {**stopped, self._view.state: fault(str(error))}
        if seen == f"{shown} {status.num_drawn} {status.state} {status.detail}":
            return {self._view.timer: gr.skip()}
        return self._shown(shown)

    def _cancel(self, shown: str, started: tuple[str, ...]) -> None:
        if self._is_public and shown not in started:
            raise ConfigError("This comparison belongs to another visitor; you cannot cancel it.")
        self._comparisons.cancel(shown)

    def _fill(self, name: str | None, num: Any, seed: Any) -> str:
        return "\n".join(prompt_set((name or "").strip(), num, seed, self._is_public))

    def _chart(self, shown: str, cost: str) -> dict[Component, Any]:
        view, curves = self._view, self._comparisons.curves(shown, cost)
        return {
            view.chart: gr.update(
                value=json.dumps(efficiency_figure(curves, cost)), visible=bool(curves)
            ),
            view.cost: gr.update(value=cost, visible=bool(curves)),
            view.no_run: gr.update(visible=not curves),
        }

    def _saver(self, ending: str) -> Callable[[str], str]:
        def save(shown: str) -> str:
            if not shown:
                raise ConfigError("There is no comparison to download yet.")
            if ending == "png":
                content = self._comparisons.sheet(shown)
            else:
                content = TABLE_FORMATS[ending](self._comparisons.table(shown)).encode()
            return f"compare-{shown}.{ending}|{b64encode(content).decode()}"

        save.__name__ = f"save_{ending}"
        return save

    def _pack(self, shown: str) -> Any:
        path = self._comparisons.bundle(shown)
        words = f"Download {path.stat().st_size / 1e6:.1f} MB"
        return gr.update(value=str(path), label=words, visible=True)

    def _filled(self, request: Request) -> dict[Component, Any]:
        form = self._form
        return form.filled(request) | {
            form.arms: gr.update(
                choices=arm_choices(self._comparisons), value=list(request.arms or [BASE])
            )
        }

    def _shown(self, key: str) -> dict[Component, Any]:
        """The right column with a comparison shown; figures only after it has ended."""
        comparisons, view = self._comparisons, self._view
        status, plan = comparisons.status(key), comparisons.plan(key)
        is_at_work, has_any = status.state == "drawing", status.num_drawn > 0
        changes: dict[Component, Any] = {
            view.shown: key,
            view.seen: f"{key} {status.num_drawn} {status.state} {status.detail}",
            view.state: compare_view.state_line(status, plan),
            view.grid: json.dumps({"key": key, "num_drawn": status.num_drawn}),
            view.timer: gr.Timer(active=is_at_work),
            view.cancel: gr.update(interactive=is_at_work),
            view.image: gr.update(interactive=has_any and not is_at_work),
            view.pack: gr.update(interactive=has_any and not is_at_work),
            view.archive: gr.update(visible=False),
        }
        if is_at_work:
            return changes | {view.table: compare_view.NO_TABLE}
        changes |= self._chart(key, next(iter(COSTS)))
        return changes | {
            view.table: self._table(key) if has_any else "",
            view.earlier: gr.update(choices=self._earlier(), value=key),
        }

    def _table(self, key: str) -> str:
        try:
            return compare_view.table_html(self._comparisons.table(key))
        except RocmError as error:  # a damaged picture must not hide the others
            return fault(str(error))

    def _earlier(self) -> list[tuple[str, str]]:
        if self._is_public:
            return []
        keys = self._comparisons.keys()[:MAX_LISTED]
        plans = {key: _or_none(partial(self._comparisons.plan, key)) for key in keys}
        return [(compare_view.title(plan), key) for key, plan in plans.items() if plan]


def _or_none(ask: Callable[[], Any]) -> Any:
    """The result of `ask`; None if the comparison is deleted or damaged, which a poll reports."""
    try:
        return ask()
    except RocmError:
        return None
