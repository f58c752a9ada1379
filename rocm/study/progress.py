"""How far a study is, in words: raters, votes, and what they can tell."""

from math import sqrt

from sqlalchemy import func, select

from rocm.study.store import Store
from rocm.study.tables import pair, rater, vote

Z_95 = 1.96


def half_width(num_prompts: int) -> float:
    """Half of a 95 % interval of a share near one half, from so many prompts, in points.

    Prompts count, not votes: votes on one prompt are not independent.

    Args:
        num_prompts: that are complete, >= 1.

    Returns:
        100 * 1.96 * sqrt(0.25 / n), a lower bound for what the report will say.
    """
    return 100 * Z_95 * sqrt(0.25 / num_prompts)


def summary(store: Store, study_id: str) -> str:
    """Status, counts and what the votes so far can tell.

    Args:
        store: of the votes.
        study_id: of the study.

    Returns:
        Lines of text.
    """
    about = store.study(study_id)
    with store.database.read() as connection:
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
        num_votes = connection.execute(
            select(func.count()).select_from(vote).where(vote.c.study_id == study_id)
        ).scalar()
    open_prompts = {one.prompt_id for one in pairs if one.issued < one.target}
    prompts = {one.prompt_id for one in pairs}
    complete = len(prompts - open_prompts)
    size = about.config["design"]["main_per_rater"]
    needed = -(-sum(one.target for one in pairs) // size)
    counted = ", ".join(f"{number} {status}" for status, number in raters) or "none yet"
    lines = [
        f"{study_id}  {about.status}  {about.title}{'  (demo)' if about.is_demo else ''}",
        f"Manifest: {about.config_sha256 or 'not frozen yet'}",
        f"{len(pairs)} pairs of {len(prompts)} prompts, {about.votes_per_pair} votes each: "
        f"{needed} raters of {size} pairs",
        f"Raters: {counted}. Votes stored: {num_votes}",
    ]
    if prompts:
        now = f"+-{half_width(complete):.1f}" if complete else "unknown"
        lines.append(
            f"Complete prompts: {complete} of {len(prompts)}. A share near 50 % would be known to "
            f"{now} points now, +-{half_width(len(prompts)):.1f} at the end, at best (95 %)."
        )
    return "\n".join(lines)
