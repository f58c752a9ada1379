"""Recounts a study from its raw votes and checks every hash."""

import json
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, func, select

from rocm.errors import MissingFile
from rocm.study.design.manifest import canonical, digest, key, manifest
from rocm.study.store import queries
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store
from rocm.study.store.tables import event, image, pair, question, rater, study, trial, vote


def verify(store: Store, pictures: Pictures, study_id: str) -> list[str]:
    """The faults of a study as sentences; none if everything holds."""
    store.study(study_id)
    with store.database.read() as connection:
        return [
            *frozen_faults(connection, study_id),
            *_pictures(connection, pictures, study_id),
            *vote_faults(connection, study_id),
        ]


def vote_faults(connection: Connection, study_id: str) -> list[str]:
    """Faults of places, votes and raters, as sentences."""
    checks = (_counts, _votes, _erased)
    return [fault for check in checks for fault in check(connection, study_id)]


def frozen_faults(connection: Connection, study_id: str) -> list[str]:
    """Faults of the manifest and the rows that it describes, as sentences."""
    row = connection.execute(select(study).where(study.c.id == study_id)).one()
    if row.config_sha256 is None:
        return []
    wrong = []
    stored = json.loads(row.config_json)
    if canonical(stored) != row.config_json or digest(stored) != row.config_sha256:
        wrong.append("The manifest is not the one that was frozen.")
    # What is stored of prompts, arms and pairs must give the same manifest once more.
    if stored != manifest(connection, row, stored["key_sha256"]):
        wrong.append("Prompts, arms, pairs or pictures are not those of the manifest.")
    told = {name: stored.get(name) for name in ("title", "is_demo", "questions")}
    if _asked(connection, row) != {**told, "seed": str(stored.get("seed"))}:
        wrong.append("Title, seed or questions are not those of the manifest.")
    if row.key_sha256 != stored["key_sha256"]:
        wrong.append("The key's hash is not the manifest's.")
    if row.key_nonce is not None and digest(key(connection, study_id)) != row.key_sha256:
        wrong.append("The arms are not those of the key that was frozen.")
    return wrong


def _asked(connection: Connection, row: Row[Any]) -> dict[str, Any]:
    """What raters are told and asked, as a manifest has it."""
    fields = ("key", "text", "show_prompt", "allow_tie")
    asked = queries.questions(connection, row.id)
    return {
        "title": row.title,
        "seed": row.seed,
        "is_demo": bool(row.is_demo),
        "questions": [{name: getattr(row, name) for name in fields} for row in asked],
    }


def _pictures(connection: Connection, pictures: Pictures, study_id: str) -> list[str]:
    wrong = []
    rows = select(image.c.picture_id, image.c.sha256).where(image.c.study_id == study_id)
    for picture_id, expected in connection.execute(rows):
        try:
            hashed = sha256(pictures.file(picture_id).read_bytes()).hexdigest()
        except MissingFile:
            wrong.append(f"Picture {picture_id} is missing.")
            continue
        if hashed != expected:
            wrong.append(f"Picture {picture_id} was changed.")
    return wrong


def _counts(connection: Connection, study_id: str) -> list[str]:
    """Places taken must be what the trials say."""
    counted = (
        select(trial.c.pair_id, func.count().label("number"))
        .join(rater, rater.c.id == trial.c.rater_id)
        .where(trial.c.study_id == study_id, trial.c.rep == 0)
        .where(trial.c.state.in_(("issued", "done")))
        .where(rater.c.source != "pilot", rater.c.status != "withdrawn")
        .group_by(trial.c.pair_id)
        .subquery()
    )
    rows = connection.execute(
        select(pair.c.id, pair.c.issued, func.coalesce(counted.c.number, 0).label("number"))
        .outerjoin(counted, counted.c.pair_id == pair.c.id)
        .where(pair.c.study_id == study_id, pair.c.kind == "main")
    )
    return [
        f"Pair {row.id} counts {row.issued} votes, but {row.number} are there."
        for row in rows
        if row.issued != row.number
    ]


def _votes(connection: Connection, study_id: str) -> list[str]:
    """Every trial that is done has one vote a question, no other trial has any."""
    asked = connection.execute(
        select(func.count()).select_from(question).where(question.c.study_id == study_id)
    ).scalar_one()
    rows = connection.execute(
        select(trial.c.public_id, trial.c.state, func.count(vote.c.id).label("number"))
        .outerjoin(vote, vote.c.trial_id == trial.c.id)
        .where(trial.c.study_id == study_id)
        .group_by(trial.c.public_id, trial.c.state)
    )
    return [
        f"Trial {row.public_id} is {row.state} and has {row.number} votes of {asked}."
        for row in rows
        if row.number != (asked if row.state == "done" else 0)
    ]


def _erased(connection: Connection, study_id: str) -> list[str]:
    """Numbers of raters have gaps only where a tombstone says so."""
    known = select(rater.c.number).where(rater.c.study_id == study_id)
    numbers = set(connection.execute(known).scalars())
    tombstones = connection.execute(
        select(event.c.data_json).where(event.c.study_id == study_id, event.c.kind == "erased")
    ).scalars()
    gone = {json.loads(tombstone)["rater"] for tombstone in tombstones}
    missing = set(range(1, max(numbers | gone, default=0) + 1)) - numbers - gone
    return [f"Rater {number} is missing without having been erased." for number in sorted(missing)]
