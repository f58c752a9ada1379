"""A study in words, as HTML. Everything that a person wrote is escaped."""

import json
from html import escape

from rocm.study.service import (
    RECENT_MINUTES,
    Building,
    Listed,
    Look,
    Outlook,
    PairView,
    Widths,
    precision,
)
from rocm.ui.handlers import fault

VOTES = "study"
"""Where the voting pages stand, relative to this one."""
NO_STUDY = """<div class="empty"><strong>No study yet.</strong> Press <em>Build the demo study</em>:
three adapters that ship, 20 prompts, ready for votes in a minute. Or fill in the form for your own
arms.</div>"""
NOT_CHOSEN = '<div class="subtle">Choose a study from the list.</div>'
NO_TOKEN = '<div class="subtle">Type the admin token to see the studies.</div>'
NO_LIST = json.dumps({"html": "", "selected": ""})
BADGES = {"unfinished": "interrupted", "draft": "queued", "open": "running", "paused": "stopping",
          "closed": "finished"}  # fmt: skip
WORDS = {"unfinished": "not drawn yet", "draft": "draft"}
NEXT = {
    "draft": "Look through the pairs, see what the study can tell, then open it: that freezes it.",
    "open": "Send the voting link. When every pair has its votes nobody gets one: close it then.",
    "paused": "Nobody gets a pair now; what is on a rater's screen can still be answered.",
    "closed": "No more votes are taken.",
}


def study_list(studies: list[Listed], selected: str) -> str:
    """The list as JSON for its script: rows as HTML, and which is looked at.

    Args:
        studies: newest first.
        selected: id, or an empty text.

    Returns:
        The value of the list.
    """
    rows = "".join(_row(one, one.study_id == selected) for one in studies)
    table = (
        "<table><thead><tr><th>Study</th><th>State</th><th>Pairs</th><th>Raters</th>"
        f"<th>Votes</th></tr></thead><tbody>{rows}</tbody></table>"
    )
    return json.dumps({"html": table if studies else NO_STUDY, "selected": selected})


def _row(one: Listed, is_chosen: bool) -> str:
    chosen = ' class="chosen"' if is_chosen else ""
    current = "true" if is_chosen else "false"
    demo = " \N{MIDDLE DOT} demo" if one.is_demo else ""
    numbers = "".join(
        f'<td class="number">{number}</td>'
        for number in (one.num_pairs, one.num_raters, one.num_votes)
    )
    return (
        f'<tr{chosen} data-study="{escape(one.study_id)}"><td class="name"><button type="button" '
        f'aria-current="{current}">{escape(one.title)}</button>'
        f"<small>{escape(one.study_id)}{demo}</small></td><td>{badge(one.state)}</td>{numbers}</tr>"
    )


def badge(state: str) -> str:
    """A state as a coloured word."""
    return f'<span class="badge {BADGES[state]}">{WORDS.get(state, state)}</span>'


def panel(look: Look) -> str:
    """Name, state, progress and figures of the study that is looked at.

    Args:
        look: the study.

    Returns:
        HTML.
    """
    about, now = look.about, look.now
    demo = "<span>votes are marked as a demonstration's</span>" if about.is_demo else ""
    lines = [
        f'<div class="state"><strong>{escape(about.title)}</strong>{badge(look.state)}{demo}</div>'
    ]
    is_at_work = look.building is not None and look.building.state == "drawing"
    if look.building and (is_at_work or look.state == "unfinished"):
        lines.append(building(look.building))
    elif look.state == "unfinished":
        lines.append(
            '<div class="note warning">Not all pictures are drawn. <em>Go on with the build</em> '
            "draws the rest.</div>"
        )
    if look.state != "unfinished":
        lines += _figures(look)
    manifest = about.config_sha256 or "not frozen yet"
    lines.append(
        f'<div class="settings">Study {escape(about.study_id)} \N{MIDDLE DOT} manifest '
        f"<code>{escape(manifest)}</code></div>"
    )
    if look.state == "draft" and not is_at_work and now.num_pairs == 0:
        lines.append(fault("Every pair is struck. Take some in again."))
    if look.state in NEXT:
        lines.append(f'<div class="settings">{NEXT[look.state]}</div>')
    return "\n".join(lines)


def _figures(look: Look) -> list[str]:
    now = look.now
    struck = f", {now.num_struck} struck" if now.num_struck else ""
    facts = [
        f"{now.num_pairs} pairs of {now.num_prompts} prompts{struck}",
        f"{look.about.votes_per_pair} votes each: {now.num_raters_needed} raters",
    ]
    if look.state != "draft":
        counted = ", ".join(
            f"{number} {status.replace('_', ' ')}" for status, number in now.raters.items()
        )
        facts += [
            f"raters: {counted or 'none yet'}",
            f"{now.num_votes} votes, {now.num_recent / RECENT_MINUTES:.1f} a minute",
            f"{now.num_open_places} places open",
        ]
        if look.num_flagged is not None:
            facts.append(f"flagged raters: {look.num_flagged}")
    if look.num_invited:
        facts.append(f"{look.num_invited} invitations: nobody else comes in, but pilots")
    if now.num_pilots:
        facts.append(f"pilots: {now.num_pilots}")
    if look.backup:
        facts.append(look.backup)
    cells = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
    lines = [f'<ul class="facts">{cells}</ul>']
    if look.state != "draft" and now.num_prompts:
        lines.append(f'<div class="settings">{escape(precision(now))}</div>')
    return lines


def building(one: Building) -> str:
    """How far a build is, as a bar and words.

    Args:
        one: the build.

    Returns:
        HTML.
    """
    share = 100 * one.done / max(one.total, 1)
    words = f"{one.done} of {one.total} pictures drawn" if one.total else "Warming up"
    if one.state == "cancelled":
        words = f"Cancelled. {words}; what is drawn is kept."
    bar = f'<div class="bar {one.state}"><i style="width:{share:.1f}%"></i></div>'
    said = f'{bar}<div class="settings" role="status">{words}</div>'
    return said + (fault(one.error) if one.error else "")


def pair_grid(rows: list[PairView], page: int, num_pages: int, is_draft: bool) -> str:
    """Pairs as pictures, each with a button that strikes it or takes it in again.

    Args:
        rows: to show.
        page: from 0.
        num_pages: in all.
        is_draft: whether anything can be changed.

    Returns:
        HTML.
    """
    if not rows:
        return '<div class="subtle">There are no such pairs.</div>'
    place = f'<div class="subtle">Page {page + 1} of {num_pages}</div>' if num_pages > 1 else ""
    return f'{place}<div class="pairs">{"".join(_pair(row, is_draft) for row in rows)}</div>'


def _pair(row: PairView, is_draft: bool) -> str:
    pictures = "".join(
        f'<img src="{VOTES}/picture/{escape(one)}" loading="lazy" '
        f'alt="{side} picture of pair {row.pair_id}">'
        for side, one in (("first", row.picture_a), ("second", row.picture_b))
    )
    words, look = ("Take in again", "back") if row.struck else ("Strike", "strike")
    button = (
        f'<button type="button" class="{look}" data-pair="{row.pair_id}" '
        f'aria-label="{words}: pair {row.pair_id}">{words}</button>'
        if is_draft
        else ""
    )
    reason = f"<small>Struck: {escape(row.struck)}</small>" if row.struck else ""
    kind = f"{row.kind}, " if row.kind != "main" else ""
    return (
        f'<figure class="{"struck" if row.struck else ""}"><div class="pair">{pictures}</div>'
        f"<figcaption><span>{escape(row.prompt)}</span><small>{kind}pair {row.pair_id}</small>"
        f"{reason}{button}</figcaption></figure>"
    )


def outlook(found: Outlook) -> str:
    """What a study takes and would find, as a table.

    Args:
        found: simulated.

    Returns:
        HTML.
    """
    rows = "".join(
        f"<tr><th scope='row'>{row.score:.0%}</th><td>{row.interval:.0%}</td>"
        f"<td>{row.sign_test:.0%}</td><td>{100 * row.width:.0f} points</td></tr>"
        for row in found.rows
    )
    return (
        f"<p>{escape(found.plan.words())}</p><div class='wide'><table><thead><tr>"
        "<th>If the true score is</th><th>the interval leaves out 50 % in</th>"
        "<th>the sign test after Holm finds it in</th><th>width of the interval</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div><p class='subtle'>{escape(found.assumptions)}.</p>"
    )


def effect(found: Widths, num_more: int = 0) -> str:
    """What an ending or more raters make of the widest interval, in one sentence.

    Args:
        found: foretold from the votes so far.
        num_more: raters to be added; 0 for an early ending.

    Returns:
        Text without markup.
    """
    wanted = found.more if num_more else found.now
    if wanted is None or found.planned is None:
        return "The votes so far are too few to foretell the width of the interval."
    then = f"with {num_more} more raters" if num_more else "if you close now"
    return (
        "From the votes so far, the widest headline interval would be "
        f"{100 * found.planned:.0f} points wide as planned, and {100 * wanted:.0f} {then}."
    )
