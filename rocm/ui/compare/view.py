"""A comparison as HTML. Text written by a user is escaped."""

from html import escape
from typing import Any

from rocm.evaluation.formats import interval_text
from rocm.evaluation.plan import ComparisonPlan
from rocm.evaluation.store import Status
from rocm.evaluation.table import ComparisonTable, Row
from rocm.storage.numbers import duration, quantity
from rocm.ui.generate.view import DOT, progress
from rocm.ui.handlers import fault

NOTHING = """
<div class="empty"><strong>No comparison yet.</strong> Choose arms and prompts, and press
<em>Compare</em>.</div>
"""
NO_TABLE = '<div class="empty">The table appears when drawing is done.</div>'
NO_RUN = """
<div class="empty">Reward against cost appears here when an arm is a run of this machine.</div>
"""
UNITS = {"kl_nats": "KL, nats", "color_entropy": "color entropy, bits"}


def state_line(status: Status, plan: ComparisonPlan) -> str:
    """State, progress and settings of a comparison."""
    facts = [f"{status.num_drawn} of {status.num_pictures} pictures"]
    if status.detail == "warming up":
        facts.append("loading the model")
    elif status.detail == "waiting":
        facts.append("waiting for other pictures")
    elif status.state == "finished":
        facts.append(duration(status.seconds))
    elif status.state == "cancelled":
        facts.append("press Compare to draw the rest")
    first = plan.columns[0].picture
    seeds = f"seeds {plan.seeds[0]} to {plan.seeds[-1]}"
    about = [
        quantity(len(plan.prompts), "prompt"),
        seeds if len(plan.seeds) > 1 else f"seed {plan.seeds[0]}",
        first.model,
    ]
    if plan.axis != "num_inference_steps":
        about.append(f"N {first.num_inference_steps}")
    if plan.axis != "guidance_scale":
        about.append(f"guidance {first.guidance_scale:g}")
    about.append("all arms from the same noise")
    bar = progress(status.state, facts, status.num_drawn, status.num_pictures)
    error = fault(status.error) if status.error else ""
    return f'{bar}<div class="settings">{escape(DOT.join(about))}</div>{error}'


def table_html(table: ComparisonTable) -> str:
    """Rows of arms, columns of measures; below each mean its difference to the base model."""
    heads = "".join(_head(table, name) for name in table.measures)
    rows = "".join(_row(table, row) for row in table.rows)
    note = (
        f"Mean \N{PLUS-MINUS SIGN} half of its 95 % interval over "
        f"{quantity(table.num_prompts, 'prompt')}, {quantity(table.num_seeds, 'seed')} each. "
        "Below: paired difference to the base model; bold: significant at 95 %. Blue: the arm was "
        "trained on this reward. Reward hacking may change saturation, contrast, edge density and "
        "color entropy, and lower diversity."
    )
    note = escape(f"{table.unfinished}{note}{table.computed}")
    return (
        f'<div class="cmp-table"><table><thead><tr><th>Arm</th>{heads}</tr></thead>'
        f'<tbody>{rows}</tbody></table></div><p class="cmp-note">{note}</p>'
    )


def rows_of_plan(key: str, plan: ComparisonPlan) -> dict[str, Any]:
    """Plain data for the grid; its row r is prompt r // S with seed r % S."""
    trained = [name for column in plan.columns for name in column.trained]
    return {
        "key": key,
        "columns": [
            {
                "label": column.label,
                "value": column.value,
                "title": column.title,
                "trained": list(column.trained),
                "base": plan.base_of(number),
            }
            for number, column in enumerate(plan.columns)
        ],
        "rows": [
            {"prompt": prompt, "seed": seed} for prompt in plan.prompts for seed in plan.seeds
        ],
        "measures": list(plan.measures),
        "shown": list(plan.rewards),
        "sorted_by": next(iter([*trained, *plan.rewards])),
        "judge": plan.judge,
        "base": next((k for k, column in enumerate(plan.columns) if column.is_base), None),
    }


def title(plan: ComparisonPlan) -> str:
    """A comparison in one line."""
    arms = ", ".join(dict.fromkeys(column.label for column in plan.columns))
    first, axis = plan.columns[0].picture, f"{DOT}by {plan.axis}" if plan.axis else ""
    seeds = f"{quantity(len(plan.seeds), 'seed')} from {plan.seeds[0]}"
    facts = [quantity(len(plan.prompts), "prompt"), seeds]
    return DOT.join([*facts, f"N {first.num_inference_steps}", arms[:90]]) + axis


def _head(table: ComparisonTable, name: str) -> str:
    held = "<small>held out</small>" if name == table.judge else ""
    return f"<th>{escape(UNITS.get(name, name.replace('_', ' ')))}{held}</th>"


def _row(table: ComparisonTable, row: Row) -> str:
    cells = "".join(_cell(row, name) for name in table.measures)
    return f"<tr><th>{escape(row.title)}</th>{cells}</tr>"


def _cell(row: Row, name: str) -> str:
    difference = row.differences[name]
    below = ""
    if difference is not None:
        low, high = difference.low, difference.high
        is_sure = low is not None and high is not None and (low > 0 or high < 0)
        sure = "sure" if is_sure else ""
        below = (
            f'<small class="{sure}">{interval_text(name, difference, is_difference=True)}</small>'
        )
    kind = "trained" if name in row.trained else ""
    return f'<td class="{kind}">{interval_text(name, row.means[name])}{below}</td>'
