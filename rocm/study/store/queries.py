"""Rows that several requests of a rater need, and what a rater may see of them."""

import secrets
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, select

from rocm.errors import UnknownRater, UnknownTrial
from rocm.study.store import assignment
from rocm.study.store.database import Writing
from rocm.study.store.tables import image, pair, prompt, question
from rocm.study.store.tables import rater as raters
from rocm.study.store.tables import trial as trials
from rocm.study.store.visit import Progress, Question, Trial


def hashed(token: str) -> str:
    """What is stored of a token."""
    return sha256(token.encode()).hexdigest()


def rater(connection: Connection, token: str, locked: bool = False) -> Row[Any]:
    """The rater of a token.

    Args:
        connection: to read through.
        token: the rater's.
        locked: keep other requests of this rater waiting until the transaction ends.

    Returns:
        Row of the rater.

    Raises:
        UnknownRater: nobody has this token.
    """
    statement = select(raters).where(raters.c.token_sha256 == hashed(token))
    row: Row[Any] | None = connection.execute(
        statement.with_for_update() if locked else statement
    ).one_or_none()
    if row is None:
        raise UnknownRater("This visit is not known here. Open the study's link again.")
    return row


def picture_ids(connection: Connection, pair_id: int) -> dict[int, str]:
    """Both picture ids of a pair, by arm."""
    of_pair = (pair.c.image_a == image.c.id) | (pair.c.image_b == image.c.id)
    rows = connection.execute(
        select(image.c.arm_id, image.c.picture_id).join(pair, of_pair).where(pair.c.id == pair_id)
    )
    return {arm_id: picture_id for arm_id, picture_id in rows}


def trial_view(connection: Connection, found: Row[Any]) -> Trial:
    """What the rater may see of a trial: its pictures by side, never by arm."""
    ids = picture_ids(connection, found.pair_id)
    shown = connection.execute(
        select(pair.c.arm_a, pair.c.arm_b, pair.c.kind, prompt.c.text)
        .join(prompt, prompt.c.id == pair.c.prompt_id)
        .where(pair.c.id == found.pair_id)
    ).one()
    a, b = ids[shown.arm_a], ids[shown.arm_b]
    left, right = (a, b) if found.left_is == "a" else (b, a)
    return Trial(
        public_id=found.public_id,
        prompt=shown.text,
        left=left,
        right=right,
        questions=questions(connection, found.study_id),
        position=found.position,
        is_practice=shown.kind == "practice",
        lease_until=found.lease_until,
        is_shown=found.shown_at is not None,
    )


def complete_if_done(w: Writing, row: Row[Any]) -> Row[Any]:
    """The rater, with a completion code from the moment when nothing is left to do."""
    is_open = select(trials.c.id).where(trials.c.rater_id == row.id, trials.c.state == "issued")
    has_worked = select(trials.c.id).where(trials.c.rater_id == row.id).limit(1)
    if (
        row.status != "active"
        or w.execute(is_open).first()
        or w.execute(has_worked).first() is None
        or assignment.remaining(w.connection, row)
    ):
        return row
    code = secrets.token_hex(5).upper()
    return w.update(raters, raters.c.id == row.id, status="complete", completion_code=code)[0]


def progress(connection: Connection, row: Row[Any], was_saved_before: bool = False) -> Progress:
    """How far a rater is, counted from the trials."""
    states = list(
        connection.execute(select(trials.c.state).where(trials.c.rater_id == row.id)).scalars()
    )
    num_done = sum(state in ("done", "skipped") for state in states)
    num_left = states.count("issued") + len(assignment.remaining(connection, row))
    return Progress(
        num_done, num_done + num_left, row.status, row.completion_code, was_saved_before
    )


def questions(connection: Connection, study_id: str) -> tuple[Question, ...]:
    """The questions of a study in their order."""
    rows = connection.execute(
        select(question).where(question.c.study_id == study_id).order_by(question.c.position)
    )
    return tuple(
        Question(row.key, row.text, bool(row.show_prompt), bool(row.allow_tie)) for row in rows
    )


def own_trial(connection: Connection, row: Row[Any], public_id: str) -> Row[Any]:
    """The trial of this id, if it is this rater's; else UnknownTrial."""
    own = select(trials).where(trials.c.public_id == public_id, trials.c.rater_id == row.id)
    found: Row[Any] | None = connection.execute(own).one_or_none()
    if found is None:
        raise UnknownTrial("There is no such trial of this rater. Ask for the next pair.")
    return found
