"""From draft to closed: exclude pairs, freeze and open, pause, resume, add raters, close."""

import secrets
from typing import Any

from sqlalchemy import Row, Select, select

from rocm.errors import StudyError
from rocm.study.design.manifest import canonical, digest, key, manifest
from rocm.study.store import assignment, queries, studies
from rocm.study.store.blocks import balanced_blocks, sided_for_need
from rocm.study.store.database import Writing
from rocm.study.store.events import note
from rocm.study.store.store import Store
from rocm.study.store.tables import pair, question, study, trial


def insert_draft(w: Writing, study_id: str, config: dict[str, Any], created_at: str) -> None:
    """Store a draft; `config` has title, seed, is_demo, questions, design and consent."""
    studies.insert(
        w,
        id=study_id,
        title=config["title"],
        seed=str(config["seed"]),
        status="draft",
        is_demo=int(config["is_demo"]),
        config_json=canonical(config),
        votes_per_pair=config["design"]["votes_per_pair"],
        created_at=created_at,
    )
    for position, asked in enumerate(config["questions"]):
        flags = {name: int(asked[name]) for name in ("show_prompt", "allow_tie")}
        values = {"key": asked["key"], "text": asked["text"], "position": position, **flags}
        w.insert(question, study_id=study_id, **values)


def pairs(store: Store, study_id: str) -> list[Row[Any]]:
    """Every pair of a study in order: id, kind, struck, text, picture_a, picture_b."""
    statement = queries.PAIRS.where(pair.c.study_id == study_id).order_by(pair.c.id)
    with store.database.read() as connection:
        return list(connection.execute(statement).all())


def strike(store: Store, study_id: str, pair_id: int, reason: str | None) -> None:
    """Exclude a pair of a draft for a reason, kept in the manifest; None includes it again."""
    if reason is not None and not 1 <= len(reason.strip()) <= 500:
        raise StudyError("Excluding a pair needs a reason of 1 to 500 characters.")
    with store.database.write() as w:
        _draft(w, study_id)
        mine = (pair.c.id == pair_id, pair.c.study_id == study_id)
        if not w.update(pair, *mine, struck=reason and reason.strip()):
            raise StudyError(f"Study {study_id} has no pair {pair_id}.")


def open_study(store: Store, study_id: str) -> str:
    """Freeze a draft, plan every rater's work, and let raters in; the manifest's sha256."""
    with store.database.write() as w:
        row = _draft(w, study_id)
        pairs = list(w.execute(_main_pairs(study_id).order_by(pair.c.id)).scalars())
        size = assignment.design(row)["main_per_rater"]
        if len(pairs) < size:
            raise StudyError(
                f"The study has {len(pairs)} pairs, fewer than main_per_rater={size}. Build more "
                "pairs, or lower main_per_rater."
            )
        w.update(study, study.c.id == study_id, key_nonce=secrets.token_hex(16))
        key_sha256 = digest(key(w.connection, study_id))
        document = manifest(w.connection, row, key_sha256)
        row = w.update(
            study,
            study.c.id == study_id,
            status="open",
            opened_at=store.stamp(),
            config_json=canonical(document),
            config_sha256=digest(document),
            key_sha256=key_sha256,
        )[0]
        blocks = balanced_blocks(pairs, row.votes_per_pair, size, f"{row.seed}/{study_id}")
        # Pilots of the draft have blocks already.
        first = assignment.next_number(w, assignment.block, study_id)
        for number, sided in enumerate(blocks, start=first):
            assignment.store_block(w, row, number, "planned", sided)
        note(w, study_id, str(row.opened_at), "opened", {"blocks": len(blocks)})
    return str(row.config_sha256)


def pause(store: Store, study_id: str) -> None:
    """Stop giving out trials; open trials can still be answered."""
    _step(store, study_id, "open", "paused")


def resume(store: Store, study_id: str) -> None:
    """Give out trials again."""
    _step(store, study_id, "paused", "open")


def close(store: Store, study_id: str) -> None:
    """End a study for good: no trials, no votes; open trials expire."""
    with store.database.write() as w:
        _running(w, study_id)
        issued = (trial.c.study_id == study_id, trial.c.state == "issued")
        expired = w.update(trial, *issued, state="expired")
        assignment.give_back(w, expired)
        now = store.stamp()
        w.update(study, study.c.id == study_id, status="closed", closed_at=now)
        note(w, study_id, now, "closed", {"expired": len(expired)})


def add_raters(store: Store, study_id: str, num_raters: int) -> int:
    """Plan work for 1 to 1000 more raters, whose pairs get one more vote; number of votes."""
    if not 1 <= num_raters <= 1000:
        raise StudyError(f"{num_raters} raters cannot be added at once. Give 1 to 1000.")
    with store.database.write() as w:
        row = _running(w, study_id)
        size: int = assignment.design(row)["main_per_rater"]
        number = assignment.next_number(w, assignment.block, study_id)
        fewest = _main_pairs(study_id).order_by(pair.c.target, pair.c.id).limit(size)
        for offset in range(num_raters):
            chosen = list(w.execute(fewest).scalars())
            w.update(pair, pair.c.id.in_(chosen), target=pair.c.target + 1)
            sided = sided_for_need(chosen, *assignment.planned_sides(w, chosen))
            assignment.store_block(w, row, number + offset, "planned", sided)
        data = {"raters": num_raters, "votes": num_raters * size}
        note(w, study_id, store.stamp(), "raters added", data)
    return num_raters * size


def _draft(w: Writing, study_id: str) -> Row[Any]:
    row = studies.locked(w, study_id, for_update=True)
    if row.status != "draft":
        raise StudyError(
            f"The study is {row.status}, and its design is frozen. Build a new study to change it."
        )
    return row


def _running(w: Writing, study_id: str) -> Row[Any]:
    row = studies.locked(w, study_id, for_update=True)
    if row.status not in ("open", "paused"):
        raise StudyError(f"The study is {row.status}. Only an open or paused study allows this.")
    return row


def _main_pairs(study_id: str) -> Select[tuple[int]]:
    kept = (pair.c.study_id == study_id, pair.c.kind == "main", pair.c.struck.is_(None))
    return select(pair.c.id).where(*kept)


def _step(store: Store, study_id: str, before: str, after: str) -> None:
    with store.database.write() as w:
        row = studies.locked(w, study_id, for_update=True)
        if row.status != before:
            raise StudyError(f"The study is {row.status}. This needs a study that is {before}.")
        w.update(study, study.c.id == study_id, status=after)
        note(w, study_id, store.stamp(), after, {})
