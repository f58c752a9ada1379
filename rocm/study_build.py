"""From study.yaml to a draft with all its pictures: drawn over the drawing queue, resumable.

A study's id is a hash of its recipe, so the same command goes on where it was stopped. A picture is
in the database only once its file is there.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image
from sqlalchemy import Row, select

from rocm.config import RunConfig, find_folder
from rocm.drawing.picture import MAX_PICTURES, Picture
from rocm.drawing.queue import DrawingQueue
from rocm.errors import ConfigError, MissingFile, StudyError
from rocm.study import lifecycle
from rocm.study.database import Writing
from rocm.study.manifest import canonical, digest
from rocm.study.pictures import Pictures, damaged
from rocm.study.prompt_sets import Sample, sample
from rocm.study.recipe import Arm, Recipe
from rocm.study.store import Store
from rocm.study.tables import arm, image, pair, prompt, score, study
from rocm.training.run_dir import RunDir

WEIGHTS = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True)
class Build:
    """What a build works with.

    Attributes:
        home: folder of runs; drawings lie under `studies/` until they are stored.
        store: of the votes.
        pictures: of all studies.
        queue: that draws.
        say: gets a line now and then.
    """

    home: Path
    store: Store
    pictures: Pictures
    queue: DrawingQueue
    say: Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """A picture that is still to be drawn: of which arm and prompt, and how."""

    arm_id: int
    prompt_id: int
    picture: Picture


def build(work: Build, recipe: Recipe) -> str:
    """Make a draft, or go on with it.

    Args:
        work: where and with what.
        recipe: what the study is.

    Returns:
        Id of the study: a draft with every picture and pair.

    Raises:
        StudyError: a study of this recipe has been opened already.
        RocmError: a model, adapter or prompt list is missing; drawing failed.
    """
    names = {name for two in recipe.compared() for name in two}
    arms = [
        {**resolved(work.home, one), "place": place}
        for place, one in enumerate(recipe.arms)
        if one.name in names
    ]
    study_id = digest([recipe.model_dump(mode="json"), arms])[:12]
    known = {one.study_id: one.status for one in work.store.studies()}
    if known.get(study_id, "draft") != "draft":
        raise StudyError(
            f"Study {study_id} of this recipe is {known[study_id]} already. For another one, "
            "change its title or seed."
        )
    if study_id not in known:
        _begin(work.store, study_id, recipe, arms)
    _draw(work, study_id, recipe)
    _damage(work, study_id)
    _pair(work.store, study_id, recipe)
    return study_id


def resolved(home: Path, one: Arm) -> dict[str, Any]:
    """What an arm depends on, with hashes of its files.

    Args:
        home: folder of runs.
        one: as the recipe has it.

    Returns:
        Plain data: the arm, its adapter's folder and sha256.

    Raises:
        MissingFile: there is no such model, run or adapter.
    """
    values = one.model_dump(mode="json")
    find_folder(one.model)
    folder = ""
    if one.adapter.startswith("run:"):
        run = home / "runs" / Path(one.adapter.removeprefix("run:")).name
        folder = str(run / "adapter")
        if (run / "config.yaml").is_file():
            config: RunConfig = RunDir(run).config()
            values |= {
                "method": one.method or config.algorithm,
                "reward": one.reward or config.reward,
            }
    elif one.adapter:
        folder = str(find_folder(one.adapter))
    file = Path(folder) / WEIGHTS
    if folder and not file.is_file():
        raise MissingFile(f"arm {one.name}: there is no {WEIGHTS} in {folder}. Give its folder.")
    hashed = sha256(file.read_bytes()).hexdigest() if folder else None
    return {**values, "adapter": folder, "adapter_sha256": hashed}


def _begin(store: Store, study_id: str, recipe: Recipe, arms: list[dict[str, Any]]) -> None:
    """Store the draft, its prompts and its arms, whose codes are random and in random order."""
    num_checks = min(20, 2 * recipe.checks_per_rater)
    chosen = sample(recipe.prompts, recipe.practice + num_checks, recipe.seed)
    names = {one["name"] for one in arms}
    plan = recipe.plan() | {
        "prompt_set": {
            "name": recipe.prompts.set,
            "sha256": chosen.sha256,
            "blocked": chosen.num_blocked,
            "num": len(chosen.analysed),
        }
    }
    with store.database.write() as w:
        lifecycle.insert_draft(w, study_id, plan, store.stamp())
        _insert_prompts(w, study_id, chosen)
        damaged_arm = (
            {"name": "damaged", "method": "damaged", "place": len(recipe.arms)}
            if num_checks
            else None
        )
        if "damaged" in names:
            raise ConfigError("An arm may not be called 'damaged'. Choose another name.")
        shuffled = sorted(arms, key=lambda one: secrets.token_hex(8))
        for role, values in [("compared", one) for one in shuffled] + (
            [("damaged", damaged_arm)] if damaged_arm else []
        ):
            w.insert(
                arm,
                study_id=study_id,
                code=secrets.token_hex(4),
                role=role,
                name=values["name"],
                method=values["method"],
                reward=values.get("reward", ""),
                base_model=values.get("model", ""),
                adapter_sha256=values.get("adapter_sha256"),
                params_json=canonical(values),
            )


def _insert_prompts(w: Writing, study_id: str, chosen: Sample) -> None:
    w.insert_many(
        prompt, [{"study_id": study_id, **vars(one)} for one in chosen.analysed + chosen.extra]
    )


def _rows(store: Store, study_id: str) -> tuple[list[Row[Any]], list[Row[Any]]]:
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


def _wanted(store: Store, study_id: str, recipe: Recipe) -> list[Wanted]:
    """Pictures that are not stored yet."""
    arms, prompts = _rows(store, study_id)
    with store.database.read() as connection:
        have = set(
            connection.execute(
                select(image.c.arm_id, image.c.prompt_id, image.c.seed).where(
                    image.c.study_id == study_id
                )
            ).all()
        )
    return [
        Wanted(one.id, text.id, _picture(one, text.text, seed))
        for one in arms
        if one.role == "compared"
        for number, text in enumerate(prompts)
        for seed in noise_seeds(recipe, number, text.text)
        if (one.id, text.id, seed) not in have
    ]


def _picture(one: Row[Any], text: str, seed: int) -> Picture:
    values = json.loads(one.params_json)
    names = (
        "model",
        "adapter",
        "num_inference_steps",
        "guidance_scale",
        "grid",
        "adapter_strength",
    )
    return Picture(text, seed, **{name: values[name] for name in names}).checked()


def _draw(work: Build, study_id: str, recipe: Recipe) -> None:
    wanted = _wanted(work.store, study_id, recipe)
    if wanted:
        work.say(f"{study_id}: {len(wanted)} pictures to draw")
    for first in range(0, len(wanted), MAX_PICTURES):
        batch = wanted[first : first + MAX_PICTURES]
        for number, file, scores in _drawn(work, study_id, batch, recipe.rewards):
            _keep(work, study_id, batch[number], file, scores)
        work.say(f"{study_id}: {first + len(batch)} of {len(wanted)} drawn")


def _drawn(
    work: Build, study_id: str, batch: list[Wanted], rewards: tuple[str, ...]
) -> Iterator[tuple[int, Path, dict[str, float]]]:
    folder = work.home / "studies" / study_id / "drawn"
    number = work.queue.submit([one.picture for one in batch], folder, rewards)
    yield from work.queue.results(number)


def _keep(work: Build, study_id: str, one: Wanted, file: Path, scores: dict[str, float]) -> None:
    """Store one picture; the drawn file, whose metadata names the adapter, is deleted."""
    with Image.open(file) as drawn:
        drawn.load()
    picture_id, hashed = work.pictures.add(drawn)
    with work.store.database.write() as w:
        row = w.insert(
            image,
            study_id=study_id,
            arm_id=one.arm_id,
            prompt_id=one.prompt_id,
            seed=one.picture.seed,
            picture_id=picture_id,
            sha256=hashed,
            width=drawn.width,
            height=drawn.height,
        )
        w.insert_many(
            score,
            [
                {"image_id": row.id, "reward": name, "value": value}
                for name, value in scores.items()
            ],
        )
    file.unlink()


def _extra(recipe: Recipe, prompts: list[Row[Any]]) -> tuple[list[Row[Any]], list[Row[Any]]]:
    """Prompts of practice pairs, and of checks; they follow the analysed ones."""
    after = prompts[recipe.prompts.num :]
    return after[: recipe.practice], after[recipe.practice :]


def _damage(work: Build, study_id: str) -> None:
    """Make the damaged copy of the first arm's picture for each check."""
    arms, _ = _rows(work.store, study_id)
    spoilt = next((one for one in arms if one.role == "damaged"), None)
    if spoilt is None:
        return
    with work.store.database.read() as connection:
        config = json.loads(
            connection.execute(
                select(study.c.config_json).where(study.c.id == study_id)
            ).scalar_one()
        )
        first = min(one.id for one in arms if one.role == "compared")
        images = connection.execute(
            select(image).where(image.c.study_id == study_id).order_by(image.c.prompt_id)
        ).all()
    done = {(one.prompt_id, one.seed) for one in images if one.arm_id == spoilt.id}
    _, prompts = _rows(work.store, study_id)
    checked = {
        one.id for one in prompts[config["prompt_set"]["num"] + config["design"]["practice"] :]
    }
    for one in images:
        if one.arm_id != first or one.prompt_id not in checked:
            continue
        if (one.prompt_id, one.seed) not in done:
            with Image.open(work.pictures.file(one.picture_id)) as whole:
                copy = damaged(whole, one.seed)
            picture_id, hashed = work.pictures.add(copy)
            kept = {
                name: getattr(one, name)
                for name in ("study_id", "prompt_id", "seed", "width", "height")
            }
            with work.store.database.write() as w:
                w.insert(image, arm_id=spoilt.id, picture_id=picture_id, sha256=hashed, **kept)


def _pair(store: Store, study_id: str, recipe: Recipe) -> None:
    """Store the pairs that are not stored yet: analysed, practice, checks."""
    arms, prompts = _rows(store, study_id)
    ids = {one.name: one.id for one in arms}
    practice, checks = _extra(recipe, prompts)
    compared = [tuple(sorted((ids[one], ids[other]))) for one, other in recipe.compared()]
    first = min(one.id for one in arms if one.role == "compared")
    wanted = [("main", one, two) for one in prompts[: recipe.prompts.num] for two in compared]
    wanted += [
        ("practice", one, compared[number % len(compared)]) for number, one in enumerate(practice)
    ]
    wanted += [("check", one, (first, ids["damaged"])) for one in checks]
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
