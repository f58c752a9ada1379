"""From study.yaml to a draft with all its pictures: drawn over the drawing queue, resumable.

A study's id is a hash of its recipe. A picture is in the database only once its file is there.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from PIL import Image
from sqlalchemy import Row, select

from rocm.config.objective import AUTO
from rocm.errors import ConfigError, MissingFile, StudyError
from rocm.generation.picture import Picture
from rocm.generation.queue import DrawingQueue
from rocm.rewards.preference_files import check_base
from rocm.runs.adapters import RUN, find_adapter, fingerprint
from rocm.storage.files import make_folder, write_atomic
from rocm.storage.paths import find_folder
from rocm.study.design import lifecycle
from rocm.study.design.lineage import lineage_of
from rocm.study.design.manifest import canonical, digest
from rocm.study.design.pairing import (
    SECOND_SEED,
    add_damaged,
    add_pairs,
    arms_and_prompts,
    is_twin,
    noise_seeds,
)
from rocm.study.design.prompts import sample
from rocm.study.design.recipe import Recipe, StudyArm, num_check_prompts
from rocm.study.store import studies
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store
from rocm.study.store.tables import arm, image, prompt, score

Scores = dict[str, float]
DRAWN_ELSEWHERE = "Another process draws this study. Wait until it has finished, or end it there."
BATCH = 64  # pictures of one request, so that other drawings get their turn
DRAWN_WITH = (
    "model", "adapter", "num_inference_steps", "guidance_scale", "grid", "adapter_strength",
)  # fmt: skip


@dataclass(frozen=True)
class Build:
    """What a build works with."""

    home: Path  # folder of runs; drawings lie in `studies/` until they are stored
    store: Store  # of the votes
    pictures: Pictures  # of all studies
    queue: DrawingQueue  # that draws
    say: Callable[[str], None] = lambda line: None  # called with a line of progress
    # called with the number of each request before it is waited for
    on_request: Callable[[int], None] = lambda number: None
    # called with the number of stored pictures and the total
    on_picture: Callable[[int, int], None] = lambda done, total: None


@dataclass(frozen=True)
class MissingPicture:
    """A picture that is still to be drawn."""

    arm_id: int
    prompt_id: int
    seed: int  # of the pair; a twin's picture is drawn with another one
    picture: Picture


def build(work: Build, recipe: Recipe) -> str:
    """Make a draft with every picture and pair, or resume it: `begin`, then `finish`."""
    study_id = begin(work.home, work.store, recipe)
    finish(work, study_id, recipe)
    return study_id


def begin(home: Path, store: Store, recipe: Recipe) -> str:
    """Check a recipe, store its draft and the recipe itself, without drawing; returns the id."""
    study_id, arms = identified(home, recipe)
    for values in arms:
        check_base(recipe.rewards, values["model"])
    statuses = {study.study_id: study.status for study in store.studies()}
    if statuses.get(study_id, "draft") != "draft":
        raise StudyError(
            f"Study {study_id} of this recipe is {statuses[study_id]} already. Change the title or "
            "seed to build another one."
        )
    if study_id not in statuses:
        _insert(store, study_id, recipe, arms)
    file = recipe_file(home, study_id)
    make_folder(file.parent)
    write_atomic(file, recipe.text())
    return study_id


def finish(work: Build, study_id: str, recipe: Recipe) -> None:
    """Draw the missing pictures of a draft, and pair them; an error keeps finished pictures."""
    with drawing(work.home, study_id):
        _draw(work, study_id, recipe)
        work.store.study(study_id)  # raises if the draft was deleted meanwhile
        add_damaged(work.store, work.pictures, study_id, recipe)
        add_pairs(work.store, study_id, recipe)


@contextmanager
def drawing(home: Path, study_id: str) -> Iterator[None]:
    """Keep other processes from drawing a study; may be entered again.

    Raises StudyError while another process draws it.
    """
    make_folder(recipe_file(home, study_id).parent)
    try:
        lock = _lock(home, study_id).acquire(timeout=5)
    except Timeout as error:
        raise StudyError(DRAWN_ELSEWHERE) from error
    with lock:
        yield


def is_drawn_elsewhere(home: Path, study_id: str) -> bool:
    """Whether another process draws a study."""
    if not Path(_lock(home, study_id).lock_file).exists():
        return False
    try:
        _lock(home, study_id).acquire(timeout=0.1).lock.release()
    except Timeout:
        return True
    return False


def _lock(home: Path, study_id: str) -> FileLock:
    file = recipe_file(home, study_id).with_name("drawing.lock")
    return FileLock(file, thread_local=False, is_singleton=True)


def identified(home: Path, recipe: Recipe) -> tuple[str, list[dict[str, Any]]]:
    """Id of a study (12 hexadecimal digits; an adapter's file changes it), arms `resolved`."""
    compared = {name for pair in recipe.compared() for name in pair}
    arms = [
        {**resolved(home, arm), "place": place}
        for place, arm in enumerate(recipe.arms)
        if arm.name in compared
    ]
    return digest([recipe.identity(), arms])[:12], arms


def recipe_file(home: Path, study_id: str) -> Path:
    """Where the recipe of a study that was begun in this home is kept."""
    return home / "studies" / study_id / "study.yaml"


def resolved(home: Path, given: StudyArm) -> dict[str, Any]:
    """The arm as plain data, with the folder and sha256 of its adapter; MissingFile as above."""
    values = given.model_dump(mode="json")
    find_folder(given.model)
    try:
        adapter = find_adapter(given.adapter, home / "runs")
    except MissingFile as error:
        raise MissingFile(f"Arm {given.name}: {error}") from error
    folder = adapter.folder
    if adapter.run and adapter.config:
        if "@" not in given.adapter and given.adapter.startswith(RUN):
            folder = str(adapter.run.path / "adapter")  # as in the ids of earlier studies
        values |= {
            "method": given.method or adapter.config.algorithm,
            "reward": given.reward or adapter.config.reward,
            "beta": None if adapter.config.beta == AUTO else adapter.config.beta,
        }
        if lineage := lineage_of(adapter.run):
            values["lineage"] = lineage
    hashed = fingerprint(folder) if folder else None
    return {**values, "adapter": folder, "adapter_sha256": hashed}


def _insert(store: Store, study_id: str, recipe: Recipe, arms: list[dict[str, Any]]) -> None:
    """Store the draft, its prompts and its arms, whose codes are random and in random order."""
    num_checks = num_check_prompts(recipe.checks_per_rater)
    chosen = sample(recipe.prompts, recipe.practice + num_checks, recipe.seed)
    if "damaged" in [values["name"] for values in arms]:
        raise ConfigError("An arm cannot be called 'damaged'. Choose another name.")
    plan = recipe.plan() | {
        "prompt_set": {
            "name": recipe.prompts.set,
            "sha256": chosen.sha256,
            "blocked": chosen.num_blocked,
            "num": len(chosen.analyzed),
            **({} if recipe.prompts.split == "all" else {"split": recipe.prompts.split}),
        }
    }
    by_name = {values["name"]: values for values in arms}
    for place, (twin, name) in enumerate(recipe.twins().items(), start=len(recipe.arms) + 1):
        arms = [*arms, by_name[name] | {"name": twin, "place": place, SECOND_SEED: 1}]
    codes = {values["name"]: secrets.token_hex(4) for values in arms}
    if recipe.within_arms:
        plan["twins"] = {codes[twin]: codes[name] for twin, name in recipe.twins().items()}
    rows = [("compared", values) for values in sorted(arms, key=lambda _: secrets.token_hex(8))]
    if num_checks:
        damaged = {"name": "damaged", "method": "damaged", "place": len(recipe.arms)}
        rows.append(("damaged", damaged))
    with store.database.write() as w:
        lifecycle.insert_draft(w, study_id, plan, store.stamp())
        prompts = chosen.analyzed + chosen.extra
        w.insert_many(prompt, [{"study_id": study_id, **vars(row)} for row in prompts])
        for role, values in rows:
            told = {"name": values["name"], "method": values["method"]}
            told |= {"reward": values.get("reward", ""), "base_model": values.get("model", "")}
            told |= {"adapter_sha256": values.get("adapter_sha256")}
            code, params = codes.get(told["name"], secrets.token_hex(4)), canonical(values)
            w.insert(arm, study_id=study_id, code=code, role=role, params_json=params, **told)


def _missing(store: Store, study_id: str, recipe: Recipe) -> tuple[list[MissingPicture], int]:
    """Pictures that are not stored yet, and the number of all pictures of the compared arms."""
    arms, prompts = arms_and_prompts(store, study_id)
    columns = select(image.c.arm_id, image.c.prompt_id, image.c.seed)
    with store.database.read() as connection:
        stored = set(connection.execute(columns.where(image.c.study_id == study_id)).all())
    pictures = [
        MissingPicture(row.id, text.id, seed, _picture(row, text.text, seed))
        for row in arms
        if row.role == "compared"
        for number, text in enumerate(prompts[: recipe.prompts.num] if is_twin(row) else prompts)
        for seed in noise_seeds(recipe, number, text.text)
    ]
    missing = [p for p in pictures if (p.arm_id, p.prompt_id, p.seed) not in stored]
    return missing, len(pictures)


def _picture(row: Row[Any], text: str, seed: int) -> Picture:
    values = json.loads(row.params_json)
    seed += values.get(SECOND_SEED, 0)
    return Picture(text, seed, **{name: values[name] for name in DRAWN_WITH}).checked()


def _draw(work: Build, study_id: str, recipe: Recipe) -> None:
    missing, total = _missing(work.store, study_id, recipe)
    if missing:
        work.say(f"{study_id}: {len(missing)} pictures to draw")
    before = total - len(missing)
    work.on_picture(before, total)
    folder = work.home / "studies" / study_id / "drawn"
    for first in range(0, len(missing), BATCH):
        batch = missing[first : first + BATCH]
        request = work.queue.submit([item.picture for item in batch], folder, recipe.rewards)
        work.on_request(request)
        drawn = work.queue.results(request)
        for count, (index, file, scores) in enumerate(drawn, start=before + first + 1):
            _keep(work, study_id, batch[index], file, scores)
            work.on_picture(count, total)
        work.say(f"{study_id}: {first + len(batch)} of {len(missing)} drawn")


def _keep(work: Build, study_id: str, item: MissingPicture, file: Path, scores: Scores) -> None:
    """Store one picture; the drawn file, whose metadata names the adapter, is deleted."""
    with Image.open(file) as drawn:
        drawn.load()
    picture_id, hashed = work.pictures.add(drawn)
    with work.store.database.write() as w:
        studies.locked(w, study_id)  # a draft that was deleted meanwhile takes no picture
        of = {"arm_id": item.arm_id, "prompt_id": item.prompt_id, "seed": item.seed}
        size = {"width": drawn.width, "height": drawn.height}
        stored = {"picture_id": picture_id, "sha256": hashed, **of, **size}
        row = w.insert(image, study_id=study_id, **stored)
        values = [{"image_id": row.id, "reward": name, "value": v} for name, v in scores.items()]
        w.insert_many(score, values)
    file.unlink()
