"""A study as HTML. Everything that a person wrote is escaped."""

import json
from html import escape

from rocm.storage.numbers import number, quantity
from rocm.study.design.background import BuildStatus
from rocm.study.design.cost import StudyCost
from rocm.study.report.progress import RECENT_MINUTES, judged, precision, raters_words, size_words
from rocm.study.report.stored import Widths
from rocm.study.service import PairRow, StudyDetails, StudyStatus
from rocm.study.statistics.power import Power
from rocm.ui.handlers import fault

VOTES = "study"
"""Where the voting pages are, relative to this one."""
NO_STUDY = """<div class="empty"><strong>No study yet.</strong> Press <em>Build demo study</em>:
three shipped adapters and 20 prompts are ready for votes in a minute. Or use the form for your own
arms.</div>"""
LOADING = '<div class="subtle">Loading the studies ...</div>'
NOT_CHOSEN = '<div class="subtle">Choose a study from the list.</div>'
NO_TOKEN = '<div class="subtle">Enter the admin token to see the studies.</div>'
NO_LIST = json.dumps({"html": "", "selected": ""})
BADGES = {
    **{"building": "queued", "building elsewhere": "queued", "unfinished": "interrupted"},
    **{"draft": "queued", "open": "running", "paused": "stopping", "closed": "finished"},
}
NEXT = {
    "building elsewhere": "Another process draws this study. It becomes a draft when it is done.",
    "draft": "Check the pairs, cost and power, then open the study. Opening freezes it.",
    "open": "Send the voting link. Close the study when all pairs have been judged.",
    "paused": "Raters get no new pairs. Pairs that are on a screen can still be answered.",
    "closed": "The study takes no more votes. The Results tab shows its report.",
}


def study_list(studies: list[StudyStatus], selected: str) -> str:
    """The list as JSON for its script: `html`, and the id that is `selected`, or ""."""
    rows = "".join(_row(study, study.info.study_id == selected) for study in studies)
    table = (
        "<table><thead><tr><th>Study</th><th>State</th><th>Pairs</th><th>Raters</th>"
        f"<th>Judged</th></tr></thead><tbody>{rows}</tbody></table>"
    )
    return json.dumps({"html": table if studies else NO_STUDY, "selected": selected})


def _row(study: StudyStatus, is_chosen: bool) -> str:
    info, progress = study.info, study.progress
    chosen, current = (' class="chosen"', "true") if is_chosen else ("", "false")
    demo = " \N{MIDDLE DOT} demo" if info.is_demo else ""
    counts = (progress.num_pairs, sum(progress.raters.values()), progress.num_judged)
    numbers = "".join(f'<td class="number">{number(count, 0)}</td>' for count in counts)
    return (
        f'<tr{chosen} data-study="{escape(info.study_id)}"><td class="name"><button type="button" '
        f'aria-current="{current}">{escape(info.title)}</button>'
        f"<small>{escape(info.study_id)}{demo}</small></td><td>{_badge(study.state)}</td>"
        f"{numbers}</tr>"
    )


def _badge(state: str) -> str:
    return f'<span class="badge {BADGES[state]}">{state}</span>'


def details(study: StudyDetails) -> str:
    """Name, state, progress and figures of the selected study."""
    info, build = study.info, study.build
    demo = "<span>votes are marked as votes of a demonstration</span>" if info.is_demo else ""
    title = f"<strong>{escape(info.title)}</strong>{_badge(study.state)}{demo}"
    lines = [f'<div class="state">{title}</div>']
    if build and study.state in ("building", "unfinished"):
        lines.append(_build(build))
    elif study.state == "unfinished":
        lines.append(
            '<div class="note warning">Some pictures are missing. <em>Resume build</em> draws '
            "them.</div>"
        )
    if study.state not in ("building", "building elsewhere", "unfinished"):
        lines += _figures(study)
    lines.append(
        f'<div class="settings">Study {escape(info.study_id)} \N{MIDDLE DOT} manifest '
        f"<code>{escape(info.config_sha256 or 'not frozen yet')}</code></div>"
    )
    if study.state == "draft" and study.progress.num_pairs == 0:
        lines.append(fault("Every pair is excluded. Include some pairs again."))
    if study.state in NEXT:
        lines.append(f'<div class="settings">{NEXT[study.state]}</div>')
    return "\n".join(lines)


def _figures(study: StudyDetails) -> list[str]:
    now = study.progress
    excluded = f", {now.num_struck} excluded" if now.num_struck else ""
    size, each = size_words(now, study.info.votes_per_pair).split(", ", 1)
    facts = [f"{size}{excluded}", each]
    if study.state != "draft":
        facts += [
            f"raters: {raters_words(now, study.state)}",
            f"{judged(now)}, {number(now.num_recent / RECENT_MINUTES, 1)} per minute",
        ]
        if study.watched is not None:
            facts.append("raters flagged: {}, left out of the results: {}".format(*study.watched))
    if now.few_addresses:
        facts.append(now.few_addresses)
    if study.num_invited:
        facts.append(f"invitations: {study.num_invited}; only invited raters and pilots can vote")
    if now.num_pilots:
        facts.append(f"pilots: {now.num_pilots}")
    if study.backup:
        facts.append(study.backup)
    cells = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
    lines = [f'<ul class="facts">{cells}</ul>']
    if study.state != "draft" and now.num_prompts:
        lines.append(f'<div class="settings">{escape(precision(now))}</div>')
    return lines


def _build(build: BuildStatus) -> str:
    """Progress of a build, as a bar and words."""
    share = 100 * build.done / max(build.total, 1)
    words = f"{build.done} of {build.total} pictures" if build.total else "Starting"
    if build.state == "cancelled":
        words = f"Canceled after {words}; finished pictures are kept."
    bar = f'<div class="bar {build.state}"><i style="width:{share:.1f}%"></i></div>'
    status = f'{bar}<div class="settings" role="status">{words}</div>'
    return status + (fault(build.error) if build.error else "")


def pair_grid(rows: list[PairRow], page: int, num_pages: int, is_draft: bool) -> str:
    """Pairs as pictures, page counted from 0; a draft's have a button to exclude them."""
    if not rows:
        return '<div class="subtle">There are no such pairs.</div>'
    place = f'<div class="subtle">Page {page + 1} of {num_pages}</div>' if num_pages > 1 else ""
    return f'{place}<div class="pairs">{"".join(_pair(row, is_draft) for row in rows)}</div>'


def _pair(row: PairRow, is_draft: bool) -> str:
    pictures = "".join(
        f'<img src="{VOTES}/picture/{escape(picture)}" loading="lazy" '
        f'alt="{side} picture of pair {row.pair_id}">'
        for side, picture in (("first", row.picture_a), ("second", row.picture_b))
    )
    words, look = ("Include again", "back") if row.struck else ("Exclude", "strike")
    button = (
        f'<button type="button" class="{look}" data-pair="{row.pair_id}" '
        f'aria-label="{words}: pair {row.pair_id}">{words}</button>'
        if is_draft
        else ""
    )
    reason = f"<small>Excluded: {escape(row.struck)}</small>" if row.struck else ""
    kind = f"{row.kind}, " if row.kind != "main" else ""
    return (
        f'<figure class="{"struck" if row.struck else ""}"><div class="pair">{pictures}</div>'
        f"<figcaption><span>{escape(row.prompt)}</span><small>{kind}pair {row.pair_id}</small>"
        f"{reason}{button}</figcaption></figure>"
    )


def cost_words(cost: StudyCost, box: str) -> str:
    """The cost of a study in words, with a style that hides another design's power in the box."""
    own = f'[data-design="{_design(cost)}"]'
    style = (
        f"#{box} [data-design]:not({own}) {{ display: none; }} "
        f"#{box}_power:not(:has({own}))::after {{ content: 'Simulating the power ...'; }}"
    )
    return f"<style>{style}</style><p>{escape(cost.words())}</p>"


def no_cost(words: str, box: str) -> str:
    """Why there is no cost, with a style that hides the power in the box."""
    return f"<style>#{box}_power {{ display: none; }}</style>{fault(words)}"


def power_table(cost: StudyCost, power: list[Power]) -> str:
    """The power of a design as a table."""
    rows = "".join(
        f"<tr><th scope='row'>{number(100 * row.score, 0)} %</th>"
        f"<td>{number(100 * row.interval, 0)} %</td><td>{number(100 * row.holm, 0)} %</td>"
        f"<td>{number(100 * row.width, 0)} points</td></tr>"
        for row in power
    )
    return (
        f"<div data-design='{_design(cost)}'><div class='wide'><table><thead><tr>"
        "<th>True score</th><th>Interval excludes 50 %</th><th>Significant after Holm</th>"
        f"<th>Interval width</th></tr></thead><tbody>{rows}</tbody></table></div>"
        f"<p class='subtle'>{escape(cost.assumptions())}.</p></div>"
    )


def _design(cost: StudyCost) -> str:
    """What the power depends on, as one word."""
    design = cost.smallest
    sizes = (design.num_prompts, design.num_raters, design.votes_per_pair, len(cost.sizes))
    return "-".join(map(str, sizes))


def effect(widths: Widths, num_more: int = 0) -> str:
    """Effect of `num_more` raters, or of closing now (0), on the widest interval, in a sentence."""
    changed = widths.more if num_more else widths.now
    if changed is None or widths.planned is None:
        return "There are too few votes to predict the precision."
    then = f"with {quantity(num_more, 'more rater')}" if num_more else "if you close now"
    return (
        f"Predicted width of the widest headline interval: {number(100 * widths.planned, 0)} "
        f"points as planned, {number(100 * changed, 0)} points {then}."
    )
