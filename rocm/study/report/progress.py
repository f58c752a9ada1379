"""How far a study is, in figures and in words: raters, votes, and what they can tell."""

from dataclasses import dataclass
from datetime import timedelta
from math import ceil, sqrt
from typing import Any

from sqlalchemy import ColumnElement, func, select

from rocm.study.store.store import Store
from rocm.study.store.tables import pair, rater, vote

Z_95 = 1.96
RECENT_MINUTES = 5


@dataclass(frozen=True)
class Standing:
    """A study at one moment.

    Attributes:
        num_pairs: main pairs that are not struck.
        num_struck: pairs of any kind that were left out.
        num_prompts: of those main pairs.
        num_complete: prompts all of whose places are taken.
        num_open_places: votes on main pairs that are still to come.
        raters: how many there are, pilots apart, by status.
        num_pilots: raters whose votes are not analysed.
        num_votes: answers stored, those of pilots, checks and practice too.
        num_recent: of them in the last `RECENT_MINUTES` minutes.
        num_raters_needed: blocks that the design takes; 0 before there are pairs.
    """

    num_pairs: int
    num_struck: int
    num_prompts: int
    num_complete: int
    num_open_places: int
    raters: dict[str, int]
    num_pilots: int
    num_votes: int
    num_recent: int
    num_raters_needed: int


def half_width(num_prompts: int) -> float:
    """Half of a 95 % interval of a share near one half, from so many prompts, in points.

    Prompts count, not votes: votes on one prompt are not independent.

    Args:
        num_prompts: that are complete, >= 1.

    Returns:
        100 * 1.96 * sqrt(0.25 / n), a lower bound for what the report will say.
    """
    return 100 * Z_95 * sqrt(0.25 / num_prompts)


def standing(store: Store, study_id: str) -> Standing:
    """How far a study is.

    Args:
        store: of the votes.
        study_id: of the study.

    Returns:
        The figures.

    Raises:
        StudyError: there is no such study.
    """
    size = store.study(study_id).config["design"]["main_per_rater"]
    since = store.clock() - timedelta(minutes=RECENT_MINUTES)
    with store.database.read() as connection:

        def count(table: Any, *conditions: ColumnElement[bool]) -> int:
            mine = (table.c.study_id == study_id, *conditions)
            rows = select(func.count()).select_from(table).where(*mine)
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
        num_struck = count(pair, pair.c.struck.is_not(None))
        num_pilots = count(rater, rater.c.source == "pilot")
        num_votes = count(vote)
        recent = count(vote, vote.c.created_at > since.isoformat(timespec="milliseconds"))
    prompts = {one.prompt_id for one in pairs}
    return Standing(
        num_pairs=len(pairs),
        num_struck=num_struck,
        num_prompts=len(prompts),
        num_complete=len(prompts - {one.prompt_id for one in pairs if one.issued < one.target}),
        num_open_places=sum(one.target - one.issued for one in pairs),
        raters={status: number for status, number in raters},
        num_pilots=num_pilots,
        num_votes=num_votes,
        num_recent=recent,
        num_raters_needed=ceil(sum(one.target for one in pairs) / size),
    )


def summary(store: Store, study_id: str) -> str:
    """Status, counts and what the votes so far can tell.

    Args:
        store: of the votes.
        study_id: of the study.

    Returns:
        Lines of text.
    """
    about, now = store.study(study_id), standing(store, study_id)
    size = about.config["design"]["main_per_rater"]
    counted = ", ".join(f"{number} {status}" for status, number in now.raters.items())
    lines = [
        f"{study_id}  {about.status}  {about.title}{'  (demo)' if about.is_demo else ''}",
        f"Manifest: {about.config_sha256 or 'not frozen yet'}",
        f"{now.num_pairs} pairs of {now.num_prompts} prompts, {about.votes_per_pair} votes each: "
        f"{now.num_raters_needed} raters of {size} pairs",
        f"Raters: {counted or 'none yet'}. Votes stored: {now.num_votes}",
    ]
    return "\n".join([*lines, precision(now)] if now.num_prompts else lines)


def precision(now: Standing) -> str:
    """To how many points a share can be known now and at the end, in one sentence."""
    soon = f"+-{half_width(now.num_complete):.1f} points now, " if now.num_complete else ""
    return (
        f"Complete prompts: {now.num_complete} of {now.num_prompts}. A share near 50 % would be "
        f"known to {soon}+-{half_width(now.num_prompts):.1f} points at the end, at best (95 %)."
    )
