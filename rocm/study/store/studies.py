"""A study as a row: what it says of itself, and its states."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from rocm.errors import StudyError, StudyNotOpen
from rocm.study.store.database import Writing
from rocm.study.store.tables import SOURCES, study


@dataclass(frozen=True)
class StudyInfo:
    """A study, without its arms.

    Attributes:
        study_id: 12 hexadecimal digits; public.
        title: that raters read.
        status: `draft`, `open`, `paused` or `closed`.
        is_demo: its votes are marked as a demonstration's.
        votes_per_pair: distinct raters that each pair is to have.
        config: the manifest once frozen, before that what is planned (docs/study.md).
        config_sha256: of the manifest; None for a draft.
        opened_at: ISO time, or None.
        closed_at: ISO time, or None.
    """

    study_id: str
    title: str
    status: str
    is_demo: bool
    votes_per_pair: int
    config: dict[str, Any]
    config_sha256: str | None
    opened_at: str | None
    closed_at: str | None


def info(connection: Connection, study_id: str) -> StudyInfo:
    """A study; StudyError if there is none of this id."""
    row = connection.execute(select(study).where(study.c.id == study_id)).one_or_none()
    if row is None:
        raise _unknown(study_id)
    return _info(row)


def infos(connection: Connection) -> list[StudyInfo]:
    """Every study, newest first."""
    rows = connection.execute(select(study).order_by(study.c.created_at.desc(), study.c.id))
    return [_info(row) for row in rows]


def named(found: list[StudyInfo], given: str) -> StudyInfo:
    """The study that an id, or its beginning, stands for.

    Args:
        found: studies to choose from.
        given: what a user wrote.

    Returns:
        The one study.

    Raises:
        StudyError: none of them, or several.
    """
    fitting = [one for one in found if given and one.study_id.startswith(given)]
    if len(fitting) > 1:
        ids = ", ".join(one.study_id for one in fitting)
        raise StudyError(f"Several studies begin with {given}: {ids}.")
    if not fitting:
        raise _unknown(given)
    return fitting[0]


def locked(w: Writing, study_id: str, for_update: bool = False) -> Row[Any]:
    """A study's row, which does not change until the transaction ends.

    Args:
        w: transaction.
        study_id: of the study.
        for_update: keep others from reading it in this way too.

    Returns:
        The row.

    Raises:
        StudyError: there is no such study.
    """
    statement = select(study).where(study.c.id == study_id).with_for_update(read=not for_update)
    row: Row[Any] | None = w.execute(statement).one_or_none()
    if row is None:
        raise _unknown(study_id)
    return row


def check_source(row: Row[Any], source: str) -> None:
    """StudyError where a study does not take raters of this source."""
    # A demo's visitor elsewhere would come in uninvited, and mark the whole report as a demo's.
    others = tuple(one for one in SOURCES if one != "demo")
    allowed = ("demo", "pilot", "simulated") if row.is_demo else others
    if source not in allowed:
        raise StudyError(f"source={source!r} is not allowed here: {', '.join(allowed)}.")


def check_open(row: Row[Any], source: str) -> None:
    """StudyNotOpen unless trials are given out now; to pilots before and in a pause too."""
    if row.status != "open" and (source != "pilot" or row.status == "closed"):
        words = {"draft": "not open yet", "paused": "paused", "closed": "closed"}[row.status]
        raise StudyNotOpen(f"The study is {words}. Come back later, or write to its contact.")


def _unknown(study_id: str) -> StudyError:
    return StudyError(
        f"There is no study '{study_id[:40]}'. List them: python -m rocm study status"
    )


def _info(row: Row[Any]) -> StudyInfo:
    return StudyInfo(
        study_id=row.id,
        title=row.title,
        status=row.status,
        is_demo=bool(row.is_demo),
        votes_per_pair=row.votes_per_pair,
        config=json.loads(row.config_json),
        config_sha256=row.config_sha256,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
    )
