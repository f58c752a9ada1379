"""How far a study is: raters, votes, and the precision that they give."""

from dataclasses import dataclass
from datetime import timedelta
from math import ceil, sqrt
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from rocm.algorithms.intervals import Z
from rocm.storage.numbers import number, quantity
from rocm.study.store.events import ADDRESSES, noted
from rocm.study.store.store import Store
from rocm.study.store.tables import pair, rater, trial, vote

RECENT_MINUTES = 5


@dataclass(frozen=True)
class StudyProgress:
    """A study at one moment."""

    num_pairs: int  # main pairs that are not excluded
    num_struck: int  # excluded pairs of any kind
    num_prompts: int  # prompts of those main pairs
    num_complete: int  # prompts whose pairs all have their votes
    num_planned: int  # main pairs times the raters who shall judge each
    num_judged: int  # of `num_planned`
    num_recent: int  # of `num_judged`, in the last `RECENT_MINUTES` minutes
    raters: dict[str, int]  # number of raters by status, without pilots
    num_pilots: int  # raters whose votes are not analyzed
    num_votes: int  # stored answers, including those of pilots, checks and practice
    few_addresses: str  # in a sentence, if many answers came from one address; else empty
    num_raters_needed: int  # raters that the design needs; 0 before there are pairs


def half_width(num_prompts: int) -> float:
    """Half-width of the 95 % interval of a share near 50 %, 100 z sqrt(0.25 / n), in points.

    n >= 1 counts complete prompts, as if all votes on a prompt agreed; raters are left out.
    """
    return 100 * Z * sqrt(0.25 / num_prompts)


def study_progress(store: Store, study_id: str) -> StudyProgress:
    """The progress of a study; StudyError if there is no such study."""
    size = store.study(study_id).config["design"]["main_per_rater"]
    recent = store.clock() - timedelta(minutes=RECENT_MINUTES)
    since = recent.isoformat(timespec="milliseconds")
    with store.database.read() as connection:

        def count(table: Any, *conditions: ColumnElement[bool]) -> int:
            rows = select(func.count()).select_from(table)
            rows = rows.where(table.c.study_id == study_id, *conditions)
            return int(connection.execute(rows).scalar() or 0)

        pairs = connection.execute(
            select(pair.c.prompt_id, pair.c.issued, pair.c.target).where(
                pair.c.study_id == study_id, pair.c.kind == "main", pair.c.struck.is_(None)
            )
        ).all()
        raters = connection.execute(
            select(rater.c.status, func.count())
            .where(rater.c.study_id == study_id, rater.c.source != "pilot")
            .group_by(rater.c.status)
        ).all()
        judged = _judged(connection, study_id)
        prompts = {row.prompt_id for row in pairs}
        incomplete = {row.prompt_id for row in pairs if row.issued < row.target}
        num_planned = sum(row.target for row in pairs)
        return StudyProgress(
            num_pairs=len(pairs),
            num_struck=count(pair, pair.c.struck.is_not(None)),
            num_prompts=len(prompts),
            num_complete=len(prompts - incomplete),
            num_planned=num_planned,
            num_judged=len(judged),
            num_recent=sum(time > since for time in judged),
            raters={status: num for status, num in raters},
            num_pilots=count(rater, rater.c.source == "pilot"),
            num_votes=count(vote),
            few_addresses=_few_addresses(connection, study_id),
            num_raters_needed=ceil(num_planned / size),
        )


def _judged(connection: Connection, study_id: str) -> list[str]:
    """When raters judged main pairs, each rater's pair once."""
    judged = (
        select(trial.c.done_at)
        .join(pair, pair.c.id == trial.c.pair_id)
        .join(rater, rater.c.id == trial.c.rater_id)
        .where(trial.c.study_id == study_id, trial.c.state == "done", trial.c.rep == 0)
        .where(pair.c.kind == "main", pair.c.struck.is_(None), rater.c.source != "pilot")
    )
    return list(connection.execute(judged).scalars())


def _few_addresses(connection: Connection, study_id: str) -> str:
    """A sentence if one of the last visitors' addresses gave more than a third of the answers."""
    events = noted(connection, study_id, ADDRESSES)
    told = events[-1] if events else {"answers": 0, "addresses": 0, "busiest": 0}
    if 3 * told["busiest"] <= told["answers"] or not told["answers"]:
        return ""
    return (
        f"{100 * told['busiest'] / told['answers']:.0f} % of the last {told['answers']} answers "
        f"came from one address ({told['addresses']} in all)"
    )


def size_words(progress: StudyProgress, votes_per_pair: int) -> str:
    """Pairs, prompts, votes and raters: `60 pairs of 20 prompts, each judged 5 times, by ...`."""
    return (
        f"{quantity(progress.num_pairs, 'pair')} of {quantity(progress.num_prompts, 'prompt')}, "
        f"each judged {quantity(votes_per_pair, 'time')}, by "
        f"{quantity(progress.num_raters_needed, 'rater')}"
    )


def raters_words(progress: StudyProgress, status: str) -> str:
    """Raters by what they do: `3 active, 2 complete`. Nobody is active in a closed study."""
    active = "incomplete" if status == "closed" else "active"
    names = {"active": active, "screened_out": "screened out"}
    counts = (f"{num:,} {names.get(name, name)}" for name, num in progress.raters.items())
    return ", ".join(counts) or "none yet"


def judged(progress: StudyProgress) -> str:
    """How many pairs have been judged, of how many: `Pairs judged: 12 of 300`."""
    done, planned = number(progress.num_judged, 0), number(progress.num_planned, 0)
    return f"Pairs judged: {done} of {planned}"


def summary(store: Store, study_id: str) -> str:
    """Lines of text: status, counts, and the precision so far."""
    study, progress = store.study(study_id), study_progress(store, study_id)
    size = study.config["design"]["main_per_rater"]
    lines = [
        f"{study_id}  {study.status}  {study.title}{'  (demo)' if study.is_demo else ''}",
        f"Manifest: {study.config_sha256 or 'not frozen yet'}",
        f"{size_words(progress, study.votes_per_pair)} with {quantity(size, 'pair')}",
        f"Raters: {raters_words(progress, study.status)}. {judged(progress)}",
    ]
    if progress.few_addresses:
        lines.append(f"{progress.few_addresses}.")
    return "\n".join([*lines, precision(progress)] if progress.num_prompts else lines)


def precision(progress: StudyProgress) -> str:
    """Precision of a share near 50 % as far as prompts decide, now and at the end."""
    done, total = progress.num_complete, progress.num_prompts
    now = f"±{number(half_width(done), 1)} points now, " if 0 < done < total else ""
    return (
        f"Complete prompts: {done} of {total}. 95 % interval of a share near 50 %, if all votes on "
        f"a prompt agree: {now}±{number(half_width(total), 1)} points with every prompt."
    )
