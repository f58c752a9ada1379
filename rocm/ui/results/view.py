"""A study's results as HTML. Everything that a user wrote is escaped."""

from html import escape
from typing import Any

from rocm.storage.numbers import number, quantity
from rocm.study.report.cells import e_value, p_value, percent
from rocm.study.report.document import table_html
from rocm.study.report.loop import Stage
from rocm.study.report.results import StudyResult
from rocm.ui.handlers import note

NO_STUDY = """
<div class="empty"><strong>No study yet.</strong> Build a study on the Study tab; its results appear
here after it is closed.</div>
"""
NOT_HERE = """
<div class="empty">Results are not shown here, because others can reach this page. Set
ROCM_ADMIN_TOKEN where the app starts, or use <code>python -m rocm study report</code>.</div>
"""
EVIDENCE = (
    "The study is open. You can look at these e-values as often as you like: a single comparison "
    "is decided at 5 % if its e-value reaches 20; for all K comparisons together, 20 K is needed. "
    "Scores, intervals and tests follow when the study is closed, because early looks at them are "
    "often wrong."
)
FILES = """
<dl class="files">
<dt>report.html, report.md, report.json</dt><dd>The report in three formats.</dd>
<dt>votes.csv, votes.parquet</dt><dd>Every vote in a row, also excluded votes.</dd>
<dt>preferences.jsonl</dt><dd>For TRL: prompt, chosen, rejected; without ties.</dd>
<dt>pick-a-pic.jsonl</dt><dd>Pick-a-Pic's columns.</dd>
<dt>battles.jsonl</dt><dd>FastChat's arena battles.</dd>
<dt>pictures.zip</dt><dd>The pictures of the study.</dd>
<dt>study.zip</dt><dd>The study with its votes, for another ROCM_HOME: <code>python -m rocm study
unpack study.zip --key STUDY-key.json</code> gives the same report there.</dd>
<dt>STUDY-key.json</dt><dd>Names of the arms.</dd>
<dt>manifest.json, export.json</dt><dd>The design, and counts with its hash.</dd>
</dl>
"""
BADGES = {"draft": "queued", "open": "running", "paused": "stopped", "closed": "finished"}


def loop_html(stages: list[Stage]) -> str:
    """The steps of a study's loop: what is done, what comes next, and each command."""
    rows, is_next = "", True
    for stage in stages:
        mark = "done" if stage.is_done else "next" if is_next else "later"
        is_next = is_next and stage.is_done
        rows += (
            f'<li class="{mark}"><strong>{escape(stage.name)}</strong> <em>{mark}</em> '
            f"{escape(stage.words)}<small><code>{escape(stage.command)}</code></small></li>"
        )
    return f'<ol class="headline loop">{rows}</ol>'


def state_html(result: StudyResult) -> str:
    """Title, status, marks, and a note."""
    marks = result.content["marks"] if result.content else []
    banners = "".join(f'<div class="mark" role="note">{escape(mark)}</div>' for mark in marks)
    words = result.words
    if result.num_new:
        words = f"{quantity(result.num_new, 'new vote')}. Press Refresh to include them."
    kind = "error" if result.state == "failed" else "going" if result.state == "counting" else ""
    return (
        f'<div class="state"><span class="badge {BADGES[result.status]}">{result.status}</span>'
        f"<strong>{escape(result.title)}</strong></div>{banners}"
    ) + (note(words, kind) if words else "")


def headline_html(content: dict[str, Any]) -> str:
    """One sentence and its figures for every comparison on the primary question."""
    primary = content["study"]["questions"][0]
    rows = "".join(
        f"<li>{_sentence(outcome)}</li>"
        for outcome in content["results"]["outcomes"]
        if outcome["question"] == primary
    )
    notes = "".join(note(words, "warning") for words in content["results"]["cautions"])
    return f'<ul class="headline">{rows}</ul>{notes}'


def evidence_html(content: dict[str, Any]) -> str:
    """E-values of an open study, and nothing else."""
    rows = [
        (
            name,
            e_value(row["now"]),
            e_value(row["largest"]),
            f"yes, after {quantity(row['num_votes_at_decision'], 'vote')}"
            if row["is_decided"]
            else "no",
            row["note"],
        )
        for name, row in content["results"]["evidence"].items()
    ]
    table = table_html(("comparison", "E now", "largest E", "decided", "note"), rows)
    return f'<p class="subtle">{EVIDENCE}</p><div class="paper">{table}</div>'


def rules_line(content: dict[str, Any]) -> str:
    """The exclusion rules and their effect, in words."""
    results = content["results"]
    words = " ".join(content["study"]["exclusion_rules"]) or "There are no exclusion rules."
    excluded = f"Excluded votes: {results['num_excluded']} of {results['num_votes']}."
    return f'<p class="subtle">{escape(words)} {excluded}</p>'


def _sentence(outcome: dict[str, Any]) -> str:
    first, _, second = outcome["comparison"].partition(":")
    names = f"<strong>{escape(first)}</strong> against <strong>{escape(second)}</strong>"
    if outcome["score"] is None:
        return f"{names}: {escape(outcome['note'])}"
    score = percent(outcome["score"])
    if outcome["interval"] is None:
        return f"{names}: {score}. {escape(outcome['note'])}"
    low, high = 100 * outcome["interval"]["low"], 100 * outcome["interval"]["high"]
    place = "is above" if low > 50 else "is below" if high < 50 else "includes"
    p = p_value(outcome["holm_p"])
    is_known = outcome["holm_p"] is not None
    test = f"; after Holm: p {p if p[0] == '<' else f'= {p}'}" if is_known else ""
    counts = (("num_votes", "vote"), ("num_raters", "rater"), ("num_prompts", "prompt"))
    numbers = ", ".join(quantity(outcome[key], word) for key, word in counts)
    return (
        f"{names}: <b>{score}</b>. The 95 % interval {number(low, 1)} to {number(high, 1)} % "
        f"{place} 50 %.<small>{numbers}{escape(test)}</small>"
    )
