"""Sweeps over settings: start one from the form, see reward and judge against beta."""

import json
from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from rocm.algorithms.intervals import Interval
from rocm.config.presets import FIRST_PRESET
from rocm.config.run_config import choices
from rocm.errors import RocmError
from rocm.experiments.sweep import SweepCell, SweepReport, Sweeps
from rocm.storage.numbers import duration, number, quantity
from rocm.studio import Studio
from rocm.ui import controls
from rocm.ui.access import Access
from rocm.ui.figures import sweep_figure
from rocm.ui.handlers import QUIET, fault, look_while_open, named
from rocm.ui.plot import live_plot
from rocm.ui.train.form import TrainForm, read_form
from rocm.ui.train.overoptimization import drawn

DIVERGENCES = list(choices("divergence"))
NO_SWEEP = (
    '<div class="empty"><strong>No sweep yet.</strong> Give values of beta and press <em>Queue '
    "sweep</em>. Each value is trained with the other settings of the form.</div>"
)


def build_sweeps(studio: Studio, access: Access, form: TrainForm | None) -> None:
    """Make and wire the panel; `form` has the shared settings, None if training is not allowed."""
    with gr.Accordion("Sweeps", open=False, elem_id="sweeps") as folded:
        started = _build_start(studio, form, folded) if form else None
        chosen = gr.Dropdown([], label="Sweep", elem_id="sweep", interactive=True, visible=False)
        chart = live_plot("sweep_chart")
        table = gr.HTML(elem_id="sweep_table", apply_default_css=False)
        laws = (live_plot("sweep_laws_chart"), gr.HTML(elem_id="sweep_laws"))
    shown = gr.State("")
    look = _looker(studio.sweeps)
    reading = {"inputs": [chosen, shown], "outputs": [chosen, chart, table, *laws, shown]}
    look_while_open(folded, look, 3.0, **reading)
    chosen.input(look, **reading, **QUIET)
    if form and started:
        button, inputs = started
        handler, waited = _starter(studio, access), form.send_on(button.click)
        begun = waited.then(handler, inputs, chosen, api_name="start_sweep")
        begun.then(look, **reading, **QUIET)


def _build_start(
    studio: Studio, form: TrainForm, folded: gr.Accordion
) -> tuple[gr.Button, list[gr.components.Component]]:
    with gr.Row(elem_classes="sweep-form"):
        first = studio.presets.load(FIRST_PRESET).beta
        beta = 1.0 if isinstance(first, str) else first
        words = named("sweep_betas", "Beta values", "Numbers separated by commas; each is trained.")
        betas = gr.Textbox(f"0, {beta / 10:g}, {beta:g}, {10 * beta:g}", max_lines=1, **words)
        words = named("sweep_divergences", "Divergences", "Empty: as in the form.")
        divergences = gr.Dropdown(DIVERGENCES, value=[], multiselect=True, **words)
        words = named("sweep_seeds", "Seeds", "Runs of each combination.")
        seeds = gr.Slider(1, 8, value=1, step=1, **words)
    size = gr.HTML(elem_id="sweep_size")
    button = gr.Button("Queue sweep", variant="primary", elem_id="start_sweep")

    def told_size(betas: str, divergences: list[str], seeds: int, *values: Any) -> str:
        num = len(_numbers(betas)) * max(len(divergences or ()), 1) * int(seeds or 1)
        try:
            seconds = studio.estimate(read_form(values[0], values[1], values[2:])).seconds
        except RocmError:  # the form says what is wrong
            seconds = None
        time = f", about {duration(num * seconds)} one after the other" if seconds else ""
        return f'<div class="subtle">{quantity(num, "run")}{time}</div>'

    counted = [betas, divergences, seeds, *form.inputs]
    changes = [betas.change, divergences.change, seeds.change, form.forecast.change, folded.expand]
    gr.on(changes, told_size, counted, size, trigger_mode="always_last", **QUIET)
    inputs = [form.token, form.where, betas, divergences, seeds, *form.inputs]
    return button, inputs


def _starter(studio: Studio, access: Access) -> Callable[..., Any]:
    def start(
        token: str, where: str, betas: str, divergences: list[str], seeds: int, *values: Any
    ) -> Any:
        access.check(token)
        preset, filled, *settings = values
        config = read_form(preset, filled, tuple(settings))
        access.check_settings(config)
        grid: dict[str, list[Any]] = {"beta": _numbers(betas)}
        if divergences:
            grid["divergence"] = list(divergences)
        base = studio.presets.load(preset)
        overrides = {
            name: getattr(config, name)
            for name in controls.FIELDS
            if name not in grid and getattr(config, name) != getattr(base, name)
        }
        sweep_id = studio.start_sweep(preset, grid, int(seeds), overrides, where)
        return gr.update(choices=studio.sweeps.ids(), value=sweep_id, visible=True)

    return start


def _numbers(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _looker(sweeps: Sweeps) -> Callable[[str | None, str], list[Any]]:
    def look(chosen: str | None, shown: str) -> list[Any]:
        ids = sweeps.ids()
        if not ids:
            return [gr.skip(), gr.skip(), NO_SWEEP, gr.skip(), gr.skip(), shown]
        sweep_id = chosen if chosen in ids else ids[0]
        update = gr.update(choices=ids, value=sweep_id, visible=True)
        try:
            report = sweeps.report(sweep_id)
            key = f"{ids} {report}"
            if key == shown:
                return [gr.skip()] * 5 + [shown]
            laws = drawn(sweeps.end_points(sweep_id))
        except RocmError as error:  # damaged; another sweep can be chosen
            return [update, None, fault(str(error)), None, "", ""]
        return [update, json.dumps(sweep_figure(report)), sweep_table(report), *laws, key]

    return look


def sweep_table(report: SweepReport) -> str:
    """The cells of a sweep as an HTML table with the peak marked."""
    heads = [*report.grid, "reward", "judge", "divergence", "runs"]
    lines = [
        f"<p>{report.num_done} of {report.num_runs} runs finished. Intervals are 95 %.</p>",
        "<table><thead><tr>",
        *(f"<th>{escape(head)}</th>" for head in heads),
        "</tr></thead><tbody>",
        *(_row(cell, index == report.peak) for index, cell in enumerate(report.cells)),
        "</tbody></table>",
    ]
    return "".join(lines)


def _row(cell: SweepCell, is_peak: bool) -> str:
    values = cell.settings.values()
    words = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    words += [_interval(cell.reward, 2), _interval(cell.judge, 3), _interval(cell.divergence, 3)]
    words.append(", ".join(dict.fromkeys(cell.states)))
    if is_peak:
        words[0] += " \N{BLACK STAR} peak"
    cells = "".join(f"<td>{escape(word)}</td>" for word in words)
    return f'<tr class="{"peak" if is_peak else ""}">{cells}</tr>'


def _interval(interval: Interval | None, decimals: int) -> str:
    if interval is None:
        return "\N{EN DASH}"
    mean = number(interval.mean, decimals)
    if interval.low is None or interval.high is None:
        return mean
    return f"{mean} ({number(interval.low, decimals)} to {number(interval.high, decimals)})"
