"""The Compare page: arms and prompts on the left; grid, table and efficiency on the right.

Compare submits a request and returns; a timer polls it until it has ended. The key of the shown
comparison is in the address.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from html import escape
from typing import Any

import gradio as gr
from pydantic import BaseModel, Field

from rocm.errors import ConfigError, DrawingError, RocmError
from rocm.evaluation.efficiency import COSTS
from rocm.evaluation.formats import FORMATS as TABLE_FORMATS
from rocm.evaluation.plan import make_plan
from rocm.evaluation.request import Request, first_request, prompt_set
from rocm.evaluation.store import Comparisons, Status
from rocm.runs.adapters import BASE
from rocm.ui.access import Access
from rocm.ui.compare import view as compare_view
from rocm.ui.compare.form import (
    CONTROLS,
    arm_choices,
    build_form,
    numbers,
    request_of,
    values_of,
)
from rocm.ui.figures import efficiency_figure
from rocm.ui.generate.view import picture_look
from rocm.ui.handlers import (
    QUIET,
    SILENT,
    Changes,
    asked_by_script,
    click_at_work,
    click_to_save,
    fault,
    named,
    offered,
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


def build(comparisons: Comparisons, access: Access, tab: gr.Tab) -> None:
    """Make the page; the first selection of its tab opens the comparison in the address."""
    ComparePage(comparisons, access).wire(tab)


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


class ComparePage:
    """The page's components and handlers; a handler asks the comparisons, converts the answer."""

    def __init__(self, comparisons: Comparisons, access: Access) -> None:
        """Make the components in the open block."""
        self._comparisons, self._is_public = comparisons, access.is_public
        with gr.Row(elem_classes="page"):
            with gr.Column(scale=1, min_width=320, elem_classes="left"):
                self._form = build_form(comparisons, self._is_public)
            with gr.Column(scale=3, min_width=320, elem_classes="right"):
                to_form("comparison")
                self._view = self._build_view()
        self._controls = [self._form[name] for name in CONTROLS]

    def _build_view(self) -> dict[str, Any]:
        """The right column and the page's states: what handlers change besides the form."""
        view: dict[str, Any] = {}
        plain: dict[str, Any] = {"scale": 0, "size": "md"}
        free = plain | {"min_width": 90}
        looks = free | {"interactive": False}
        with gr.Row(visible=False, elem_classes="question", elem_id="compare_question") as question:
            view["asked"] = gr.HTML()
            self._sure = gr.Button("Draw all", variant="stop", elem_id="compare_sure", **plain)
            self._not_now = gr.Button("Not now", elem_id="compare_not_now", **plain)
        view["question"] = question
        with gr.Row(elem_classes="cmp-titles"):
            gr.HTML("<h2>Comparison</h2>", elem_classes="overline")
            view["cancel"] = gr.Button("Cancel", variant="stop", elem_id="compare_cancel", **looks)
            view["image"] = gr.Button("Save picture", elem_id="compare_image", **looks)
            may_pack = {"visible": not self._is_public}
            view["pack"] = gr.Button("Make zip", elem_id="compare_pack", **may_pack, **looks)
            words = {"elem_id": "compare_archive", **free}
            view["archive"] = gr.DownloadButton("Download", visible=False, **words)
        view["state"] = gr.HTML(compare_view.NOTHING, elem_id="compare_state")
        view["grid"] = scripted("compare", servers(self._comparisons), elem_id="compare_grid")
        with gr.Row(elem_classes="cmp-titles"):
            gr.HTML("<h2>Table</h2>", elem_classes="overline")
            self._formats = {
                ending: gr.Button(words, elem_id=f"compare_{ending}", interactive=True, **free)
                for ending, words in FORMATS.items()
            }
        view["table"] = gr.HTML(compare_view.NO_TABLE, elem_id="compare_table")
        gr.HTML("<h2>Reward against cost</h2>", elem_classes="overline")
        words = named("compare_cost", "Cost", COST_INFO)
        view["cost"] = gr.Radio(list(COSTS), value=next(iter(COSTS)), visible=False, **words)
        view["chart"] = live_plot("compare_efficiency")
        view["no_run"] = gr.HTML(compare_view.NO_RUN, elem_id="compare_no_run")
        words = named("compare_earlier", "Earlier comparisons")
        view["earlier"] = gr.Dropdown([], visible=not self._is_public, **words)
        view["timer"] = gr.Timer(0.5, active=False)
        return view | {"shown": gr.State(""), "seen": gr.State(""), "started": gr.State(())}

    def wire(self, tab: gr.Tab) -> None:
        """Bind the handlers to their events."""
        form, view, shown = self._form, self._view, self._view["shown"]
        everything = [*self._controls, *view.values()]
        entered = tab.select(self._enter, [shown], everything, **QUIET)
        asking = [view["started"], view["asked"], *self._controls]
        asked = form["compare"].click(self._compare, asking, everything, **SILENT)
        asked.success(None, js=SHOW_ON_A_PHONE)
        sure = self._sure.click(self._compare_all, asking, everything, **SILENT)
        if self._comparisons.are_lent:
            for event in (entered, asked, sure):
                event.success(self._comparisons.lend, shown, None, **QUIET)
        self._not_now.click(lambda: gr.update(visible=False), None, view["question"], **QUIET)
        view["timer"].tick(self._poll, [shown, view["seen"]], everything, **QUIET)
        view["cancel"].click(self._cancel, [shown, view["started"]], None, **SILENT)
        view["earlier"].input(self._open, [view["earlier"]], everything, **SILENT)
        drawn = [view["chart"], view["cost"], view["no_run"]]
        view["cost"].input(self._chart, [shown, view["cost"]], drawn, **QUIET)
        filling = [form["set"], form["num_prompts"], form["prompt_seed"]]
        form["fill"].click(self._fill, filling, form["prompts"], **SILENT)
        arms = form["arms"]
        arms.focus(lambda: gr.update(choices=arm_choices(self._comparisons)), None, arms, **QUIET)
        saved = {view["image"]: "png"} | {self._formats[ending]: ending for ending in FORMATS}
        click_to_save({one: partial(self._file, ending) for one, ending in saved.items()}, [shown])
        if not self._is_public:  # every zip is a file, and visitors could fill the disk
            click_at_work(view["pack"], "Packing pictures", self._pack, [shown], [view["archive"]])

    def _enter(self, shown: str, request: gr.Request) -> Changes:
        """When the tab opens: the comparison in the address, unless one is shown."""
        if shown:
            return {self._view["shown"]: gr.skip()}
        names = ("comparison", "arms", "strengths")
        key, arms, strengths = (request.query_params.get(name, "") for name in names)
        try:
            if arms:
                return self._draw_first((BASE, *arms.split(",")), numbers(strengths))
            return self._open(key) if key else self._open_first()
        except RocmError as error:
            gr.Warning(escape(str(error)[:500]))
            return self._open_first()

    def _open_first(self) -> Changes:
        """The newest comparison, or the first request, which is then drawn."""
        for key in [] if self._is_public else self._comparisons.keys():
            if self._comparisons.results(key):
                return self._open(key)
        if self._comparisons.are_lent:  # the visitor's GPU time is not spent unasked
            return {self._view["shown"]: gr.skip()}
        return self._draw_first(first_request().arms)

    def _draw_first(self, arms: tuple[str, ...], strengths: tuple[float, ...] = ()) -> Changes:
        axis = "adapter_strength" if strengths else ""
        request = replace(first_request(), arms=arms, axis=axis, values=strengths)
        plan = make_plan(request, self._comparisons.runs, self._is_public)
        return self._open(self._comparisons.draw(plan, request, self._is_public))

    def _open(self, key: str | None) -> Changes:
        key = key or ""
        return self._filled(self._comparisons.request(key)) | self._shown(key)

    def _compare(self, started: tuple[str, ...], _: str, *values: Any) -> Changes:
        return self._compare_all(started, "", *values)

    def _compare_all(self, started: tuple[str, ...], agreed: str, *values: Any) -> Changes:
        """Draw, or ask first; `agreed` is the question that was confirmed."""
        view, request = self._view, request_of(values)
        plan = make_plan(request, self._comparisons.runs, self._is_public)
        question = escape(self._comparisons.question(plan))
        if question != agreed and question:
            return {view["question"]: gr.update(visible=True), view["asked"]: question}
        if self._is_public and any(self._comparisons.status(k).state == "drawing" for k in started):
            raise DrawingError("Your last comparison is still being drawn. Wait, or cancel it.")
        key = self._comparisons.draw(plan, request, self._is_public)
        hidden = {view["question"]: gr.update(visible=False), view["started"]: (*started, key)}
        return hidden | self._shown(key)

    def _poll(self, shown: str, seen: str) -> Changes:
        if not shown:
            return {self._view["timer"]: gr.Timer(active=False)}
        try:
            status = self._comparisons.status(shown)
        except RocmError as error:  # deleted or damaged; polling ends
            stopped = {self._view["timer"]: gr.Timer(active=False), self._view["shown"]: ""}
            return {**stopped, self._view["state"]: fault(str(error))}
        if seen == _version(shown, status):
            return {self._view["timer"]: gr.skip()}
        return self._shown(shown)

    def _cancel(self, shown: str, started: tuple[str, ...]) -> None:
        if self._is_public and shown not in started:
            raise ConfigError("This comparison belongs to another visitor; you cannot cancel it.")
        self._comparisons.cancel(shown)

    def _fill(self, name: str | None, num: Any, seed: Any) -> str:
        return "\n".join(prompt_set((name or "").strip(), num, seed, self._is_public))

    def _chart(self, shown: str, cost: str) -> Changes:
        view, curves = self._view, self._comparisons.curves(shown, cost)
        figure, has_any = json.dumps(efficiency_figure(curves, cost)), bool(curves)
        return {
            view["chart"]: gr.update(value=figure, visible=has_any),
            view["cost"]: gr.update(value=cost, visible=has_any),
            view["no_run"]: gr.update(visible=not has_any),
        }

    def _file(self, ending: str, shown: str) -> tuple[str, bytes]:
        if not shown:
            raise ConfigError("There is no comparison to download yet.")
        name = f"compare-{shown}.{ending}"
        if ending == "png":
            return name, self._comparisons.sheet(shown)
        return name, TABLE_FORMATS[ending](self._comparisons.table(shown)).encode()

    def _pack(self, shown: str) -> Any:
        return offered(self._comparisons.bundle(shown))

    def _filled(self, request: Request) -> Changes:
        values = values_of(request)
        choices, chosen = arm_choices(self._comparisons), values["arms"] or [BASE]
        values["arms"] = gr.update(choices=choices, value=chosen)
        return {self._form[name]: value for name, value in values.items()}

    def _shown(self, key: str) -> Changes:
        """The right column with a comparison shown; figures only after it has ended."""
        comparisons, view = self._comparisons, self._view
        status, plan = comparisons.status(key), comparisons.plan(key)
        is_at_work, has_any = status.state == "drawing", status.num_drawn > 0
        changes: Changes = {
            view["shown"]: key,
            view["seen"]: _version(key, status),
            view["state"]: compare_view.state_line(status, plan),
            view["grid"]: json.dumps({"key": key, "num_drawn": status.num_drawn}),
            view["timer"]: gr.Timer(active=is_at_work),
            view["cancel"]: gr.update(interactive=is_at_work),
            view["image"]: gr.update(interactive=has_any and not is_at_work),
            view["pack"]: gr.update(interactive=has_any and not is_at_work),
            view["archive"]: gr.update(visible=False),
        }
        if is_at_work:
            return changes | {view["table"]: compare_view.NO_TABLE}
        changes |= self._chart(key, next(iter(COSTS)))
        return changes | {
            view["table"]: self._table(key) if has_any else "",
            view["earlier"]: gr.update(choices=self._earlier(), value=key),
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


def _version(key: str, status: Status) -> str:
    """A text that changes whenever the shown comparison changes."""
    return f"{key} {status.num_drawn} {status.state} {status.detail}"


def _or_none(ask: Callable[[], Any]) -> Any:
    """The result of `ask`; None if the comparison is deleted or damaged, which a poll reports."""
    try:
        return ask()
    except RocmError:
        return None
