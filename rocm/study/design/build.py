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

from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingFile, StudyError
from rocm.generation.picture import Picture
from rocm.generation.queue import DrawingQueue
from rocm.runs.run_dir import RunDir
from rocm.storage.files import make_folder, write_atomic
from rocm.storage.paths import find_folder
from rocm.study.design import lifecycle
from rocm.study.design.manifest import canonical, digest
from rocm.study.design.pairing import add_damaged, add_pairs, arms_and_prompts, noise_seeds
from rocm.study.design.prompts import Sample, sample
from rocm.study.design.recipe import Arm, Recipe, num_check_prompts
from rocm.study.store import studies
from rocm.study.store.database import Writing
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store
from rocm.study.store.tables import arm, image, prompt, score

WEIGHTS = "pytorch_lora_weights.safetensors"
BATCH = 64  # pictures of one request, so that others who draw meanwhile get their turn


@dataclass(frozen=True)
class Build:
    """What a build works with.

    Attributes:
        home: folder of runs; drawings lie under `studies/` until they are stored.
        store: of the votes.
        pictures: of all studies.
        queue: that draws.
        say: gets a line now and then.
        on_request: gets the number of each request to the queue before it is waited for.
        on_picture: gets how many pictures are stored, and of how many.
    """

    home: Path
    store: Store
    pictures: Pictures
    queue: DrawingQueue
    say: Callable[[str], None]
    on_request: Callable[[int], None] = lambda number: None
    on_picture: Callable[[int, int], None] = lambda done, total: None


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
    study_id = begin(work.home, work.store, recipe)
    finish(work, study_id, recipe)
    return study_id


def begin(home: Path, store: Store, recipe: Recipe) -> str:
    """Check a recipe, store its draft and the recipe itself; draw nothing yet.

    Args:
        home: folder of runs.
        store: of the votes.
        recipe: what the study is.

    Returns:
        Id of the study.

    Raises:
        StudyError: a study of this recipe has been opened already.
        RocmError: a model, adapter or prompt list is missing.
    """
    study_id, arms = identified(home, recipe)
    known = {one.study_id: one.status for one in store.studies()}
    if known.get(study_id, "draft") != "draft":
        raise StudyError(
            f"Study {study_id} of this recipe is {known[study_id]} already. For another one, "
            "change its title or seed."
        )
    if study_id not in known:
        _begin(store, study_id, recipe, arms)
    kept = recipe_file(home, study_id)
    make_folder(kept.parent)
    write_atomic(kept, recipe.text())
    return study_id


def finish(work: Build, study_id: str, recipe: Recipe) -> None:
    """Draw what is missing of a draft, and pair it.

    Args:
        work: where and with what.
        study_id: of the draft.
        recipe: that it was begun with.

    Raises:
        RocmError: drawing failed or was cancelled, or the disk is full; what is drawn is kept.
    """
    _draw(work, study_id, recipe)
    work.store.study(study_id)  # deleted by somebody else meanwhile
    add_damaged(work.store, work.pictures, study_id)
    add_pairs(work.store, study_id, recipe)


def identified(home: Path, recipe: Recipe) -> tuple[str, list[dict[str, Any]]]:
    """The id of a recipe's study, with the compared arms as `resolved` has them.

    Args:
        home: folder of runs.
        recipe: what the study is.

    Returns:
        12 hexadecimal digits, which change with an adapter's file, and the arms.

    Raises:
        MissingFile: a model, run or adapter is not there.
    """
    names = {name for two in recipe.compared() for name in two}
    arms = [
        {**resolved(home, one), "place": place}
        for place, one in enumerate(recipe.arms)
        if one.name in names
    ]
    return digest([recipe.model_dump(mode="json"), arms])[:12], arms


def recipe_file(home: Path, study_id: str) -> Path:
    """Where the recipe of a study that was begun in this home is kept."""
    return home / "studies" / study_id / "study.yaml"


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
                "beta": config.beta,
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
    num_checks = num_check_prompts(recipe.checks_per_rater)
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


def num_pictures(store: Store, study_id: str, recipe: Recipe) -> int:
    """How many pictures a draft's compared arms draw in all."""
    arms, prompts = arms_and_prompts(store, study_id)
    compared: int = sum(one.role == "compared" for one in arms)
    seeds = [noise_seeds(recipe, number, one.text) for number, one in enumerate(prompts)]
    return compared * sum(len(one) for one in seeds)


def _wanted(store: Store, study_id: str, recipe: Recipe) -> list[Wanted]:
    """Pictures that are not stored yet."""
    arms, prompts = arms_and_prompts(store, study_id)
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
    total = num_pictures(work.store, study_id, recipe)
    before = total - len(wanted)
    work.on_picture(before, total)
    for first in range(0, len(wanted), BATCH):
        batch = wanted[first : first + BATCH]
        drawn = _drawn(work, study_id, batch, recipe.rewards)
        for count, (number, file, scores) in enumerate(drawn, start=before + first + 1):
            _keep(work, study_id, batch[number], file, scores)
            work.on_picture(count, total)
        work.say(f"{study_id}: {first + len(batch)} of {len(wanted)} drawn")


def _drawn(
    work: Build, study_id: str, batch: list[Wanted], rewards: tuple[str, ...]
) -> Iterator[tuple[int, Path, dict[str, float]]]:
    folder = work.home / "studies" / study_id / "drawn"
    number = work.queue.submit([one.picture for one in batch], folder, rewards)
    work.on_request(number)
    yield from work.queue.results(number)


def _keep(work: Build, study_id: str, one: Wanted, file: Path, scores: dict[str, float]) -> None:
    """Store one picture; the drawn file, whose metadata names the adapter, is deleted."""
    with Image.open(file) as drawn:
        drawn.load()
    picture_id, hashed = work.pictures.add(drawn)
    with work.store.database.write() as w:
        studies.locked(w, study_id)  # a draft that was deleted meanwhile takes no picture
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
