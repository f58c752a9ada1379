"""A comparison in words and figures, as HTML. Everything that a user wrote is escaped."""

from html import escape
from typing import Any

from rocm.evaluation.service import Interval, Plan, Row, Status, Table, words
from rocm.ui.generate.view import DOT, fault

NOTHING = """
<div class="empty"><strong>No comparison yet.</strong> Choose arms and prompts, and press
<em>Compare</em>.</div>
"""
NO_TABLE = '<div class="empty">The table stands here when the pictures are drawn.</div>'
NO_RUN = """
<div class="empty">Runs of this machine among the arms are drawn here: what each update cost is in
their measurements.</div>
"""
UNITS = {"kl_nats": "KL, nats", "color_entropy": "colour entropy, bits"}


def state_line(status: Status, plan: Plan) -> str:
    """State, progress and what is compared.

    Args:
        status: of the comparison.
        plan: of it.

    Returns:
        HTML.
    """
    facts = [f"{status.num_drawn} of {status.num_pictures} pictures"]
    if status.detail == "warming up":
        facts.append("loading the model, a few seconds")
    elif status.detail == "waiting":
        facts.append("waiting for other pictures")
    elif status.state == "finished":
        facts.append(f"{status.seconds:.1f} s")
    elif status.state == "cancelled":
        facts.append("Compare draws the rest")
    first = plan.columns[0].picture
    seeds = f"seeds {plan.seeds[0]} to {plan.seeds[-1]}"
    about = [
        _counted(len(plan.prompts), "prompt"),
        seeds if len(plan.seeds) > 1 else f"seed {plan.seeds[0]}",
        first.model,
    ]
    if plan.axis != "num_inference_steps":
        about.append(f"N {first.num_inference_steps}")
    if plan.axis != "guidance_scale":
        about.append(f"guidance {first.guidance_scale:g}")
    share = 100 * status.num_drawn / max(status.num_pictures, 1)
    error = fault(status.error) if status.error else ""
    facts_below = escape(DOT.join([*about, "all arms from the same noise"]))
    return (
        f'<div class="state"><span class="badge {status.state}">{status.state}</span>'
        f"<span>{escape(DOT.join(facts))}</span></div>"
        f'<div class="bar {status.state}"><i style="width:{share:.1f}%"></i></div>'
        f'<div class="settings">{facts_below}</div>{error}'
    )


def table_html(table: Table) -> str:
    """Rows of arms, columns of measures.

    Args:
        table: of a comparison.

    Returns:
        HTML; below each mean its paired difference to the base model, bold where the interval
        leaves out zero.
    """
    heads = "".join(_head(table, name) for name in table.measures)
    rows = "".join(_row(table, row) for row in table.rows)
    note = (
        f"Mean over {_counted(table.num_prompts, 'prompt')}, seeds of each: {table.num_seeds}, +- "
        "half of its 95 % interval; below it the paired difference to the base model, bold where "
        "its interval leaves out 0. Blue: the arm was trained on it. Saturation, contrast, edge "
        "density and colour entropy move when a reward is hacked; diversity falls."
    )
    note = escape(table.unfinished) + _plain(note) + escape(table.computed)
    return (
        f'<div class="cmp-table"><table><thead><tr><th>Arm</th>{heads}</tr></thead>'
        f'<tbody>{rows}</tbody></table></div><p class="cmp-note">{note}</p>'
    )


def rows_of_plan(key: str, plan: Plan) -> dict[str, Any]:
    """What the browser must know to draw the grid.

    Args:
        key: of the comparison.
        plan: of it.

    Returns:
        Plain data; row r of the grid is prompt r // S with seed r % S.
    """
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


def title(plan: Plan) -> str:
    """A comparison in one line, for a list."""
    arms = ", ".join(dict.fromkeys(column.label for column in plan.columns))
    first, axis = plan.columns[0].picture, f"{DOT}by {plan.axis}" if plan.axis else ""
    seeds = f"{_counted(len(plan.seeds), 'seed')} from {plan.seeds[0]}"
    facts = [_counted(len(plan.prompts), "prompt"), seeds]
    return DOT.join([*facts, f"N {first.num_inference_steps}", arms[:90]]) + axis


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _head(table: Table, name: str) -> str:
    held = "<small>held out</small>" if name == table.judge else ""
    return f"<th>{escape(UNITS.get(name, name.replace('_', ' ')))}{held}</th>"


def _row(table: Table, row: Row) -> str:
    cells = "".join(_cell(row, name) for name in table.measures)
    return f"<tr><th>{escape(row.title)}</th>{cells}</tr>"


def _cell(row: Row, name: str) -> str:
    difference = row.differences[name]
    below = ""
    if difference is not None:
        sure = "sure" if _leaves_out_zero(difference) else ""
        below = f'<small class="{sure}">{_plain(words(difference, is_difference=True))}</small>'
    kind = "trained" if name in row.trained else ""
    return f'<td class="{kind}">{_plain(words(row.means[name]))}{below}</td>'


def _leaves_out_zero(one: Interval) -> bool:
    return one.low is not None and one.high is not None and (one.low > 0 or one.high < 0)


def _plain(text: str) -> str:
    return text.replace("+-", "\N{PLUS-MINUS SIGN}")
