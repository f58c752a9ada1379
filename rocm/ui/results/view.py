"""A study's results in words and tables, as HTML. Everything that a user wrote is escaped."""

from html import escape
from typing import Any

from rocm.study.report.results import Results

NO_STUDY = """
<div class="empty"><strong>No study yet.</strong> Make one on the Study tab; what its votes say
stands here when it is closed.</div>
"""
NOT_HERE = """
<div class="empty">Results are not shown here, because others can reach this page. Set
ROCM_ADMIN_TOKEN where the app starts, or use <code>python -m rocm study report</code>.</div>
"""
EVIDENCE = (
    "The study runs. These e-values may be looked at as often as one likes: 20 or more decides one "
    "comparison at 5 %; for all K together it takes 20 K. Shares, intervals and tests follow when "
    "it is closed, because looking at them early errs far more often."
)
FILES = """
<dl class="files">
<dt>report.html, report.md, report.json</dt><dd>The report, in three forms.</dd>
<dt>votes.csv, votes.parquet</dt><dd>Every vote in a row of its own, excluded ones too.</dd>
<dt>preferences.jsonl</dt><dd>For TRL: prompt, chosen, rejected; ties left out.</dd>
<dt>pick-a-pic.jsonl</dt><dd>Pick-a-Pic's columns.</dd>
<dt>battles.jsonl</dt><dd>FastChat's arena battles.</dd>
<dt>pictures.zip</dt><dd>The pictures that were voted on.</dd>
<dt>study.zip</dt><dd>The study with its votes, for another ROCM_HOME: <code>python -m rocm study
unpack study.zip --key STUDY-key.json</code> gives the same report there.</dd>
<dt>STUDY-key.json</dt><dd>Says which arm is which.</dd>
<dt>manifest.json, export.json</dt><dd>The design, and counts with its hash.</dd>
</dl>
"""
BADGES = {"draft": "stopped", "open": "running", "paused": "stopped", "closed": "finished"}


def state_html(found: Results) -> str:
    """Title, status, marks, and what is going on.

    Args:
        found: of a study.

    Returns:
        HTML.
    """
    marks = found.content["marks"] if found.content else []
    banners = "".join(f'<div class="mark" role="note">{escape(mark)}</div>' for mark in marks)
    words = found.words
    if found.num_new:
        words = f"{found.num_new} votes came since; Refresh counts them."
    note = "error" if found.state == "failed" else "going" if found.state == "counting" else ""
    said = f'<div class="note {note}">{escape(words)}</div>' if words else ""
    return (
        f'<div class="state"><span class="badge {BADGES[found.status]}">{found.status}</span>'
        f"<strong>{escape(found.title)}</strong></div>{banners}{said}"
    )


def headline_html(content: dict[str, Any]) -> str:
    """One sentence and its figures for every comparison on the primary question.

    Args:
        content: of report.json.

    Returns:
        HTML.
    """
    primary = content["study"]["questions"][0]
    rows = "".join(
        f"<li>{_sentence(one)}</li>"
        for one in content["results"]["outcomes"]
        if one["question"] == primary
    )
    notes = "".join(
        f'<div class="note warning">{escape(words)}</div>'
        for words in content["results"]["cautions"]
    )
    return f'<ul class="headline">{rows}</ul>{notes}'


def evidence_html(content: dict[str, Any]) -> str:
    """E-values of a study that runs, and nothing else.

    Args:
        content: of report.json.

    Returns:
        HTML.
    """
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{_figure(one['now'])}</td><td>{_figure(one['largest'])}"
        f"</td><td>{_decision(one)}</td><td>{escape(one['note'])}</td></tr>"
        for name, one in content["results"]["evidence"].items()
    )
    heads = "".join(
        f'<th scope="col">{word}</th>'
        for word in ("comparison", "E now", "largest E", "decided", "note")
    )
    return (
        f'<p class="subtle">{EVIDENCE}</p><div class="paper"><div class="table"><table><thead><tr>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div></div>"
    )


def said(words: str) -> str:
    """What a button found, in words."""
    return f'<div class="note going">{escape(words)}</div>'


def report_html(found: Results) -> str:
    """The whole report as on paper; it is escaped where it is made."""
    return f'<div class="paper">{found.report}</div>'


def rules_line(content: dict[str, Any]) -> str:
    """What the exclusion rules do, in words."""
    results, rules = content["results"], content["study"]["exclusion_rules"]
    left_out = f"{results['num_excluded']} of {results['num_votes']} votes are left out."
    words = " ".join(rules) or "No rule excludes raters."
    return f'<p class="subtle">{escape(words)} {left_out}</p>'


def _sentence(one: dict[str, Any]) -> str:
    first, _, second = one["comparison"].partition(":")
    names = f"<strong>{escape(first)}</strong> against <strong>{escape(second)}</strong>"
    if one["score"] is None:
        return f"{names}: {escape(one['note'])}"
    score = f"{100 * one['score']:.1f} %"
    if one["interval"] is None:
        return f"{names}: {score}. {escape(one['note'])}"
    low, high = 100 * one["interval"]["low"], 100 * one["interval"]["high"]
    place = "lies above" if low > 50 else "lies below" if high < 50 else "includes"
    sign = "" if one["holm_p"] is None else f"; sign test, Holm: p = {one['holm_p']:.3g}"
    votes = f"{one['num_votes']} votes, {one['num_raters']} raters, {one['num_prompts']} prompts"
    return (
        f"{names}: <b>{score}</b>. The 95 % interval {low:.1f} to {high:.1f} % {place} 50 %."
        f"<small>{votes}{sign}</small>"
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _decision(one: dict[str, Any]) -> str:
    return f"yes, after {one['num_votes_at_decision']} votes" if one["is_decided"] else "no"
