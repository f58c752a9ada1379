"""Rows that several requests of a rater need, and the part of them that a rater may see."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, select

from rocm.errors import StudyError, UnknownRater, UnknownTrial
from rocm.study.store import assignment, studies
from rocm.study.store.database import Writing
from rocm.study.store.session import Step, Trial, TrialQuestion
from rocm.study.store.tables import image, pair, prompt, question
from rocm.study.store.tables import rater as raters
from rocm.study.store.tables import trial as trials

_A, _B = image.alias("a"), image.alias("b")
PAIRS = (
    select(pair.c.id, pair.c.kind, pair.c.struck, prompt.c.text)
    .add_columns(_A.c.picture_id.label("picture_a"), _B.c.picture_id.label("picture_b"))
    .join(prompt, prompt.c.id == pair.c.prompt_id)
    .join(_A, _A.c.id == pair.c.image_a)
    .join(_B, _B.c.id == pair.c.image_b)
)


def hashed(token: str) -> str:
    """The hash under which a token is stored."""
    return sha256(token.encode()).hexdigest()


def rater(connection: Connection, token: str, locked: bool = False) -> Row[Any]:
    """The rater of a token, or UnknownRater; `locked` keeps the rater's other requests waiting."""
    statement = select(raters).where(raters.c.token_sha256 == hashed(token))
    row: Row[Any] | None = connection.execute(
        statement.with_for_update() if locked else statement
    ).one_or_none()
    if row is None:
        raise UnknownRater("This visit is not known here. Open the study's link again.")
    return row


def own_trial(connection: Connection, token: str, public_id: str) -> tuple[Row[Any], Row[Any]]:
    """A rater, locked as by `rater`, and the rater's trial of this id; UnknownTrial for others."""
    row = rater(connection, token, locked=True)
    own = select(trials).where(trials.c.public_id == public_id, trials.c.rater_id == row.id)
    held: Row[Any] | None = connection.execute(own).one_or_none()
    if held is None:
        raise UnknownTrial("This rater has no such trial. Ask for the next pair.")
    return row, held


def questions(connection: Connection, study_id: str) -> tuple[TrialQuestion, ...]:
    """The questions of a study in their order."""
    rows = connection.execute(
        select(question).where(question.c.study_id == study_id).order_by(question.c.position)
    )
    return tuple(
        TrialQuestion(row.key, row.text, bool(row.show_prompt), bool(row.allow_tie)) for row in rows
    )


def next_step(w: Writing, row: Row[Any], study: Row[Any], now: datetime) -> Step:
    """Give a rater the open trial or the next one; the caller holds rater's and study's rows."""
    if row.consented_at is None or row.status in ("screened_out", "withdrawn"):
        raise StudyError("A rater gives consent first, and gets no trial after leaving.")
    held, notice = None, ""
    if row.status == "active" and not (notice := studies.why_not_open(study, row.source)):
        held, planned = assignment.next_trial(w, study, row, now)
    else:
        planned = list(assignment.remaining(w.connection, row))
    states = _states(w.connection, row)
    if row.status == "active" and states and not planned and "issued" not in states:
        num_seen = states.count("done") + states.count("skipped")
        has_answered = states.count("done") >= _min_answered(study) * num_seen
        code, notice = secrets.token_hex(5).upper() if has_answered else None, ""
        row = w.update(raters, raters.c.id == row.id, status="complete", completion_code=code)[0]
    shown = [trial.pair_id for trial in ((held,) if held else ()) + tuple(planned[:1])]
    pairs = {asked.id: asked for asked in w.execute(PAIRS.where(pair.c.id.in_(shown)))}
    following = pairs[planned[0].pair_id] if held and planned else None
    return replace(
        _step(row, study, states, len(planned)),
        trial=held and _trial(held, pairs[held.pair_id]),
        upcoming=tuple(sorted((following.picture_a, following.picture_b))) if following else (),
        notice=notice,
    )


def _min_answered(study: Row[Any]) -> float:
    """The share of pairs that a rater must answer for the code; older manifests name none."""
    return float(studies.parsed(study.config_json).get("min_answered_share", 0))


def current_step(connection: Connection, row: Row[Any]) -> Step:
    """Where a rater stands; opens no trial and shows none."""
    study = studies.row(connection, row.study_id)
    num_planned = len(assignment.remaining(connection, row))
    return _step(row, study, _states(connection, row), num_planned)


def _states(connection: Connection, row: Row[Any]) -> Sequence[str]:
    """States of all trials that the rater was given."""
    own = select(trials.c.state).where(trials.c.rater_id == row.id)
    return connection.execute(own).scalars().all()


def _step(row: Row[Any], study: Row[Any], states: Sequence[str], num_planned: int) -> Step:
    num_done = sum(state in ("done", "skipped") for state in states)
    return Step(
        study=studies.info_of(study),
        source=row.source,
        status=row.status,
        has_consented=row.consented_at is not None,
        num_done=num_done,
        num_trials=num_done + states.count("issued") + num_planned,
        completion_code=row.completion_code,
    )


def _trial(held: Row[Any], shown: Row[Any]) -> Trial:
    """The part of a trial that its rater may see: pictures by side, never by arm."""
    left, right = (shown.picture_a, shown.picture_b)[:: 1 if held.left_is == "a" else -1]
    return Trial(
        public_id=held.public_id,
        prompt=shown.text,
        left=left,
        right=right,
        is_practice=shown.kind == "practice",
        lease_until=held.lease_until,
    )
