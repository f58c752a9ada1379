"""The Generate page: settings on the left; pictures and history on the right.

Draw submits an order and returns; a timer polls it until it has ended. The shown settings are in
the address, so that a link or a reload restores them.
"""

import json
from dataclasses import asdict
from html import escape
from pathlib import Path
from secrets import token_hex
from typing import Any

import gradio as gr
from pydantic import BaseModel

from rocm.config import RunConfig
from rocm.errors import DrawingError, RocmError
from rocm.generation.orders import MAX_ORDERED, MAX_ORDERED_PUBLIC, Order, Orders
from rocm.generation.picture import command_line
from rocm.prompts.split import load_prompts
from rocm.runs.adapters import BASE, adapter_choices
from rocm.ui.access import Access
from rocm.ui.generate import view as picture_view
from rocm.ui.handlers import QUIET, SILENT, Changes, asset, click_to_save, fault, named, told
from rocm.ui.words import build_words

MODEL_INFO = RunConfig.model_fields["model"].description
STEPS = [*range(1, 9), 16]
BOUNDED = """This page is public: an order draws up to {most} pictures with the embedded model or
with the adapter of a run. Only you see your history; it ends with this page."""
LENT = " Drawing takes seconds of your ZeroGPU time, and stops when you leave this page."
DICE = "() => Math.floor(Math.random() * 2 ** 31)"
# Leaving the list counts as input too; a chosen example must not overwrite text typed later.
EXAMPLE = "(chosen, prompt) => [chosen || prompt, null]"
SURPRISE = "() => {{ const all = {prompts}; return all[Math.floor(Math.random() * all.length)]; }}"
SHOW_ON_A_PHONE = """() => {
  if (window.innerWidth <= 640) document.getElementById('drawing').scrollIntoView();
}"""


def build(orders: Orders, runs: Path, access: Access, page: gr.Blocks) -> None:
    """Make the page, offering the adapters of `runs`; the page's load event fills the form."""
    GeneratePage(orders, runs, access).wire(page)


class ChosenEntry(BaseModel):
    """The entry of the history that was clicked."""

    entry: str


class GeneratePage:
    """The page's components and handlers; a handler asks the orders and converts the answer."""

    def __init__(self, orders: Orders, runs: Path, access: Access) -> None:
        """Make the components in the open block, offering the adapters of `runs`."""
        self._orders, self._runs, self._is_public = orders, runs, access.is_public
        # A foreign call, without the page's load event, has no secret name and reaches no history.
        self._visitor = gr.State("nobody" if self._is_public else "")
        with gr.Row(elem_classes="page"):
            with gr.Column(scale=1, min_width=320, elem_classes="left"):
                self._form = self._build_form()
            with gr.Column(scale=3, min_width=320, elem_classes="right"):
                self._view = self._build_view()

    def _build_form(self) -> dict[str, Any]:
        """The left column; its controls are in the order of `Order`'s fields."""
        plain, most = Order(), MAX_ORDERED_PUBLIC if self._is_public else MAX_ORDERED
        if self._is_public:
            lent = LENT if self._orders.are_lent else ""
            gr.Markdown(BOUNDED.format(most=most) + lent, elem_id="drawing_bounds")
        # Prompts that no run was trained on.
        examples, form = list(load_prompts("embedded", 32, 0).evaluation), {}
        words = named("prompt", "Prompt", "Describe the picture; Enter draws it.")
        form["prompt"] = gr.Textbox(examples[0], lines=1, max_lines=4, **words)
        button = {"size": "md", "scale": 1, "min_width": 100}
        with gr.Row(elem_id="prompt_row"):
            example = gr.Dropdown(
                examples, value=None, label="Examples", elem_id="examples", scale=3, min_width=160
            )
            surprise = gr.Button("Surprise me", elem_id="surprise", **button)
        beside_prompt = gr.Column()
        self._draw_button = gr.Button("Draw", variant="primary", elem_id="draw")
        with gr.Row(elem_id="seed_row"):
            info = "Of the first picture; the next pictures have the next seeds."
            words = named("seed", "Seed", info)
            form["seed"] = gr.Number(plain.seed, precision=0, scale=3, min_width=160, **words)
            dice = gr.Button("New seed", elem_id="dice", **button)
        with gr.Row(elem_id="size_row"):
            num, words = min(plain.num_pictures, most), named("num_pictures", "Pictures")
            form["num_pictures"] = gr.Slider(1, most, num, step=1, **words)
        info = "More steps give finer pictures and take longer."
        words = named("num_inference_steps", "Sampler steps (N)", info)
        form["num_inference_steps"] = gr.Dropdown(STEPS, value=plain.num_inference_steps, **words)
        info = "Higher values follow the prompt more closely; the embedded model expects 8.5."
        words = named("guidance_scale", "Guidance scale", info)
        form["guidance_scale"] = gr.Slider(1, 20, plain.guidance_scale, step=0.5, **words)
        self._build_adapter(form)
        with beside_prompt:
            choices = [form["adapter"], form["model"]]
            build_words(form["prompt"], choices, self._runs, self._is_public)
        chosen = [example, form["prompt"]]
        example.input(None, chosen, chosen[::-1], js=EXAMPLE)
        surprise.click(None, None, form["prompt"], js=SURPRISE.format(prompts=json.dumps(examples)))
        dice.click(None, None, form["seed"], js=DICE)
        return form

    def _build_adapter(self, form: dict[str, Any]) -> None:
        typed = (
            "." if self._is_public else "; or type a checkpoint (RUN@STEP), folder or owner/name."
        )
        words = named("adapter", "Adapter", f"A run or a shipped adapter{typed}")
        words |= {"allow_custom_value": not self._is_public, **self._adapters()}
        form["adapter"] = gr.Dropdown(value=BASE, **words)
        info = "0 is the base model, 1 the adapter as trained."
        words = named("adapter_strength", "Adapter strength", info)
        form["adapter_strength"] = gr.Slider(0, 2, 1, step=0.05, **words)
        info = "From the same noise, for comparison."
        form["with_base"] = gr.Checkbox(**named("with_base", "Also draw the base model", info))
        words = named("model", "Model", f"{MODEL_INFO} Default: the adapter's model.")
        with gr.Accordion("Model", open=False, visible=not self._is_public):
            form["model"] = gr.Textbox(placeholder="assets/tiny-lcm", **words)

    def _build_view(self) -> dict[str, Any]:
        """The right column and the page's states: what handlers change besides the form."""
        looks = {"min_width": 110, "scale": 0, "size": "md", "interactive": False}
        view: dict[str, Any] = {}
        with gr.Row(elem_classes="runs"):
            gr.HTML("<h2>Pictures</h2>", elem_classes="overline")
            view["cancel"] = gr.Button("Cancel", variant="stop", elem_id="cancel", **looks)
            view["download"] = gr.Button("Download", elem_id="download", **looks)
        script = asset("drawing.js")
        view["drawing"] = gr.HTML(picture_view.NOTHING, js_on_load=script, elem_id="drawing")
        with gr.Row(elem_classes="runs"):
            gr.HTML("<h2>History</h2>", elem_classes="overline")
            view["undo"] = gr.Button("Undo delete", elem_id="undo", **looks)
        script = asset("history.js")
        view["history"] = gr.HTML(picture_view.NO_HISTORY, js_on_load=script, elem_id="history")
        view["timer"] = gr.Timer(0.3, active=False)
        return view | {"shown": gr.State(""), "seen": gr.State(""), "deleted": gr.State(())}

    def wire(self, page: gr.Blocks) -> None:
        """Bind the handlers to their events; the load event of `page` fills the form."""
        form, view, visitor = self._form, self._view, self._visitor
        everything = [visitor, *form.values(), *view.values()]
        page.load(self._load, None, everything, **QUIET)
        order = [visitor, view["deleted"], *form.values()]
        for trigger in (self._draw_button.click, form["prompt"].submit):
            ordered = trigger(self._draw, order, everything, **SILENT)
            if self._orders.are_lent:
                ordered.success(self._orders.lend, view["shown"], None, **QUIET)
        self._draw_button.click(None, js=SHOW_ON_A_PHONE)
        reading = [visitor, view["shown"]]
        view["timer"].tick(self._poll, [*reading, view["seen"]], everything, **QUIET)
        view["cancel"].click(self._cancel, reading, None, **SILENT)
        view["history"].select(self._select, [visitor], everything, **SILENT)
        deleting = [*reading, view["deleted"]]
        view["history"].delete(self._delete, deleting, everything, **SILENT)
        view["undo"].click(self._undo, deleting, everything, **SILENT)
        click_to_save({view["download"]: self._orders.archive}, [view["shown"], visitor])
        adapter = form["adapter"]
        adapter.focus(lambda: gr.update(**self._adapters()), None, adapter, **QUIET)

    def _load(self, request: gr.Request) -> Changes:
        visitor = token_hex(16) if self._is_public else ""
        entries = self._orders.history(visitor)
        asked = dict(request.query_params)
        changes: Changes = {self._visitor: visitor}
        if "prompt" in asked or "adapter" in asked:
            latest = entries[0].order if entries else {"prompt": self._form["prompt"].value}
            whole = asked if "prompt" in asked else {**latest, **asked, "model": ""}
            order = self._asked(whole, visitor)
            changes |= self._filled(order) if order else {}
            same = [entry for entry in entries if order and entry.order == asdict(order)]
            shown = same[0].entry_id if same else ""
        else:
            shown = entries[0].entry_id if entries else ""
            changes |= self._filled(Order.of(entries[0].order)) if entries else {}
        return changes | self._shown(visitor, shown)

    def _asked(self, asked: dict[str, str], visitor: str) -> Order | None:
        """The order in the address; None, with a warning, if it is not allowed."""
        try:
            return self._orders.check(Order.of(asked), visitor)[0]
        except RocmError as error:
            gr.Warning(f"The settings in this link cannot be used. {escape(str(error)[:500])}")
            return None

    def _draw(self, visitor: str, deleted: tuple[str, ...], *values: Any) -> Changes:
        given: list[Any] = ["" if value in (None, BASE) else value for value in values]
        order = Order(**dict(zip(vars(Order()), given, strict=True)))
        return self._shown(visitor, self._orders.draw(order, visitor), deleted)

    def _poll(self, visitor: str, shown: str, seen: str) -> Changes:
        if not shown:
            return {self._view["timer"]: gr.Timer(active=False)}
        try:
            entry, status = self._orders.entry(shown, visitor)
        except RocmError as error:  # deleted from another page; polling ends
            stopped = {self._view["timer"]: gr.Timer(active=False), self._view["shown"]: ""}
            return {**stopped, self._view["drawing"]: fault(str(error))}
        if status and seen == _version(shown, len(entry.files), status.state):
            return {self._view["timer"]: gr.skip()}
        changes = self._shown(visitor, shown)
        if status:
            del changes[self._view["history"]]
        return changes

    def _cancel(self, visitor: str, shown: str) -> None:
        self._orders.cancel(shown, visitor)

    def _select(self, visitor: str, event: gr.EventData) -> Changes:
        entry, _ = self._orders.entry(told(event, ChosenEntry).entry, visitor)
        return self._filled(Order.of(entry.order)) | self._shown(visitor, entry.entry_id)

    def _delete(
        self, visitor: str, shown: str, deleted: tuple[str, ...], event: gr.EventData
    ) -> Changes:
        entry_id = told(event, ChosenEntry).entry
        self._orders.delete(entry_id, visitor)
        rest = "" if entry_id == shown else shown
        return self._shown(visitor, rest, (*deleted, entry_id))

    def _undo(self, visitor: str, shown: str, deleted: tuple[str, ...]) -> Changes:
        if not deleted:
            raise DrawingError("There is no deleted drawing to restore.")
        self._orders.restore(deleted[-1], visitor)
        return self._shown(visitor, deleted[-1], deleted[:-1])

    def _filled(self, order: Order) -> Changes:
        values = {
            **vars(order),
            "adapter": gr.update(**self._adapters(), value=order.adapter or BASE),
        }
        return {self._form[name]: value for name, value in values.items()}

    def _adapters(self) -> dict[str, Any]:
        """The labels and names of the adapters that can be chosen now."""
        return {"choices": adapter_choices(self._runs)}

    def _shown(self, visitor: str, shown: str, deleted: tuple[str, ...] | None = None) -> Changes:
        """The right column with an entry shown, or without one."""
        view = self._view
        changes: Changes = {view["shown"]: shown}
        if deleted is not None:
            changes |= {
                view["deleted"]: deleted,
                view["undo"]: gr.update(interactive=bool(deleted)),
            }
        status, num_files = None, 0
        drawing = picture_view.NOTHING
        if shown:
            entry, status = self._orders.entry(shown, visitor)
            num_files = len(entry.files)
            num_trained = len(entry.pictures) - sum(entry.is_base)
            command = command_line(entry.pictures[0], num_trained)
            drawing = picture_view.drawing(entry, status, command, self._is_public)
            changes[view["seen"]] = _version(shown, num_files, status.state if status else "")
        return changes | {
            view["drawing"]: drawing,
            view["history"]: picture_view.history(self._orders.history(visitor), shown),
            view["timer"]: gr.Timer(active=status is not None),
            view["cancel"]: gr.update(interactive=status is not None),
            view["download"]: gr.update(interactive=num_files > 0 and status is None),
        }


def _version(shown: str, num_files: int, state: str) -> str:
    """A text that changes whenever the shown drawing changes."""
    return f"{shown} {num_files} {state}"
