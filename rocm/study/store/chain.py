"""The chain of a study's votes: each carries the hash of the one before it.

A hash covers the vote, its trial, rater and pictures, and the manifest. It names rows as every
store does that the study travels to. The end of the chain stands in table `chain`, in packs,
exports and reports: whoever holds an older one can tell whether votes were changed since.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from rocm.study.store import triggers
from rocm.study.store.database import Writing, as_stored
from rocm.study.store.events import CHAINED, ERASED, WITHDREW, note, noted
from rocm.study.store.tables import chain, event, exclusion, image, pair, rater, study, trial, vote

OF_VOTE = (
    *("question_key", "choice", "raw_side", "tie_reason", "rt_ms"),
    *("viewport_width", "viewport_height", "picture_size", "created_at"),
)
OF_TRIAL = ("public_id", "position", "rep", "left_is", "issued_at", "shown_at", "done_at")
OF_RATER = ("number", "source", "ext_hmac", "consent_version", "consented_at", "created_at")
_A, _B = image.alias("chained_a"), image.alias("chained_b")
_SHOWN = (
    *(trial.c[name].label(f"trial_{name}") for name in OF_TRIAL),
    *(rater.c[name].label(f"rater_{name}") for name in OF_RATER),
    _A.c.picture_id.label("picture_a"),
    _B.c.picture_id.label("picture_b"),
    study.c.config_sha256.label("manifest"),
)
_COVERED = tuple(column.name for column in _SHOWN[:-1])


def _joined(columns: Sequence[Any], first: Any) -> Select[Any]:
    return (
        select(*columns)
        .select_from(first)
        .join(rater, rater.c.id == trial.c.rater_id)
        .join(pair, pair.c.id == trial.c.pair_id)
        .join(_A, _A.c.id == pair.c.image_a)
        .join(_B, _B.c.id == pair.c.image_b)
        .join(study, study.c.id == trial.c.study_id)
    )


_OF_TRIAL = _joined(_SHOWN, trial)
_OF_STUDY = _joined(
    (*vote.c["id", "previous", *OF_VOTE], *_SHOWN), vote.join(trial, trial.c.id == vote.c.trial_id)
)


def beginning(study_id: str) -> str:
    """What the first vote of a study carries."""
    return sha256(study_id.encode()).hexdigest()


def link(previous: str, shown: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """The hash of a vote: `answer` has its columns, `shown` those of `_SHOWN`."""
    # Pilots may vote before the manifest is frozen.
    manifest = None if shown["rater_source"] == "pilot" else shown["manifest"]
    covered = [
        *(shown[name] for name in _COVERED),
        *(answer.get(name) for name in OF_VOTE),
        *(previous, manifest),
    ]
    return sha256(json.dumps(covered).encode()).hexdigest()


def locked(w: Writing, study_id: str) -> Row[Any]:
    """The end of a study's chain, until the transaction ends; taken before any pair's place."""
    statement = select(chain).where(chain.c.study_id == study_id).with_for_update()
    return w.execute(statement).one()


def linked(
    w: Writing, end: Row[Any], trial_id: int, answers: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Votes of a trial that is done, each with the hash before it; the chain's end moves on."""
    (shown,) = _rows(w.connection, _OF_TRIAL.where(trial.c.id == trial_id))
    head = end.head
    chained = []
    for answer in answers:
        chained.append({**answer, "previous": head})
        head = link(head, shown, answer)
    _move_end(w, end.study_id, head, end.num_votes + len(answers))
    return chained


def _move_end(w: Writing, study_id: str, head: str, num_votes: int) -> None:
    w.update(chain, chain.c.study_id == study_id, head=head, num_votes=num_votes)


def links_of(connection: Connection, study_id: str, rater_id: int) -> dict[str, str]:
    """Hashes of a rater's votes by the hashes before them, to be kept when the votes are erased."""
    own = _of_study(study_id).where(trial.c.rater_id == rater_id)
    return {row["previous"]: link(row["previous"], row, row) for row in _rows(connection, own)}


def adopt(w: Writing, study_id: str) -> None:
    """Chain votes that were made before votes were chained, and mark them by an event."""
    end = w.execute(select(chain).where(chain.c.study_id == study_id)).one_or_none()
    if end is None:
        end = w.insert(chain, study_id=study_id, num_votes=0, head=beginning(study_id))
    told = select(event.c.rater_id).where(event.c.kind == WITHDREW, event.c.rater_id.is_not(None))
    untold = select(exclusion).where(exclusion.c.study_id == study_id)
    for withdrawn in w.execute(untold.where(exclusion.c.rater_id.not_in(told))).all():
        note(w, study_id, withdrawn.created_at, WITHDREW, {}, withdrawn.rater_id)
    late = _rows(w.connection, _of_study(study_id).where(vote.c.previous.is_(None)))
    if not late:
        return
    head = end.head
    with triggers.lifted(w.connection):
        for row in late:
            w.update(vote, vote.c.id == row["id"], previous=head)
            head = link(head, row, row)
    _move_end(w, study_id, head, end.num_votes + len(late))
    note(w, study_id, as_stored(datetime.now(UTC)), CHAINED, {"votes": len(late)})


def adopt_all(w: Writing) -> None:
    """Chain what is not chained yet, of every study."""
    for study_id in w.execute(select(study.c.id)).scalars().all():
        adopt(w, study_id)


def end_of(connection: Connection, study_id: str) -> dict[str, Any]:
    """`head`, `num_votes` in the chain, and `num_chained_later` of them."""
    end = connection.execute(select(chain).where(chain.c.study_id == study_id)).one()
    num_later = sum(data["votes"] for data in noted(connection, study_id, CHAINED))
    return {"head": end.head, "num_votes": end.num_votes, "num_chained_later": num_later}


def faults(connection: Connection, study_id: str) -> list[str]:
    """Where the chain of a study's votes is broken, as a sentence; none if it holds."""
    end = connection.execute(select(chain).where(chain.c.study_id == study_id)).one_or_none()
    if end is None:
        return ["The chain of the votes is missing."]
    told = noted(connection, study_id, ERASED)
    erased = {a: b for data in told for a, b in data.get("links", {}).items()}
    head, number = beginning(study_id), 0
    for row in _rows(connection, _of_study(study_id)):
        while head != row["previous"] and head in erased:
            head, number = erased.pop(head), number + 1
        if row["previous"] != head:
            return [
                f"Vote {row['id']} does not follow the vote before it: a vote, a trial, a rater or "
                "the manifest was changed, added, moved or deleted."
            ]
        head, number = link(head, row, row), number + 1
    while head in erased:
        head, number = erased.pop(head), number + 1
    if (head, number) != (end.head, end.num_votes):
        return ["The last vote is not the chain's end: votes were changed, added or deleted."]
    return []


def _of_study(study_id: str) -> Select[Any]:
    return _OF_STUDY.where(vote.c.study_id == study_id).order_by(vote.c.id)


def _rows(connection: Connection, statement: Select[Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(statement).mappings()]
