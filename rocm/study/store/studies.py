"""The study's own row: its description, and its states; and rows of its parts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Table, select

from rocm.errors import StudyError
from rocm.study.store import chain
from rocm.study.store.database import Writing
from rocm.study.store.tables import SOURCES, study

TEACHING = "training"


@dataclass(frozen=True)
class StudyContext:
    """A study, without its arms; `config` is the manifest once frozen, before that the plan."""

    study_id: str
    title: str
    status: str
    is_demo: bool
    votes_per_pair: int
    config: dict[str, Any]
    config_sha256: str | None


def part_of_study(about: StudyContext) -> str:
    """The part of the prompts that a study has; rewards learn from `TEACHING` alone."""
    return str(about.config.get("prompt_set", {}).get("split", TEACHING))


def row(connection: Connection, study_id: str) -> Row[Any]:
    """The row of a study; StudyError if there is none."""
    statement = select(study).where(study.c.id == study_id)
    return _known(study_id, connection.execute(statement).one_or_none())


def rows_of(connection: Connection, table: Table, study_id: str) -> Sequence[Row[Any]]:
    """A study's rows of a table, in the order in which they were stored."""
    own = select(table).where(table.c.study_id == study_id).order_by(table.c.id)
    return connection.execute(own).all()


def info(connection: Connection, study_id: str) -> StudyContext:
    """A study; StudyError if there is none of this id."""
    return info_of(row(connection, study_id))


def infos(connection: Connection) -> list[StudyContext]:
    """Every study, newest first."""
    rows = connection.execute(select(study).order_by(study.c.created_at.desc(), study.c.id))
    return [info_of(row) for row in rows]


def named(choices: list[StudyContext], given: str) -> StudyContext:
    """The study whose id is, or begins with, what a user gave; StudyError for none or several."""
    fitting = [study for study in choices if given and study.study_id.startswith(given)]
    if len(fitting) > 1:
        ids = ", ".join(study.study_id for study in fitting)
        raise StudyError(f"Several studies begin with {given}: {ids}. Give more digits.")
    return _known(given, fitting[0] if fitting else None)


def insert(w: Writing, **values: Any) -> None:
    """Store a study, and the beginning of its votes' chain."""
    made = w.insert(study, **values)
    chain.adopt(w, made.id)


def locked(w: Writing, study_id: str, for_update: bool = False) -> Row[Any]:
    """A study's row until the transaction ends; `for_update` holds off other such readers."""
    statement = select(study).where(study.c.id == study_id).with_for_update(read=not for_update)
    return _known(study_id, w.execute(statement).one_or_none())


def check_source(row: Row[Any], source: str) -> None:
    """StudyError where a study does not take raters of this source."""
    # A demo's rater elsewhere would come in uninvited, and mark the whole report as a demo's.
    others = tuple(name for name in SOURCES if name != "demo")
    allowed = ("demo", "pilot", "simulated") if row.is_demo else others
    if source not in allowed:
        raise StudyError(f"source={source!r} is not allowed here. Allowed: {', '.join(allowed)}.")


def why_not_open(row: Row[Any], source: str) -> str:
    """Why a study gives out no trials now; empty where it does, to pilots before it opens too."""
    if row.status == "open" or (source == "pilot" and row.status != "closed"):
        return ""
    words = {"draft": "not open yet", "paused": "paused", "closed": "closed"}[row.status]
    return f"The study is {words}. Come back later, or write to its contact."


Known = TypeVar("Known")


def _known(study_id: str, known: Known | None) -> Known:
    if known is None:
        listed = "List them: python -m rocm study status"
        raise StudyError(f"There is no study '{study_id[:40]}'. {listed}")
    return known


@lru_cache(maxsize=16)
def parsed(config_json: str) -> dict[str, Any]:
    """The configuration of a study, read once for many requests; never to be changed."""
    config: dict[str, Any] = json.loads(config_json)
    return config


def info_of(row: Row[Any]) -> StudyContext:
    """A study from its row."""
    return StudyContext(
        study_id=row.id,
        title=row.title,
        status=row.status,
        is_demo=bool(row.is_demo),
        votes_per_pair=row.votes_per_pair,
        config=parsed(row.config_json),
        config_sha256=row.config_sha256,
    )
