"""What a rater does next: blocks taken, trials opened, places given back.

`pair.issued` counts the trials of a pair that stand for a vote: first showings (rep 0) of main
pairs, open or done, by raters who are neither pilots nor withdrawn. It never exceeds `pair.target`.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row, Table, and_, func, or_, select

from rocm.study.store.blocks import Sided, arranged, other, sided_for_need
from rocm.study.store.database import Writing, as_stored
from rocm.study.store.studies import parsed
from rocm.study.store.tables import block, pair, rater, slot, trial

LIVE = ("issued", "done")
RENEWED_BELOW = 0.9  # of a lease
PLACES_LOCK = 0x504C4143
PLANNED = ("block_id", "position", "pair_id", "rep", "left_is")
# Made once: making an alias takes as long as asking the database.
_OWN, _FIRST = trial.alias("own"), trial.alias("first")
# A literal, so that SQLite uses the index of open trials.
_IS_ISSUED = trial.c.state == sa.literal_column("'issued'")


def design(study: Row[Any]) -> dict[str, Any]:
    """Numbers of the design: votes per pair, trials per rater and what they are made of."""
    numbers: dict[str, Any] = parsed(study.config_json)["design"]
    return numbers


def choice(side: str, left_is: str) -> str:
    """The arm that a side stands for: `a`, `b`, or `tie`."""
    return {"tie": "tie", "left": left_is, "right": other(left_is)}[side]


def next_number(w: Writing, table: Table, study_id: str) -> int:
    """The number of a study's next row; the caller holds the study's lock."""
    highest = select(func.max(table.c.number)).where(table.c.study_id == study_id)
    return int(w.execute(highest).scalar() or 0) + 1


def has_block(w: Writing, rater_id: int) -> bool:
    """Whether a rater has taken a block."""
    return w.execute(select(block.c.id).where(block.c.rater_id == rater_id)).first() is not None


def _take_block(w: Writing, study: Row[Any], row: Row[Any], now: datetime) -> None:
    """Give a rater a planned block, or new pairs that lack votes; the study's row is locked."""
    taken = {"rater_id": row.id, "taken_at": as_stored(now)}
    free = (
        select(block.c.id)
        .where(block.c.study_id == study.id, block.c.origin == "planned")
        .where(block.c.rater_id.is_(None))
        .order_by(block.c.number)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if row.source == "pilot":
        origin, sided = "pilot", _pilot_pairs(w, study, row)
    elif (block_id := w.execute(free).scalar()) is not None:
        w.update(block, block.c.id == block_id, **taken)
        return
    else:
        origin, sided = "repair", _missing_pairs(w, study, now)
    if sided:
        store_block(w, study, next_number(w, block, study.id), origin, sided, **taken)


def store_block(
    w: Writing, study: Row[Any], number: int, origin: str, sided: Sequence[Sided], **taken: Any
) -> None:
    """Store a block of these main pairs, with practice, checks and repeats among them."""
    numbers = design(study)
    practice, checks = (_unstruck(w, study.id, kind) for kind in ("practice", "check"))
    num_checks = numbers["checks_per_rater"]
    checks = _turned(checks, number * num_checks)[:num_checks]
    seed = f"{study.seed}/{number}"
    order = arranged(sided, practice, checks, numbers["repeats_per_rater"], seed)
    made = w.insert(block, study_id=study.id, number=number, origin=origin, **taken)
    shared = {"block_id": made.id, "study_id": study.id}
    slots = [
        {**shared, "position": place, "pair_id": s.pair, "rep": s.rep, "left_is": s.left_is}
        for place, s in enumerate(order)
    ]
    w.insert_many(slot, slots)


def next_trial(
    w: Writing, study: Row[Any], row: Row[Any], now: datetime
) -> tuple[Row[Any] | None, list[Row[Any]]]:
    """The rater's open trial with a new lease, or the next of the block that has a place.

    The caller holds the rater's row and the study's: for update if the rater has no block yet.
    Returns the trial, or None when nothing is left to do, and the slots that remain after it.
    """
    stamp = as_stored(now)
    lease = timedelta(minutes=design(study)["lease_minutes"])
    lease_until = as_stored(now + lease)
    expire(w, stamp)
    held = _held_trial(w, row, lease_until, as_stored(now + lease * RENEWED_BELOW))
    if held is None and not has_block(w, row.id):
        _take_block(w, study, row, now)
    planned = list(remaining(w.connection, row))
    if held is not None:
        return held, planned
    for following in planned.copy():
        if following.rep == 1 and following.first_state != "done":
            continue
        planned.remove(following)
        needs_place = following.kind == "main" and following.rep == 0 and row.source != "pilot"
        if needs_place and not _take_place(w, following.pair_id):
            continue
        new = w.insert(
            trial,
            public_id=secrets.token_hex(16),
            study_id=row.study_id,
            rater_id=row.id,
            state="issued",
            issued_at=stamp,
            lease_until=lease_until,
            **{name: getattr(following, name) for name in PLANNED},
        )
        return new, planned
    return None, list(remaining(w.connection, row))


def _held_trial(
    w: Writing, row: Row[Any], lease_until: str, renewed_before: str
) -> Row[Any] | None:
    """The rater's open trial, or an expired one that could be opened again, with a new lease.

    A lease that ends after `renewed_before` stays: a click sent again then writes nothing.
    """
    waiting = (
        select(trial)
        .where(trial.c.rater_id == row.id, trial.c.state.in_(("issued", "expired")))
        .order_by(trial.c.state.desc(), trial.c.position)
    )
    for held in w.execute(waiting).all():
        if held.state == "issued" and held.lease_until > renewed_before:
            return held
        if held.state == "issued" or reopen(w, held):
            leased = {"state": "issued", "lease_until": lease_until}
            return w.update(trial, trial.c.id == held.id, **leased)[0]
    return None


def expire(w: Writing, now: str) -> int:
    """Give back trials of every study held longer than their lease; returns their number."""
    due = _IS_ISSUED & (trial.c.lease_until < now)
    if w.execute(select(trial.c.id).where(due).limit(1)).first() is None:
        return 0
    _lock_places(w)
    # A locked row is in use by its rater: leave it to the next time.
    late = select(trial.c.id).where(due).with_for_update(skip_locked=True)
    ids = list(w.execute(late).scalars())
    expired = w.update(trial, trial.c.id.in_(ids), due, state="expired")
    give_back(w, expired)
    return len(expired)


def remaining(connection: Connection, row: Row[Any]) -> Sequence[Row[Any]]:
    """Slots of the rater's block that can still get a trial, with `kind` and `first_state`."""
    own, first = _OWN, _FIRST
    has_room = pair.c.issued < pair.c.target if row.source != "pilot" else pair.c.target > 0
    repeatable = or_(first.c.state.in_(LIVE), and_(first.c.id.is_(None), has_room))
    feasible = or_(
        pair.c.kind != "main", and_(slot.c.rep == 0, has_room), and_(slot.c.rep == 1, repeatable)
    )
    mine = and_(own.c.rater_id == row.id, own.c.position == slot.c.position)
    before = and_(first.c.rater_id == row.id, first.c.pair_id == slot.c.pair_id, first.c.rep == 0)
    statement = (
        select(slot, pair.c.kind, first.c.state.label("first_state"))
        .join(block, block.c.id == slot.c.block_id)
        .join(pair, pair.c.id == slot.c.pair_id)
        .outerjoin(own, mine)
        .outerjoin(first, before)
        .where(block.c.rater_id == row.id, own.c.id.is_(None), feasible)
        .order_by(slot.c.position)
    )
    return connection.execute(statement).all()


def reopen(w: Writing, held: Row[Any]) -> bool:
    """Take an expired trial's place again, if it needs one; False if the place is gone."""
    if not _counted_pairs(w, [held]):
        return True
    _lock_places(w)
    return _take_place(w, held.pair_id)


def _counted_pairs(w: Writing, held: Iterable[Row[Any]]) -> list[int]:
    """Pairs of those trials that take a place."""
    ids = [row.id for row in held]
    statement = (
        select(trial.c.pair_id)
        .join(pair, pair.c.id == trial.c.pair_id)
        .join(rater, rater.c.id == trial.c.rater_id)
        .where(trial.c.id.in_(ids), trial.c.rep == 0)
        .where(pair.c.kind == "main", rater.c.source != "pilot")
    )
    return list(w.execute(statement).scalars())


def give_back(w: Writing, held: Iterable[Row[Any]]) -> None:
    """Free the places that these trials take."""
    counted = sorted(Counter(_counted_pairs(w, held)).items())
    if counted:
        _lock_places(w)
    for pair_id, times in counted:
        w.update(pair, pair.c.id == pair_id, issued=pair.c.issued - times)


def planned_sides(w: Writing, pairs: Sequence[int]) -> tuple[dict[int, int], dict[int, int]]:
    """How often each pair is planned with `a` on the left, and with `b`."""
    return _sides(w, slot, pairs)


def _sides(
    w: Writing, table: Table, pairs: Sequence[int], *where: sa.ColumnElement[bool]
) -> tuple[dict[int, int], dict[int, int]]:
    rows: Any = w.execute(
        select(table.c.pair_id, table.c.left_is, func.count())
        .where(table.c.pair_id.in_(pairs), table.c.rep == 0, *where)
        .group_by(table.c.pair_id, table.c.left_is)
    )
    left_a: dict[int, int] = {}
    left_b: dict[int, int] = {}
    for pair_id, side, number in rows:
        (left_a if side == "a" else left_b)[pair_id] = number
    return left_a, left_b


def _lock_places(w: Writing) -> None:
    """Hold off others that change places of several pairs, lest two wait for each other's pairs."""
    if w.connection.dialect.name == "postgresql":
        w.execute(select(func.pg_advisory_xact_lock(PLACES_LOCK)))


def _take_place(w: Writing, pair_id: int) -> bool:
    has_room = (pair.c.id == pair_id, pair.c.issued < pair.c.target)
    return bool(w.update(pair, *has_room, issued=pair.c.issued + 1))


def _missing_pairs(w: Writing, study: Row[Any], now: datetime) -> list[Sided]:
    """Pairs with places that nobody at work will fill, those with most of them first."""
    numbers = design(study)
    reserved = _reserved(w, study.id, now - timedelta(minutes=numbers["lease_minutes"]))
    rows = w.execute(
        select(pair.c.id, (pair.c.target - pair.c.issued).label("need"))
        .where(pair.c.study_id == study.id, pair.c.kind == "main", pair.c.struck.is_(None))
        .where(pair.c.issued < pair.c.target)
    ).all()
    need = {row.id: row.need - reserved[row.id] for row in rows if row.need > reserved[row.id]}
    # The id makes the order of equally needed pairs repeatable.
    ordered = sorted(need, key=lambda pair_id: (-need[pair_id], pair_id))
    chosen = ordered[: numbers["main_per_rater"]]
    return sided_for_need(chosen, *_sides(w, trial, chosen, trial.c.state.in_(LIVE)))


def _reserved(w: Writing, study_id: str, since: datetime) -> Counter[int]:
    """How many places of each pair are still planned for raters who were at work lately."""
    lately = as_stored(since)
    recent = (trial.c.study_id == study_id, trial.c.issued_at > lately)
    at_work = select(trial.c.rater_id).where(*recent)
    mine = and_(trial.c.block_id == slot.c.block_id, trial.c.position == slot.c.position)
    rows: Any = w.execute(
        select(slot.c.pair_id, func.count())
        .join(block, block.c.id == slot.c.block_id)
        .join(rater, rater.c.id == block.c.rater_id)
        .outerjoin(trial, mine)
        .where(slot.c.study_id == study_id, slot.c.rep == 0, trial.c.id.is_(None))
        .where(rater.c.status == "active", rater.c.source != "pilot")
        .where(or_(block.c.rater_id.in_(at_work), block.c.taken_at > lately))
        .group_by(slot.c.pair_id)
    )
    return Counter({pair_id: number for pair_id, number in rows})


def _pilot_pairs(w: Writing, study: Row[Any], row: Row[Any]) -> list[Sided]:
    """Some pairs for a pilot, others for the next pilot; their votes are not analyzed."""
    pairs = _turned(_unstruck(w, study.id, "main"), row.number * 7)
    chosen = pairs[: design(study)["main_per_rater"]]
    return sided_for_need(chosen, {}, {})


def _unstruck(w: Writing, study_id: str, kind: str) -> list[int]:
    kept = (pair.c.study_id == study_id, pair.c.kind == kind, pair.c.struck.is_(None))
    return list(w.execute(select(pair.c.id).where(*kept).order_by(pair.c.id)).scalars())


def _turned(ids: list[int], first: int) -> list[int]:
    return ids[first % len(ids) :] + ids[: first % len(ids)] if ids else []
