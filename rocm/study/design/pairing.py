"""Noise, pairs and attention checks of a study whose pictures are drawn."""

import json
from hashlib import sha256
from typing import Any

from PIL import Image
from sqlalchemy import Row, select

from rocm.study.design.recipe import Recipe
from rocm.study.store.pictures import Pictures, damaged
from rocm.study.store.store import Store
from rocm.study.store.tables import arm, image, pair, prompt, study


def arms_and_prompts(store: Store, study_id: str) -> tuple[list[Row[Any]], list[Row[Any]]]:
    """Arms and prompts of a study, in the order in which they were stored."""
    with store.database.read() as connection:
        arms = connection.execute(
            select(arm).where(arm.c.study_id == study_id).order_by(arm.c.id)
        ).all()
        prompts = connection.execute(
            select(prompt).where(prompt.c.study_id == study_id).order_by(prompt.c.id)
        ).all()
    return list(arms), list(prompts)


def noise_seeds(recipe: Recipe, number: int, text: str) -> list[int]:
    """Seeds of the noise of a study's prompt, the same for every arm, below 2**48.

    Args:
        recipe: of the study.
        number: of the prompt; those after the analysed ones, for practice and checks, get one.
        text: of the prompt.

    Returns:
        One seed, or `seeds_per_prompt`.
    """
    num = recipe.seeds_per_prompt if number < recipe.prompts.num else 1
    return [
        int.from_bytes(sha256(f"{recipe.seed}|{k}|{text}".encode()).digest()[:6], "big")
        for k in range(num)
    ]


def _extra(recipe: Recipe, prompts: list[Row[Any]]) -> tuple[list[Row[Any]], list[Row[Any]]]:
    """Prompts of practice pairs, and of checks; they follow the analysed ones."""
    after = prompts[recipe.prompts.num :]
    return after[: recipe.practice], after[recipe.practice :]


def checked_arm(arms: list[Row[Any]], seed: int, text: str) -> int:
    """Id of the compared arm whose picture a check shows beside its damaged copy.

    Another one by prompt: if it were always the first, a rater who recognises a check would know
    which arm drew it.

    Args:
        arms: of the study.
        seed: of the study.
        text: the check's prompt.

    Returns:
        The id.
    """
    compared: list[int] = sorted(one.id for one in arms if one.role == "compared")
    digest = sha256(f"{seed}|check|{text}".encode()).digest()
    return compared[int.from_bytes(digest[:6], "big") % len(compared)]


def add_damaged(store: Store, pictures: Pictures, study_id: str) -> None:
    """Make the damaged copy of an arm's picture for each check."""
    arms, _ = arms_and_prompts(store, study_id)
    spoilt = next((one for one in arms if one.role == "damaged"), None)
    if spoilt is None:
        return
    with store.database.read() as connection:
        config = json.loads(
            connection.execute(
                select(study.c.config_json).where(study.c.id == study_id)
            ).scalar_one()
        )
        images = connection.execute(
            select(image).where(image.c.study_id == study_id).order_by(image.c.prompt_id)
        ).all()
    done = {(one.prompt_id, one.seed) for one in images if one.arm_id == spoilt.id}
    _, prompts = arms_and_prompts(store, study_id)
    checked = {
        one.id: checked_arm(arms, config["seed"], one.text)
        for one in prompts[config["prompt_set"]["num"] + config["design"]["practice"] :]
    }
    for one in images:
        if one.arm_id != checked.get(one.prompt_id):
            continue
        if (one.prompt_id, one.seed) not in done:
            with Image.open(pictures.file(one.picture_id)) as whole:
                copy = damaged(whole, one.seed)
            picture_id, hashed = pictures.add(copy)
            kept = {
                name: getattr(one, name)
                for name in ("study_id", "prompt_id", "seed", "width", "height")
            }
            with store.database.write() as w:
                w.insert(image, arm_id=spoilt.id, picture_id=picture_id, sha256=hashed, **kept)


def add_pairs(store: Store, study_id: str, recipe: Recipe) -> None:
    """Store the pairs that are not stored yet: analysed, practice, checks."""
    arms, prompts = arms_and_prompts(store, study_id)
    ids = {one.name: one.id for one in arms}
    practice, checks = _extra(recipe, prompts)
    compared = [tuple(sorted((ids[one], ids[other]))) for one, other in recipe.compared()]
    wanted = [("main", one, two) for one in prompts[: recipe.prompts.num] for two in compared]
    wanted += [
        ("practice", one, compared[number % len(compared)]) for number, one in enumerate(practice)
    ]
    wanted += [
        ("check", one, (checked_arm(arms, recipe.seed, one.text), ids["damaged"])) for one in checks
    ]
    numbers = {one.id: number for number, one in enumerate(prompts)}
    with store.database.write() as w:
        images = {
            (one.arm_id, one.prompt_id, one.seed): one.id
            for one in w.execute(select(image).where(image.c.study_id == study_id))
        }
        have = {
            (one.image_a, one.image_b)
            for one in w.execute(select(pair).where(pair.c.study_id == study_id))
        }
        rows = [
            {
                "study_id": study_id,
                "prompt_id": one.id,
                "seed": seed,
                "arm_a": a,
                "arm_b": b,
                "image_a": images[a, one.id, seed],
                "image_b": images[b, one.id, seed],
                "kind": kind,
                "expected": "a" if kind == "check" else None,
                "target": recipe.votes_per_pair if kind == "main" else None,
                "issued": 0,
            }
            for kind, one, (a, b) in wanted
            for seed in noise_seeds(recipe, numbers[one.id], one.text)
        ]
        w.insert_many(pair, [row for row in rows if (row["image_a"], row["image_b"]) not in have])
