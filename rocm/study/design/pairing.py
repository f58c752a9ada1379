"""Noise, pairs and attention checks of a study whose pictures are drawn."""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from PIL import Image
from sqlalchemy import Row, select

from rocm.study.design.recipe import Recipe
from rocm.study.store.pictures import Pictures, damaged
from rocm.study.store.store import Store
from rocm.study.store.studies import rows_of
from rocm.study.store.tables import arm, image, pair, prompt

Rows = Sequence[Row[Any]]
SECOND_SEED = "seed_offset"
"""Setting of a twin: what is added to the noise seed of its pictures."""


def arms_and_prompts(store: Store, study_id: str) -> tuple[Rows, Rows]:
    """Arms and prompts of a study, in the order in which they were stored."""
    with store.database.read() as connection:
        return rows_of(connection, arm, study_id), rows_of(connection, prompt, study_id)


def is_twin(row: Row[Any]) -> bool:
    """Whether an arm of a draft draws another seed of an arm, for pairs within it."""
    return SECOND_SEED in json.loads(row.params_json or "{}")


def noise_seeds(recipe: Recipe, number: int, text: str) -> list[int]:
    """Noise seeds below 2**48 of prompt `number`, the same for every arm; one if extra."""
    num = recipe.seeds_per_prompt if number < recipe.prompts.num else 1
    return [_drawn(f"{recipe.seed}|{k}|{text}") for k in range(num)]


def checked_arm(arms: Rows, seed: int, text: str) -> int:
    """Id of the arm that a check shows; it varies by prompt: a fixed one would become known."""
    compared: list[int] = sorted(
        row.id for row in arms if row.role == "compared" and not is_twin(row)
    )
    return compared[_drawn(f"{seed}|check|{text}") % len(compared)]


def _drawn(seed: str) -> int:
    """A number below 2**48, the same with every version of every library."""
    return int.from_bytes(sha256(seed.encode()).digest()[:6], "big")


def add_damaged(store: Store, pictures: Pictures, study_id: str, recipe: Recipe) -> None:
    """Make the damaged copy of an arm's picture for each check."""
    arms, prompts = arms_and_prompts(store, study_id)
    copies = next((row for row in arms if row.role == "damaged"), None)
    if copies is None:
        return
    with store.database.read() as connection:
        images = connection.execute(
            select(image).where(image.c.study_id == study_id).order_by(image.c.prompt_id)
        ).all()
    done = {(row.prompt_id, row.seed) for row in images if row.arm_id == copies.id}
    first_check = recipe.prompts.num + recipe.practice
    checked = {row.id: checked_arm(arms, recipe.seed, row.text) for row in prompts[first_check:]}
    for row in images:
        if row.arm_id != checked.get(row.prompt_id) or (row.prompt_id, row.seed) in done:
            continue
        with Image.open(pictures.file(row.picture_id)) as original:
            copy = damaged(original, row.seed)
        picture_id, hashed = pictures.add(copy)
        names = ("study_id", "prompt_id", "seed", "width", "height")
        kept = {name: getattr(row, name) for name in names}
        with store.database.write() as w:
            w.insert(image, arm_id=copies.id, picture_id=picture_id, sha256=hashed, **kept)


def add_pairs(store: Store, study_id: str, recipe: Recipe) -> None:
    """Store the pairs that are not stored yet: analyzed, practice, checks."""
    arms, prompts = arms_and_prompts(store, study_id)
    ids = {row.name: row.id for row in arms}
    compared = [tuple(sorted((ids[a], ids[b]))) for a, b in recipe.compared()]
    within = [tuple(sorted((ids[a], ids[b]))) for a, b in recipe.twins().items()]
    first_check = recipe.prompts.num + recipe.practice
    wanted: list[tuple[str, int, tuple[int, ...]]] = []
    for number, text in enumerate(prompts):
        if number < recipe.prompts.num:
            wanted += [("main", number, two) for two in compared + within]
        elif number < first_check:
            two = compared[(number - recipe.prompts.num) % len(compared)]
            wanted.append(("practice", number, two))
        else:
            original = checked_arm(arms, recipe.seed, text.text)
            wanted.append(("check", number, (original, ids["damaged"])))
    with store.database.write() as w:
        images = {
            (row.arm_id, row.prompt_id, row.seed): row.id
            for row in rows_of(w.connection, image, study_id)
        }
        stored = {(row.image_a, row.image_b) for row in rows_of(w.connection, pair, study_id)}
        rows = [
            {
                "study_id": study_id,
                "prompt_id": prompts[number].id,
                "seed": seed,
                "arm_a": a,
                "arm_b": b,
                "image_a": images[a, prompts[number].id, seed],
                "image_b": images[b, prompts[number].id, seed],
                "kind": kind,
                "expected": "a" if kind == "check" else None,
                "target": recipe.votes_per_pair if kind == "main" else None,
                "issued": 0,
            }
            for kind, number, (a, b) in wanted
            for seed in noise_seeds(recipe, number, prompts[number].text)
        ]
        w.insert_many(pair, [row for row in rows if (row["image_a"], row["image_b"]) not in stored])
