"""The Generate page: settings on the left; pictures and history on the right.

Draw submits an order and returns; a timer polls it until it has ended. The shown settings are in
the address, so that a link or a reload restores them.
"""

import json
from base64 import b64encode
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from secrets import token_hex
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import BaseModel

from rocm.config import RunConfig
from rocm.errors import DrawingError, RocmError
from rocm.generation.orders import MAX_ORDERED, MAX_ORDERED_PUBLIC, Order, Orders
from rocm.generation.picture import command_line
from rocm.prompts.split import load_prompts
from rocm.runs.adapters import BASE, adapter_choices
from rocm.storage.paths import ROOT
from rocm.ui.access import Access
from rocm.ui.generate import view as picture_view
from rocm.ui.handlers import QUIET, fault, in_words, named, told
from rocm.ui.words import build_words

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
SAVE = """(name_and_data) => {
  const [name, data] = name_and_data.split('|');
  const bytes = Uint8Array.from(atob(data), char => char.charCodeAt(0));
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([bytes]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}"""


@dataclass(frozen=True)
class GenerateForm:
    """The left column; fields but the buttons are those of `Order`."""

    prompt: gr.Textbox
    seed: gr.Number
    num_pictures: gr.Slider
    num_inference_steps: gr.Dropdown
    guidance_scale: gr.Slider
    adapter: gr.Dropdown
    adapter_strength: gr.Slider
    with_base: gr.Checkbox
    model: gr.Textbox

    @property
    def controls(self) -> list[Component]:
        """In the order of `Order`'s fields."""
        return [getattr(self, name) for name in vars(Order())]


@dataclass(frozen=True)
class GenerateView:
    """Components that handlers change besides the form."""

    drawing: gr.HTML
    history: gr.HTML
    draw: gr.Button
    cancel: gr.Button
    download: gr.Button
    undo: gr.Button
    timer: gr.Timer
    shown: gr.State
    seen: gr.State
    deleted: gr.State


def build(orders: Orders, runs: Path, access: Access, page: gr.Blocks) -> None:
    """Make the page, offering the adapters of `runs`; the page's load event fills the form."""
    is_public = not access.may_train or bool(access.token)
    # A foreign call, without the page's load event, has no secret name and so reaches no history.
    visitor = gr.State("nobody" if is_public else "")
    with gr.Row(elem_classes="page"):
        with gr.Column(scale=1, min_width=320, elem_classes="left"):
            form, draw = _build_form(runs, is_public, orders.are_lent)
        with gr.Column(scale=3, min_width=320, elem_classes="right"):
            view = _build_view(draw)
    GenerateHandlers(orders, runs, form, view, visitor).wire(page)


def _build_form(
    runs: Path, is_public: bool, are_lent: bool = False
) -> tuple[GenerateForm, gr.Button]:
    most = MAX_ORDERED_PUBLIC if is_public else MAX_ORDERED
    if is_public:
        lent = LENT if are_lent else ""
        gr.Markdown(BOUNDED.format(most=most) + lent, elem_id="drawing_bounds")
    # Prompts that no run was trained on.
    examples, plain = list(load_prompts("embedded", 32, 0).evaluation), Order()
    words = named("prompt", "Prompt", "Describe the picture; Enter draws it.")
    prompt = gr.Textbox(examples[0], lines=1, max_lines=4, **words)
    with gr.Row(elem_id="prompt_row"):
        example = gr.Dropdown(
            examples, value=None, label="Examples", elem_id="examples", scale=3, min_width=160
        )
        surprise = gr.Button("Surprise me", size="md", elem_id="surprise", scale=1, min_width=100)
    beside_prompt = gr.Column()
    draw = gr.Button("Draw", variant="primary", elem_id="draw")
    with gr.Row(elem_id="seed_row"):
        words = named(
            "seed", "Seed", "Of the first picture; the next pictures have the next seeds."
        )
        seed = gr.Number(plain.seed, precision=0, scale=3, min_width=160, **words)
        dice = gr.Button("New seed", size="md", elem_id="dice", scale=1, min_width=100)
    with gr.Row(elem_id="size_row"):
        num_pictures = gr.Slider(
            1, most, min(plain.num_pictures, most), step=1, label="Pictures", elem_id="num_pictures"
        )
    info = "More steps give finer pictures and take longer."
    words = named("num_inference_steps", "Sampler steps (N)", info)
    steps = gr.Dropdown(STEPS, value=plain.num_inference_steps, **words)
    info = "Higher values follow the prompt more closely; the embedded model expects 8.5."
    words = named("guidance_scale", "Guidance scale", info)
    guidance = gr.Slider(1, 20, plain.guidance_scale, step=0.5, **words)
    choice = _build_adapter(runs, is_public)
    with beside_prompt:
        build_words(prompt, [choice[0], choice[3]], runs, is_public)
    example.input(None, [example, prompt], [prompt, example], js=EXAMPLE, api_visibility="private")
    prompts = json.dumps(examples)
    surprise.click(
        None, None, prompt, js=SURPRISE.format(prompts=prompts), api_visibility="private"
    )
    dice.click(None, None, seed, js=DICE, api_visibility="private")
    return GenerateForm(prompt, seed, num_pictures, steps, guidance, *choice), draw


def _build_adapter(
    runs: Path, is_public: bool
) -> tuple[gr.Dropdown, gr.Slider, gr.Checkbox, gr.Textbox]:
    typed = "." if is_public else "; or type a checkpoint (RUN@STEP), folder or owner/name."
    words = named("adapter", "Adapter", f"A run or a shipped adapter{typed}")
    choices = adapter_choices(runs)
    adapter = gr.Dropdown(choices, value=BASE, allow_custom_value=not is_public, **words)
    info = "0 is the base model, 1 the adapter as trained."
    words = named("adapter_strength", "Adapter strength", info)
    strength = gr.Slider(0, 2, 1, step=0.05, **words)
    words = named("with_base", "Also draw the base model", "From the same noise, for comparison.")
    with_base = gr.Checkbox(**words)
    info = f"{RunConfig.model_fields['model'].description} Default: the adapter's model."
    with gr.Accordion("Model", open=False, visible=not is_public):
        model = gr.Textbox(placeholder="assets/tiny-lcm", **named("model", "Model", info))
    return adapter, strength, with_base, model


def _build_view(draw: gr.Button) -> GenerateView:
    with gr.Row(elem_classes="runs"):
        gr.HTML("<h2>Pictures</h2>", elem_classes="overline")
        looks = {"min_width": 110, "scale": 0, "size": "md", "interactive": False}
        cancel = gr.Button("Cancel", variant="stop", elem_id="cancel", **looks)
        download = gr.Button("Download", elem_id="download", **looks)
    drawing = gr.HTML(picture_view.NOTHING, js_on_load=_script("drawing.js"), elem_id="drawing")
    with gr.Row(elem_classes="runs"):
        gr.HTML("<h2>History</h2>", elem_classes="overline")
        undo = gr.Button("Undo delete", elem_id="undo", **looks)
    history = gr.HTML(picture_view.NO_HISTORY, js_on_load=_script("history.js"), elem_id="history")
    states = (gr.State(""), gr.State(""), gr.State(()))
    timer = gr.Timer(0.3, active=False)
    return GenerateView(drawing, history, draw, cancel, download, undo, timer, *states)


class ChosenEntry(BaseModel):
    """The entry of the history that was clicked."""

    entry: str


class GenerateHandlers:
    """The page's handlers: each converts values, asks the orders, and converts the answer."""

    def __init__(
        self, orders: Orders, runs: Path, form: GenerateForm, view: GenerateView, visitor: gr.State
    ) -> None:
        """Bind the parts of a page; `visitor` is a secret name, empty on a private page."""
        self._orders, self._runs = orders, runs
        self._form, self._view, self._visitor = form, view, visitor
        self._is_public = bool(visitor.value)

    def wire(self, page: gr.Blocks) -> None:
        """Bind the handlers to their events."""
        form, view, visitor = self._form, self._view, self._visitor
        everything = [visitor, *form.controls, *vars(view).values()]
        page.load(self._load, None, everything, **QUIET)
        silent = {"api_visibility": "private", "show_progress": "hidden"}
        order = [visitor, view.deleted, *form.controls]
        for trigger in (view.draw.click, form.prompt.submit):
            ordered = trigger(in_words(self._draw), order, everything, **silent)
            if self._orders.are_lent:
                ordered.success(in_words(self._orders.lend), view.shown, None, **QUIET)
        reading = [visitor, view.shown, view.seen]
        view.draw.click(None, js=SHOW_ON_A_PHONE, api_visibility="private")
        view.timer.tick(in_words(self._poll), reading, everything, **QUIET)
        view.cancel.click(in_words(self._cancel), [visitor, view.shown], None, **silent)
        view.history.select(in_words(self._select), [visitor], everything, **silent)
        deleting = [visitor, view.shown, view.deleted]
        view.history.delete(in_words(self._delete), deleting, everything, **silent)
        view.undo.click(in_words(self._undo), deleting, everything, **silent)
        carrier = gr.Textbox(visible="hidden", label="Download", container=False)
        view.download.click(
            in_words(self._archive), [visitor, view.shown], carrier, **silent
        ).success(None, carrier, None, js=SAVE, api_visibility="private")
        form.adapter.focus(
            lambda: gr.update(choices=adapter_choices(self._runs)), None, form.adapter, **QUIET
        )

    def _load(self, request: gr.Request) -> dict[Component, Any]:
        visitor = token_hex(16) if self._is_public else ""
        entries = self._orders.history(visitor)
        asked = dict(request.query_params)
        changes: dict[Component, Any] = {self._visitor: visitor}
        if "prompt" in asked or "adapter" in asked:
            latest = entries[0].order if entries else {"prompt": self._form.prompt.value}
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

    def _draw(self, visitor: str, deleted: tuple[str, ...], *values: Any) -> dict[Component, Any]:
        given: list[Any] = ["" if value in (None, BASE) else value for value in values]
        order = Order(**dict(zip(vars(Order()), given, strict=True)))
        return self._shown(visitor, self._orders.draw(order, visitor), deleted)

    def _poll(self, visitor: str, shown: str, seen: str) -> dict[Component, Any]:
        if not shown:
            return {self._view.timer: gr.Timer(active=False)}
        try:
            entry, status = self._orders.entry(shown, visitor)
        except RocmError as error:  # deleted from another page; polling ends
            stopped = {self._view.timer: gr.Timer(active=False), self._view.shown: ""}
            return {**stopped, self._view.drawing: fault(str(error))}
        if status and seen == _version(shown, len(entry.files), status.state):
            return {self._view.timer: gr.skip()}
        changes = self._shown(visitor, shown)
        if status:
            del changes[self._view.history]
        return changes

    def _cancel(self, visitor: str, shown: str) -> None:
        self._orders.cancel(shown, visitor)

    def _select(self, visitor: str, event: gr.EventData) -> dict[Component, Any]:
        entry, _ = self._orders.entry(told(event, ChosenEntry).entry, visitor)
        return self._filled(Order.of(entry.order)) | self._shown(visitor, entry.entry_id)

    def _delete(
        self, visitor: str, shown: str, deleted: tuple[str, ...], event: gr.EventData
    ) -> dict[Component, Any]:
        entry_id = told(event, ChosenEntry).entry
        self._orders.delete(entry_id, visitor)
        rest = "" if entry_id == shown else shown
        return self._shown(visitor, rest, (*deleted, entry_id))

    def _undo(self, visitor: str, shown: str, deleted: tuple[str, ...]) -> dict[Component, Any]:
        if not deleted:
            raise DrawingError("There is no deleted drawing to restore.")
        self._orders.restore(deleted[-1], visitor)
        return self._shown(visitor, deleted[-1], deleted[:-1])

    def _archive(self, visitor: str, shown: str) -> str:
        name, content = self._orders.archive(shown, visitor)
        return f"{name}|{b64encode(content).decode()}"

    def _filled(self, order: Order) -> dict[Component, Any]:
        values = {getattr(self._form, name): value for name, value in vars(order).items()}
        choices = adapter_choices(self._runs)
        return values | {
            self._form.adapter: gr.update(choices=choices, value=order.adapter or BASE)
        }

    def _shown(
        self, visitor: str, shown: str, deleted: tuple[str, ...] | None = None
    ) -> dict[Component, Any]:
        """The right column with an entry shown, or without one."""
        view = self._view
        changes: dict[Component, Any] = {view.shown: shown}
        if deleted is not None:
            changes |= {view.deleted: deleted, view.undo: gr.update(interactive=bool(deleted))}
        status, num_files = None, 0
        drawing = picture_view.NOTHING
        if shown:
            entry, status = self._orders.entry(shown, visitor)
            num_files = len(entry.files)
            num_trained = len(entry.pictures) - sum(entry.is_base)
            command = command_line(entry.pictures[0], num_trained)
            drawing = picture_view.drawing(entry, status, command, self._is_public)
            changes[view.seen] = _version(shown, num_files, status.state if status else "")
        return changes | {
            view.drawing: drawing,
            view.history: picture_view.history(self._orders.history(visitor), shown),
            view.timer: gr.Timer(active=status is not None),
            view.cancel: gr.update(interactive=status is not None),
            view.download: gr.update(interactive=num_files > 0 and status is None),
        }


def _version(shown: str, num_files: int, state: str) -> str:
    """A text that changes whenever the shown drawing changes."""
    return f"{shown} {num_files} {state}"


def _script(name: str) -> str:
    return (ROOT / "assets" / name).read_text(encoding="utf-8")
