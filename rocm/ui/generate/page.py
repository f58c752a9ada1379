"""The page that draws: settings on the left; pictures and history on the right.

Draw hands an order to the desk and returns; a timer looks at its folder until it has ended. What is
shown stands in the address, so that a link or a reload brings the settings back.
"""

import json
import re
from base64 import b64encode
from dataclasses import asdict, dataclass
from html import escape
from secrets import token_hex
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import BaseModel

from rocm.config import RunConfig
from rocm.errors import DrawingError, RocmError
from rocm.generation.orders import MAX_ORDERED, MAX_ORDERED_PUBLIC, RUN, Desk, Order
from rocm.storage.paths import ROOT
from rocm.ui.access import Access
from rocm.ui.generate import view as picture_view
from rocm.ui.handlers import QUIET, in_words, told

NO_ADAPTER = "none"
STEPS = [*range(1, 9), 16]
BOUNDED = """Others can reach this page: an order draws up to {most} pictures with the embedded
model or a run's adapter, and your history is yours alone and ends with this page."""
DICE = "() => Math.floor(Math.random() * 2 ** 31)"
# Leaving the list counts as input too; and what was chosen must not come back over later words.
EXAMPLE = "(chosen, prompt) => [chosen || prompt, null]"
SURPRISE = "() => {{ const all = {prompts}; return all[Math.floor(Math.random() * all.length)]; }}"
SHOW_ON_A_PHONE = """() => {
  if (window.innerWidth <= 640) document.getElementById('drawing').scrollIntoView();
}"""
SAVE = """(name_and_data) => {
  const [name, data] = name_and_data.split('|');
  const bytes = Uint8Array.from(atob(data), sign => sign.charCodeAt(0));
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([bytes]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}"""


@dataclass(frozen=True)
class Form:
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
class View:
    """What handlers change besides the form."""

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


def build(desk: Desk, access: Access, page: gr.Blocks) -> None:
    """Make the page.

    Args:
        desk: takes orders and keeps their history.
        access: whether only this machine's user can reach the page.
        page: the application, whose load event fills the form.
    """
    is_public = not access.may_train or bool(access.token)
    # A call from outside, without the page's load event, has no name and so reaches no history.
    visitor = gr.State("nobody" if is_public else "")
    with gr.Row(elem_classes="page"):
        with gr.Column(scale=1, min_width=320, elem_classes="left"):
            form, draw = _build_form(desk, is_public)
        with gr.Column(scale=3, min_width=320, elem_classes="right"):
            view = _build_view(draw)
    parts = Handlers(desk, is_public, form, view, visitor)
    parts.wire(page)


def _build_form(desk: Desk, is_public: bool) -> tuple[Form, gr.Button]:
    most = MAX_ORDERED_PUBLIC if is_public else MAX_ORDERED
    if is_public:
        gr.Markdown(BOUNDED.format(most=most), elem_id="drawing_bounds")
    examples, plain = desk.examples(), Order()
    prompt = gr.Textbox(
        examples[0],
        label="Prompt",
        info="What to draw; Enter draws it.",
        lines=1,
        max_lines=4,
        elem_id="prompt",
    )
    with gr.Row(elem_id="prompt_row"):
        example = gr.Dropdown(
            examples, value=None, label="Examples", elem_id="examples", scale=3, min_width=160
        )
        surprise = gr.Button("Surprise me", size="md", elem_id="surprise", scale=1, min_width=100)
    draw = gr.Button("Draw", variant="primary", elem_id="draw")
    with gr.Row(elem_id="seed_row"):
        seed = gr.Number(
            plain.seed,
            label="Seed",
            info="Of the first picture; the others follow.",
            precision=0,
            elem_id="seed",
            scale=3,
            min_width=160,
        )
        dice = gr.Button("New seed", size="md", elem_id="dice", scale=1, min_width=100)
    with gr.Row(elem_id="size_row"):
        num_pictures = gr.Slider(
            1, most, min(plain.num_pictures, most), step=1, label="Pictures", elem_id="num_pictures"
        )
    steps = gr.Dropdown(
        STEPS,
        value=plain.num_inference_steps,
        label="Sampler steps (N)",
        info="More steps, finer pictures, more time.",
        elem_id="num_inference_steps",
    )
    guidance = gr.Slider(
        1,
        20,
        plain.guidance_scale,
        step=0.5,
        label="Guidance scale",
        info="How strictly the prompt is followed; the embedded model was made for 8.5.",
        elem_id="guidance_scale",
    )
    adapter = gr.Dropdown(
        _adapter_choices(desk),
        value=NO_ADAPTER,
        label="Adapter",
        info="What a run has learned" + ("." if is_public else "; or type an adapter's folder."),
        allow_custom_value=not is_public,
        elem_id="adapter",
    )
    strength = gr.Slider(
        0,
        2,
        1,
        step=0.05,
        label="Adapter strength",
        info="0 is the base model, 1 the adapter as it was trained.",
        elem_id="adapter_strength",
    )
    with_base = gr.Checkbox(
        label="Draw the base model too",
        info="From the same noise, to compare with the adapter.",
        elem_id="with_base",
    )
    with gr.Accordion("Model", open=False, visible=not is_public):
        model = gr.Textbox(
            label="Model",
            info=f"{RunConfig.model_fields['model'].description} Empty: the adapter's own.",
            placeholder="assets/tiny-lcm",
            elem_id="model",
        )
    example.input(None, [example, prompt], [prompt, example], js=EXAMPLE, api_visibility="private")
    prompts = json.dumps(examples)
    surprise.click(
        None, None, prompt, js=SURPRISE.format(prompts=prompts), api_visibility="private"
    )
    dice.click(None, None, seed, js=DICE, api_visibility="private")
    form = Form(prompt, seed, num_pictures, steps, guidance, adapter, strength, with_base, model)
    return form, draw


def _build_view(draw: gr.Button) -> View:
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
    return View(drawing, history, draw, cancel, download, undo, timer, *states)


class ChosenEntry(BaseModel):
    """The entry of the history that is clicked on."""

    entry: str


class Handlers:
    """The page's handlers; each converts values, asks the desk, and converts its answer."""

    def __init__(
        self, desk: Desk, is_public: bool, form: Form, view: View, visitor: gr.State
    ) -> None:
        """Bind the parts of one page.

        Args:
            desk: to ask.
            is_public: whether others can reach the page.
            form: left column.
            view: right column.
            visitor: secret name of a visitor, empty where the page is private.
        """
        self._desk, self._is_public = desk, is_public
        self._form, self._view, self._visitor = form, view, visitor

    def wire(self, page: gr.Blocks) -> None:
        """Bind the handlers to their events."""
        form, view, visitor = self._form, self._view, self._visitor
        everything = [visitor, *form.controls, *vars(view).values()]
        page.load(self._load, None, everything, **QUIET)
        named = {"api_visibility": "private", "show_progress": "hidden"}
        order = [visitor, view.deleted, *form.controls]
        for trigger in (view.draw.click, form.prompt.submit):
            trigger(in_words(self._draw), order, everything, **named)
        reading = [visitor, view.shown, view.seen]
        view.draw.click(None, js=SHOW_ON_A_PHONE, api_visibility="private")
        view.timer.tick(in_words(self._poll), reading, everything, **QUIET)
        view.cancel.click(in_words(self._cancel), [visitor, view.shown], None, **named)
        view.history.select(in_words(self._select), [visitor], everything, **named)
        deleting = [visitor, view.shown, view.deleted]
        view.history.delete(in_words(self._delete), deleting, everything, **named)
        view.undo.click(in_words(self._undo), deleting, everything, **named)
        carrier = gr.Textbox(visible="hidden", label="Download", container=False)
        view.download.click(
            in_words(self._archive), [visitor, view.shown], carrier, **named
        ).success(None, carrier, None, js=SAVE, api_visibility="private")
        form.adapter.focus(
            lambda: gr.update(choices=_adapter_choices(self._desk)), None, form.adapter, **QUIET
        )

    def _load(self, request: gr.Request) -> dict[Component, Any]:
        visitor = token_hex(16) if self._is_public else ""
        entries = self._desk.history(visitor)
        asked = dict(request.query_params)
        changes: dict[Component, Any] = {self._visitor: visitor}
        if "prompt" in asked:
            order = self._asked(asked, visitor)
            changes |= self._filled(order) if order else {}
            same = [entry for entry in entries if order and entry.order == asdict(order)]
            shown = same[0].entry_id if same else ""
        else:
            shown = entries[0].entry_id if entries else ""
            changes |= self._filled(Order.of(entries[0].order)) if entries else {}
        return changes | self._shown(visitor, shown)

    def _asked(self, asked: dict[str, str], visitor: str) -> Order | None:
        """The order of the address; what is wrong with it is said, and the form stays plain."""
        try:
            return self._desk.check(Order.of(asked), visitor)[0]
        except RocmError as error:
            gr.Warning(f"The link's settings cannot be used. {escape(str(error)[:500])}")
            return None

    def _draw(self, visitor: str, deleted: tuple[str, ...], *values: Any) -> dict[Component, Any]:
        given = ["" if value in (None, NO_ADAPTER) else value for value in values]
        order = Order(**dict(zip(vars(Order()), given, strict=True)))
        return self._shown(visitor, self._desk.draw(order, visitor), deleted)

    def _poll(self, visitor: str, shown: str, seen: str) -> dict[Component, Any]:
        if not shown:
            return {self._view.timer: gr.Timer(active=False)}
        try:
            entry, status = self._desk.entry(shown, visitor)
        except RocmError as error:  # deleted from another page; said once, then no more polls
            words = picture_view.fault(str(error))
            return {
                self._view.timer: gr.Timer(active=False),
                self._view.shown: "",
                self._view.drawing: words,
            }
        if status and seen == _version(shown, len(entry.files), status.state):
            return {self._view.timer: gr.skip()}
        changes = self._shown(visitor, shown)
        if status:
            del changes[self._view.history]
        return changes

    def _cancel(self, visitor: str, shown: str) -> None:
        self._desk.cancel(shown, visitor)

    def _select(self, visitor: str, event: gr.EventData) -> dict[Component, Any]:
        entry, _ = self._desk.entry(told(event, ChosenEntry).entry, visitor)
        return self._filled(Order.of(entry.order)) | self._shown(visitor, entry.entry_id)

    def _delete(
        self, visitor: str, shown: str, deleted: tuple[str, ...], event: gr.EventData
    ) -> dict[Component, Any]:
        entry_id = told(event, ChosenEntry).entry
        self._desk.delete(entry_id, visitor)
        rest = "" if entry_id == shown else shown
        return self._shown(visitor, rest, (*deleted, entry_id))

    def _undo(self, visitor: str, shown: str, deleted: tuple[str, ...]) -> dict[Component, Any]:
        if not deleted:
            raise DrawingError("Nothing was deleted here that could be taken back.")
        self._desk.restore(deleted[-1], visitor)
        return self._shown(visitor, deleted[-1], deleted[:-1])

    def _archive(self, visitor: str, shown: str) -> str:
        name, content = self._desk.archive(shown, visitor)
        return f"{name}|{b64encode(content).decode()}"

    def _filled(self, order: Order) -> dict[Component, Any]:
        values = {getattr(self._form, name): value for name, value in vars(order).items()}
        choices = _adapter_choices(self._desk)
        return values | {
            self._form.adapter: gr.update(choices=choices, value=order.adapter or NO_ADAPTER)
        }

    def _shown(
        self, visitor: str, shown: str, deleted: tuple[str, ...] | None = None
    ) -> dict[Component, Any]:
        """The right column with one entry shown, or with none."""
        view = self._view
        changes: dict[Component, Any] = {view.shown: shown}
        if deleted is not None:
            changes |= {view.deleted: deleted, view.undo: gr.update(interactive=bool(deleted))}
        status, num_files = None, 0
        drawing = picture_view.NOTHING
        if shown:
            entry, status = self._desk.entry(shown, visitor)
            num_files = len(entry.files)
            command = self._desk.command(entry)
            drawing = picture_view.drawing(entry, status, command, self._is_public)
            changes[view.seen] = _version(shown, num_files, status.state if status else "")
        return changes | {
            view.drawing: drawing,
            view.history: picture_view.history(self._desk.history(visitor), shown),
            view.timer: gr.Timer(active=status is not None),
            view.cancel: gr.update(interactive=status is not None),
            view.download: gr.update(interactive=num_files > 0 and status is None),
        }


def _version(shown: str, num_files: int, state: str) -> str:
    """A text that changes when what is shown of a drawing changes."""
    return f"{shown} {num_files} {state}"


def _adapter_choices(desk: Desk) -> list[tuple[str, str]]:
    runs = [(_run_name(run_id, title), RUN + run_id) for run_id, title in desk.adapters().items()]
    return [("None: the base model", NO_ADAPTER), *runs]


def _run_name(run_id: str, title: str) -> str:
    made = r" (\1-\2-\3 \4:\5, \6)"
    name = re.sub(r"-(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)\d\d-(\w+)$", made, run_id)
    return f"{title}: {name}" if title else name


def _script(name: str) -> str:
    return (ROOT / "assets" / name).read_text(encoding="utf-8")
