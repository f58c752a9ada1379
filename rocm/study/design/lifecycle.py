"""From draft to closed: strike pairs, freeze and open, pause, resume, add raters, close."""

import json
import secrets
from typing import Any

from sqlalchemy import Row, select

from rocm.errors import StudyError
from rocm.study.design.manifest import canonical, digest, key, manifest
from rocm.study.store import assignment, studies
from rocm.study.store.blocks import balanced_blocks, sided_for_need
from rocm.study.store.database import Writing
from rocm.study.store.store import Store
from rocm.study.store.tables import event, image, pair, prompt, question, study, trial


def create(store: Store, study_id: str, config: dict[str, Any]) -> None:
    """Make a draft.

    Args:
        store: of the votes.
        study_id: 12 hexadecimal digits.
        config: what is planned (docs/study.md): title, seed, is_demo, questions, design, consent.
    """
    with store.database.write() as w:
        insert_draft(w, study_id, config, store.stamp())


def insert_draft(w: Writing, study_id: str, config: dict[str, Any], created_at: str) -> None:
    """As `create`, within a transaction."""
    w.insert(
        study,
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
        w.insert(
            question,
            study_id=study_id,
            key=asked["key"],
            text=asked["text"],
            show_prompt=int(asked["show_prompt"]),
            allow_tie=int(asked["allow_tie"]),
            position=position,
        )


def pairs(store: Store, study_id: str) -> list[Row[Any]]:
    """Every pair of a study: id, kind, struck, text, picture_a, picture_b, in order."""
    a, b = image.alias("a"), image.alias("b")
    statement = (
        select(pair.c.id, pair.c.kind, pair.c.struck, prompt.c.text)
        .add_columns(a.c.picture_id.label("picture_a"), b.c.picture_id.label("picture_b"))
        .join(prompt, prompt.c.id == pair.c.prompt_id)
        .join(a, a.c.id == pair.c.image_a)
        .join(b, b.c.id == pair.c.image_b)
        .where(pair.c.study_id == study_id)
        .order_by(pair.c.id)
    )
    with store.database.read() as connection:
        return list(connection.execute(statement).all())


def strike(store: Store, study_id: str, pair_id: int, reason: str | None) -> None:
    """Leave a pair out, both pictures together, before the study opens.

    Args:
        store: of the votes.
        study_id: a draft.
        pair_id: of the study.
        reason: up to 500 characters, kept in the manifest; None takes the pair in again.

    Raises:
        StudyError: the study is frozen, the pair is not of it, or the reason is empty or too long.
    """
    if reason is not None and not 1 <= len(reason.strip()) <= 500:
        raise StudyError("A pair is struck with a reason, 1 to 500 characters. Write one.")
    with store.database.write() as w:
        _draft(w, study_id)
        mine = (pair.c.id == pair_id, pair.c.study_id == study_id)
        if not w.update(pair, *mine, struck=reason and reason.strip()):
            raise StudyError(f"Pair {pair_id} is not of study {study_id}.")


def open_study(store: Store, study_id: str) -> str:
    """Freeze a draft, plan every rater's work, and let raters in.

    Args:
        store: of the votes.
        study_id: a draft with its pictures.

    Returns:
        sha256 of the manifest.

    Raises:
        StudyError: not a draft, or too few pairs for what a rater is to judge.
    """
    with store.database.write() as w:
        row = _draft(w, study_id)
        pairs = _main_pairs(w, study_id)
        numbers = assignment.design(row)
        if len(pairs) < numbers["main_per_rater"]:
            raise StudyError(
                f"The study has {len(pairs)} pairs, but a rater is to judge "
                f"{numbers['main_per_rater']} different ones. Build more, or lower main_per_rater."
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
        blocks = balanced_blocks(
            pairs, row.votes_per_pair, numbers["main_per_rater"], f"{row.seed}/{study_id}"
        )
        first = assignment.next_number(
            w, assignment.block, study_id
        )  # pilots of the draft have some
        for number, sided in enumerate(blocks, start=first):
            assignment.store_block(w, row, number, "planned", sided)
        _note(w, store, study_id, "opened", {"blocks": len(blocks)})
    return str(row.config_sha256)


def pause(store: Store, study_id: str) -> None:
    """Give out no more trials; those that are open can still be answered."""
    _step(store, study_id, "open", "paused")


def resume(store: Store, study_id: str) -> None:
    """Give out trials again."""
    _step(store, study_id, "paused", "open")


def close(store: Store, study_id: str) -> None:
    """End a study for good: no trial, no vote; open trials expire."""
    with store.database.write() as w:
        row = studies.locked(w, study_id, for_update=True)
        if row.status not in ("open", "paused"):
            raise StudyError(f"The study is {row.status}; only one that is open can be closed.")
        gone = w.update(
            trial, trial.c.study_id == study_id, trial.c.state == "issued", state="expired"
        )
        assignment.give_back(w, assignment.counted_pairs(w, gone))
        w.update(study, study.c.id == study_id, status="closed", closed_at=store.stamp())
        _note(w, store, study_id, "closed", {"expired": len(gone)})


def add_raters(store: Store, study_id: str, num_raters: int) -> int:
    """Plan work for more raters than the design had: their pairs get one more place each.

    The manifest stays; the change is an event, which every export repeats.

    Args:
        store: of the votes.
        study_id: open or paused.
        num_raters: 1 to 1,000.

    Returns:
        Votes that the study collects more.

    Raises:
        StudyError: not running, or no such number.
    """
    if not 1 <= num_raters <= 1000:
        raise StudyError(f"{num_raters} raters cannot be added at once: give 1 to 1000.")
    with store.database.write() as w:
        row = studies.locked(w, study_id, for_update=True)
        if row.status not in ("open", "paused"):
            raise StudyError(f"The study is {row.status}; raters are added to one that runs.")
        size: int = assignment.design(row)["main_per_rater"]
        number = assignment.next_number(w, assignment.block, study_id)
        for offset in range(num_raters):
            fewest = (
                select(pair.c.id)
                .where(pair.c.study_id == study_id, pair.c.kind == "main", pair.c.struck.is_(None))
                .order_by(pair.c.target, pair.c.id)
                .limit(size)
            )
            chosen = list(w.execute(fewest).scalars())
            w.update(pair, pair.c.id.in_(chosen), target=pair.c.target + 1)
            sided = sided_for_need(chosen, *assignment.planned_sides(w, chosen))
            assignment.store_block(w, row, number + offset, "planned", sided)
        _note(
            w, store, study_id, "raters added", {"raters": num_raters, "votes": num_raters * size}
        )
    return num_raters * size


def _draft(w: Writing, study_id: str) -> Row[Any]:
    row = studies.locked(w, study_id, for_update=True)
    if row.status != "draft":
        raise StudyError(
            f"The study is {row.status}, and so frozen. Build another one for another design."
        )
    return row


def _main_pairs(w: Writing, study_id: str) -> list[int]:
    unstruck = (
        select(pair.c.id)
        .where(pair.c.study_id == study_id, pair.c.kind == "main", pair.c.struck.is_(None))
        .order_by(pair.c.id)
    )
    return list(w.execute(unstruck).scalars())


def _step(store: Store, study_id: str, before: str, after: str) -> None:
    with store.database.write() as w:
        row = studies.locked(w, study_id, for_update=True)
        if row.status != before:
            raise StudyError(f"The study is {row.status}; only one that is {before} can do that.")
        w.update(study, study.c.id == study_id, status=after)
        _note(w, store, study_id, after, {})


def _note(w: Writing, store: Store, study_id: str, kind: str, data: dict[str, Any]) -> None:
    w.insert(event, study_id=study_id, at=store.stamp(), kind=kind, data_json=json.dumps(data))
