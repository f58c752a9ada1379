"""Cost and power on the Study page: of the form of a new study, and of a draft.

The words follow every change at once and the power some seconds later. Until then the table of
another design is hidden by the style that comes with the words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from rocm.errors import RocmError
from rocm.study.design.cost import SECONDS_PER_PAIR, StudyCost, recipe_cost, study_cost
from rocm.study.design.form import Size, sized_recipe
from rocm.study.service import Studies
from rocm.ui.access import Access
from rocm.ui.handlers import QUIET, in_words
from rocm.ui.study import view

Changes = dict[Component, Any]
SIZES = ("main_per_rater", "repeats_per_rater")


@dataclass(frozen=True)
class CostBox:
    """Assumptions, and what follows from them; `name` is the id in the page."""

    name: str
    seconds: gr.Number
    pay: gr.Number
    words: gr.HTML
    power: gr.HTML
    now: gr.State  # the StudyCost of the words, None while there is a fault


def build_cost(name: str) -> CostBox:
    """Make the box in the current Gradio block; `name` is its id in the page."""
    with gr.Column(elem_id=name, elem_classes="study-cost"):
        gr.HTML("<h2>Cost and power</h2>", elem_classes="overline")
        with gr.Row():
            seconds = gr.Number(
                SECONDS_PER_PAIR, label="Seconds per pair", min_width=120, elem_id=f"{name}_seconds"
            )
            pay = gr.Number(0, label="Pay per hour", min_width=120, elem_id=f"{name}_pay")
        words, power = gr.HTML(elem_id=f"{name}_words"), gr.HTML(elem_id=f"{name}_power")
    return CostBox(name, seconds, pay, words, power, gr.State(None))


def build_draft_cost(studies: Studies, access: Access, panel: dict[str, Any]) -> None:
    """Make the box of the selected draft, with its handler; `panel["state"]` tells of changes."""
    box = build_cost("study_cost")

    def follow(token: str, study_id: str, seconds: Any, pay: Any) -> Changes:
        is_draft = study_id and access.allows(token) and studies.details(study_id).state == "draft"
        if not is_draft:
            return {box.now: None}
        return _said(box, study_cost(studies.store, study_id, seconds or 0, pay or 0))

    chosen = [panel["token"], panel["selected"]]
    _wire(box, studies, [panel["state"].change], follow, chosen)


def wire_form_cost(
    box: CostBox,
    fields: dict[str, Any],
    studies: Studies,
    access: Access,
    chosen: tuple[gr.Textbox, gr.Accordion],
) -> None:
    """Let box and sizes per rater follow the form's fields; `chosen`: token, and where it opens."""
    token, form = chosen
    bounded = [fields[name] for name in SIZES]
    first = tuple(Size(field.value, field.value) for field in bounded)
    sizes = gr.State(first)

    def follow(given: str, known: tuple[Size, Size], *values: Any) -> Changes:
        if not access.allows(given):
            return {box.now: None}
        *filled, seconds, pay = values
        by_name = dict(zip(fields, filled, strict=True))
        recipe, fitting = sized_recipe(by_name, studies.home, known)
        shown = {
            field: size.shown
            for field, size, name in zip(bounded, fitting, SIZES, strict=True)
            if size.shown != by_name[name]
        }
        cost = recipe_cost(recipe, seconds or 0, pay or 0)
        return _said(box, cost) | {sizes: fitting, **shown}

    changes = [form.expand, *(field.change for field in fields.values())]
    inputs = [token, sizes, *fields.values()]
    _wire(box, studies, changes, follow, inputs, [sizes, *bounded])


def _wire(
    box: CostBox,
    studies: Studies,
    changes: Sequence[Any],
    follow: Callable[..., Changes],
    inputs: Sequence[Component],
    more: Sequence[Component] = (),
) -> None:
    """Say the cost at every change, and then simulate the power.

    `follow(*inputs, seconds, pay)` returns changes of the box and of `more`.
    """

    def say(*values: Any) -> Changes:
        try:
            return follow(*values)
        except RocmError as error:
            return {box.words: view.no_cost(str(error), box.name), box.now: None}

    def simulate(cost: StudyCost | None) -> Any:
        return view.power_table(cost, studies.power(cost)) if cost else gr.skip()

    # While a handler runs, later changes are merged into one more call.
    always: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
    changes = [*changes, box.seconds.change, box.pay.change]
    given = [*inputs, box.seconds, box.pay]
    gr.on(changes, say, given, [box.words, box.now, *more], **always)
    box.now.change(in_words(simulate), box.now, box.power, **always)


def _said(box: CostBox, cost: StudyCost) -> Changes:
    return {box.words: view.cost_words(cost, box.name), box.now: cost}
