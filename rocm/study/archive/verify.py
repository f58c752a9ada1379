"""Recounts a study from its raw votes and checks every hash."""

import json
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select

from rocm.errors import MissingFile
from rocm.study.design.lineage import chain_faults, earlier_studies
from rocm.study.design.manifest import canonical, digest, key, manifest
from rocm.study.store import assignment, chain, queries, triggers
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store
from rocm.study.store.tables import (
    event,
    exclusion,
    image,
    pair,
    question,
    rater,
    slot,
    study,
    trial,
    vote,
)

STATES = {"opened": "open", "open": "open", "paused": "paused", "closed": "closed"}
"""States of a study by the events that lead to them."""
CLOSING_S = 1  # between a study's end and its event


def verify(store: Store, pictures: Pictures, study_id: str) -> list[str]:
    """The faults of a study as sentences; none if everything holds."""
    store.study(study_id)
    with store.database.read() as connection:
        return [
            *frozen_faults(connection, study_id),
            *_pictures(connection, pictures, study_id),
            *vote_faults(connection, study_id),
            *triggers.faults(connection),
            *chain_faults(connection, study_id),
            *(
                f"Study {key}: {fault}"
                for key in earlier_studies(connection, study_id)
                for fault in frozen_faults(connection, key) + vote_faults(connection, key)
            ),
        ]


def vote_faults(connection: Connection, study_id: str) -> list[str]:
    """Faults of places, votes and raters, as sentences."""
    checks = (_counts, _votes, _sides, _references, _exclusions, _status, _erased, chain.faults)
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
    told |= {"seed": str(stored.get("seed")), "votes_per_pair": stored["design"]["votes_per_pair"]}
    if _asked(connection, row) != told:
        wrong.append("Title, seed, votes per pair or questions are not those of the manifest.")
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
        "votes_per_pair": row.votes_per_pair,
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


def _sides(connection: Connection, study_id: str) -> list[str]:
    """A trial shows what its slot planned, and a vote is for the arm on the clicked side."""
    planned = (trial.c.block_id == slot.c.block_id) & (trial.c.position == slot.c.position)
    plan = ("pair_id", "rep", "left_is")
    same = and_(*(trial.c[name] == slot.c[name] for name in plan))
    strange = (
        select(trial.c.public_id)
        .outerjoin(slot, planned & same)
        .where(trial.c.study_id == study_id, slot.c.block_id.is_(None))
    )
    wrong = [
        f"Trial {public_id} is not what was planned for its rater."
        for public_id in connection.execute(strange).scalars()
    ]
    voted = (
        select(vote.c.id, vote.c.choice, vote.c.raw_side, trial.c.left_is)
        .join(trial, trial.c.id == vote.c.trial_id)
        .where(vote.c.study_id == study_id)
    )
    return wrong + [
        f"Vote {row.id} is for another arm than the clicked side showed."
        for row in connection.execute(voted)
        if row.choice != assignment.choice(row.raw_side, row.left_is)
    ]


def _references(connection: Connection, study_id: str) -> list[str]:
    """Rows refer to rows that are there; PostgreSQL itself allows nothing else."""
    if connection.dialect.name != "sqlite":
        return []
    lost = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return [f"Table {row[0]} refers to rows of {row[2]} that are missing." for row in lost[:20]]


def _exclusions(connection: Connection, study_id: str) -> list[str]:
    """Left out are the raters who withdrew: status, exclusion and event say the same."""
    mine = rater.c.study_id == study_id
    left = select(rater.c.id).where(mine, rater.c.status == "withdrawn")
    out = select(exclusion).where(exclusion.c.study_id == study_id)
    told = select(event.c.rater_id).where(
        event.c.study_id == study_id, event.c.kind == chain.WITHDREW
    )
    withdrawn = set(connection.execute(left).scalars())
    excluded = {row.rater_id: row.rule for row in connection.execute(out)}
    events = set(connection.execute(told).scalars())
    named = connection.execute(select(rater.c.id, rater.c.number).where(mine))
    numbers = {row.id: row.number for row in named}
    wrong = (withdrawn ^ events) | (withdrawn ^ set(excluded))
    wrong |= {who for who, rule in excluded.items() if rule != "withdrawn"}
    return [
        f"Rater {numbers.get(who, who)} is excluded and did not withdraw, or the reverse."
        for who in sorted(wrong, key=str)
    ]


def _status(connection: Connection, study_id: str) -> list[str]:
    """The study is in the state that its last event says, since then."""
    row = connection.execute(select(study).where(study.c.id == study_id)).one()
    steps = select(event).where(event.c.study_id == study_id, event.c.kind.in_(STATES))
    last = connection.execute(steps.order_by(event.c.id.desc()).limit(1)).one_or_none()
    said = STATES[last.kind] if last else "draft"
    is_dated = not last or not row.closed_at or _seconds(row.closed_at, last.at) < CLOSING_S
    if row.status != said or not is_dated:
        return ["The study is not in the state, or not since the time, that its events say."]
    return []


def _seconds(one: str, other: str) -> float:
    between = datetime.fromisoformat(one) - datetime.fromisoformat(other)
    return abs(between.total_seconds())


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
