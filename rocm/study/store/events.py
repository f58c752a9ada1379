"""What happened to a study or a rater, as rows that are never changed; each kind has data."""

import json
from typing import Any

from sqlalchemy import Connection, select

from rocm.study.store.database import Writing
from rocm.study.store.tables import event

ADDRESSES, CHAINED, ERASED = "addresses", "chained", "erased"
INVITED, WITHDREW = "invited", "withdrew"
"""Kinds: from how many addresses answers came; votes were chained later than they were made; a
rater was erased; raters were invited; a rater withdrew. Others are steps of the study itself."""


def note(
    w: Writing, study_id: str, at: str, kind: str, data: dict[str, Any], rater_id: int | None = None
) -> None:
    """Store an event."""
    about = {"study_id": study_id, "rater_id": rater_id}
    w.insert(event, **about, at=at, kind=kind, data_json=json.dumps(data))


def noted(connection: Connection, study_id: str, kind: str) -> list[dict[str, Any]]:
    """Data of a study's events of a kind, in their order."""
    mine = select(event.c.data_json).where(event.c.study_id == study_id, event.c.kind == kind)
    return [json.loads(data) for data in connection.execute(mine.order_by(event.c.id)).scalars()]
