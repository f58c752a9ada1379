"""Cost and power on the Study page: of the form of a new study, and of a draft.

The words follow every change at once and the power some seconds later. Until then the table of
another design is hidden by the style that comes with the words.
"""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from rocm.errors import RocmError
from rocm.study.design.cost import SECONDS_PER_PAIR, StudyCost, recipe_cost, study_cost
from rocm.study.design.form import Size, sized_recipe
from rocm.study.service import Studies
from rocm.ui.access import Access
from rocm.ui.handlers import QUIET, Changes, named
from rocm.ui.study import view

SIZES = ("main_per_rater", "repeats_per_rater")


class CostBox:
    """Assumptions, and what follows from them."""

    def __init__(self, name: str, studies: Studies) -> None:
        """Make the box in the current Gradio block; `name` is its id in the page."""
        self._name, self._studies = name, studies
        with gr.Column(elem_id=name, elem_classes="study-cost"):
            gr.HTML("<h2>Cost and power</h2>", elem_classes="overline")
            with gr.Row():
                words = named(f"{name}_seconds", "Seconds per pair")
                self._seconds = gr.Number(SECONDS_PER_PAIR, min_width=120, **words)
                words = named(f"{name}_pay", "Pay per hour")
                self._pay = gr.Number(0, min_width=120, **words)
            self._words = gr.HTML(elem_id=f"{name}_words")
            self._power = gr.HTML(elem_id=f"{name}_power")
        self._now = gr.State(None)  # the StudyCost of the words, None while there is a fault

    def follow_draft(self, access: Access, panel: dict[str, Any]) -> None:
        """Show the selected draft; `panel["state"]` tells of its changes."""

        def cost_of(token: str, study_id: str, *given: float) -> tuple[StudyCost | None, Changes]:
            is_shown = study_id and access.allows(token)
            if is_shown and self._studies.details(study_id).state == "draft":
                return study_cost(self._studies.store, study_id, *given), {}
            return None, {}

        self._follow([panel["state"].change], cost_of, [panel["token"], panel["selected"]])

    def follow_form(
        self, fields: dict[str, Any], access: Access, token: gr.Textbox, form: gr.Accordion
    ) -> None:
        """Show the study that the fields describe, and let their sizes per rater fit its pairs."""
        bounded = [fields[name] for name in SIZES]
        sizes = gr.State(tuple(Size(field.value, field.value) for field in bounded))

        def cost_of(
            given: str, known: tuple[Size, Size], *values: Any
        ) -> tuple[StudyCost | None, Changes]:
            if not access.allows(given):
                return None, {}
            *filled, seconds, pay = values
            by_name = dict(zip(fields, filled, strict=True))
            recipe, fitting = sized_recipe(by_name, self._studies.home, known)
            shown = {
                fields[name]: size.shown
                for size, name in zip(fitting, SIZES, strict=True)
                if size.shown != by_name[name]
            }
            return recipe_cost(recipe, seconds, pay), {sizes: fitting, **shown}

        changes = [form.expand, *(field.change for field in fields.values())]
        self._follow(changes, cost_of, [token, sizes, *fields.values()], [sizes, *bounded])

    def _follow(
        self,
        changes: Sequence[Any],
        cost_of: Callable[..., tuple[StudyCost | None, Changes]],
        inputs: Sequence[Component],
        more: Sequence[Component] = (),
    ) -> None:
        """Say the cost at every change, and then simulate the power.

        `cost_of(*inputs, seconds, pay)` returns the cost, None to say nothing new, and changes of
        `more`.
        """

        def say(*values: Any) -> Changes:
            *given, seconds, pay = values
            try:
                cost, changed = cost_of(*given, seconds or 0, pay or 0)
            except RocmError as error:
                return {self._words: view.no_cost(str(error), self._name), self._now: None}
            words = {self._words: view.cost_words(cost, self._name)} if cost else {}
            return {self._now: cost, **words, **changed}

        def simulate(cost: StudyCost | None) -> Any:
            return view.power_table(cost, self._studies.power(cost)) if cost else gr.skip()

        # While a handler runs, later changes are merged into one more call.
        always: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
        changes = [*changes, self._seconds.change, self._pay.change]
        given = [*inputs, self._seconds, self._pay]
        gr.on(changes, say, given, [self._words, self._now, *more], **always)
        self._now.change(simulate, self._now, self._power, **always)
