"""Scores against the distance from the base model, with the laws of Gao et al."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from rocm.errors import RocmError
from rocm.experiments.overoptimization import Point, describe, run_points
from rocm.runs.library import Runs
from rocm.ui.controls import Kept
from rocm.ui.figures import overoptimization_figure
from rocm.ui.handlers import fault, look_while_open
from rocm.ui.plot import live_plot

NO_POINT = '<div class="subtle">Evaluations after an update with a KL appear here.</div>'


def build_overoptimization(runs: Runs, selected: Kept) -> None:
    """Make the panel of the selected run, which is drawn while it is open."""
    with gr.Accordion("Overoptimization", open=False, elem_id="overoptimization") as folded:
        chart = live_plot("overoptimization_chart")
        words = gr.HTML(elem_id="overoptimization_laws")

    def look(run_id: str) -> tuple[Any, str]:
        try:
            return drawn(run_points(runs.run(run_id)) if run_id else [])
        except RocmError as error:  # damaged, or deleted since the page was drawn
            return None, fault(str(error))

    look_while_open(folded, look, 5.0, inputs=selected, outputs=[chart, words])


def drawn(points: Sequence[Point]) -> tuple[str | None, str]:
    """The figure as JSON and a sentence for every score; no figure without a point."""
    if not points:
        return None, NO_POINT
    names = dict.fromkeys(name for point in points for name in point.scores)
    laws = {name: describe(points, name) for name in names}
    figure = overoptimization_figure(list(points), {name: law for name, (law, _) in laws.items()})
    sentences = dict.fromkeys(sentence for _, sentence in laws.values())  # each once
    lines = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return json.dumps(figure), f'<ul class="subtle">{lines}</ul>'
