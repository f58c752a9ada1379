"""The values of the Study page's form turned into a recipe."""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.evaluation.request import check_prompts
from rocm.runs.adapters import RUN, Adapter, check_fit, check_same_model, find_adapter
from rocm.storage.files import make_folder, write_atomic
from rocm.study.design.recipe import QUESTIONS, Consent, Prompts, Recipe, num_check_prompts
from rocm.study.store.blocks import MIN_GAP

TYPED = "typed"
# What stands in for answers that change no size while they are missing.
TEXTS = ("title", "instructions", *(f"consent.{name}" for name in Consent.model_fields))
UNFINISHED = dict.fromkeys(TEXTS, "---") | {
    "consent.min_age": 0,
    "completion_url": "",
    "screen_out_url": "",
}


@dataclass(frozen=True)
class Size:
    """A size of a form that the number of pairs bounds: what is wanted, and what fits now."""

    wanted: int
    shown: int

    def follow(self, given: int, most: int) -> "Size":
        """The size after the form has `given`: another value than the shown one is wanted now."""
        wanted = self.wanted if given == self.shown else given
        return Size(wanted, min(wanted, most))


def form_recipe(values: dict[str, Any], home: Path) -> Recipe:
    """The recipe of a filled-in form; RocmError if a field is not allowed or an arm does not exist.

    `values` are by the recipe's field, with a dot in parts: `consent.text`. `arms` are adapters'
    names, `questions` are keys, `prompts.source` is the folder or file; `prompts.set` may be
    `typed`, with `prompts.typed`; `allow_tie` and `arms.NAME` go for all questions and arms.
    """
    checked, typed = _checked(values, home)
    if not typed:
        return checked
    # Typed prompts are written only for a recipe that is valid otherwise.
    text = "\n".join(typed) + "\n"
    file = home / "studies" / "prompts" / f"{sha256(text.encode()).hexdigest()[:16]}.txt"
    make_folder(file.parent)
    write_atomic(file, text)
    prompts = {"num": checked.prompts.num, "set": "file", "file": str(file.resolve())}
    return checked.model_copy(update={"prompts": Prompts.model_validate(prompts)})


def sized_recipe(
    values: dict[str, Any], home: Path, sizes: tuple[Size, Size]
) -> tuple[Recipe, tuple[Size, Size]]:
    """The recipe of a form whose texts may be missing, and its sizes, which fit its prompts.

    `sizes` are pairs and repeats per rater, as the form showed them last. Nothing is written.
    RocmError as `form_recipe`.
    """
    given = values["main_per_rater"], values["repeats_per_rater"]
    if None in given:  # which says that it is missing
        return _checked(values | UNFINISHED, home)[0], sizes
    smallest = {"main_per_rater": 1, "repeats_per_rater": 0}
    free, _ = _checked(values | UNFINISHED | smallest, home)
    main = sizes[0].follow(given[0], free.num_pairs)
    repeats = sizes[1].follow(given[1], max(0, main.shown - MIN_GAP))
    fitting = {"main_per_rater": main.shown, "repeats_per_rater": repeats.shown}
    return Recipe.load(free.model_dump() | fitting), (main, repeats)


def _checked(values: dict[str, Any], home: Path) -> tuple[Recipe, list[str]]:
    """The recipe, and its typed prompts, which are not in a file yet."""
    recipe: dict[str, Any] = {"prompts": {}, "consent": {}}
    shared: dict[str, Any] = {}
    for name, value in values.items():
        part, _, key = name.rpartition(".")
        target = shared if part == "arms" else recipe[part] if part else recipe
        target[key] = value.strip() if isinstance(value, str) else value
    chosen = recipe["questions"] or []
    questions = [question for question in QUESTIONS if question.key in chosen]
    if not questions:
        raise ConfigError("No question is chosen. Choose at least one.")
    allow_tie = recipe.pop("allow_tie")
    recipe["questions"] = [{**asked.model_dump(), "allow_tie": allow_tie} for asked in questions]
    recipe["primary_question"] = "overall" if "overall" in chosen else questions[0].key
    recipe["arms"] = _arms(recipe["arms"] or [], shared, recipe["comparisons"], home / "runs")
    prompts, typed = _prompts(recipe["prompts"], recipe)
    return Recipe.load(recipe | {"prompts": prompts}), typed


def _arms(names: list[str], shared: dict[str, Any], comparisons: str, runs: Path) -> Any:
    if len(names) < 2:
        raise ConfigError("A study compares at least two arms. Choose more arms.")
    arms = [find_adapter(name, runs) for name in names]
    model = check_same_model(arms, "")
    for arm in arms:
        if arm.folder:
            check_fit(arm, arm.folder, model)
    rows = []
    for arm, given, name in zip(
        arms, names, _arm_names(arms, comparisons == "paper-figure-3"), strict=True
    ):
        config = arm.config or RunConfig()
        row = {"name": name, "adapter": given if given.startswith(RUN) else arm.folder}
        row |= {"model": model, "grid": config.grid} | shared
        if arm.folder and arm.config:
            row |= {"method": config.algorithm, "reward": config.reward}
        rows.append(row)
    return rows


def _arm_names(arms: list[Adapter], by_reward: bool) -> list[str]:
    """Unique names: the labels, or, for the paper's Figure 3, method and reward."""
    names: list[str] = []
    for arm in arms:
        config = arm.config if by_reward else None
        label = f"{config.algorithm}-{config.reward}" if config else arm.label
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-._")[:50] or "arm"
        taken = sum(name == stem or name.startswith(f"{stem}--") for name in names)
        names.append(f"{stem}--{taken + 1}" if taken else stem)
    return names


def _prompts(given: dict[str, Any], recipe: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The recipe's prompts, and the typed ones, which are not in a file yet."""
    source, typed_text, kind = given["source"] or "", given["typed"] or "", given["set"]
    if kind != TYPED:
        key = {"file": "file", "own": ""}.get(kind, "folder")
        chosen = {"set": kind, "num": given["num"], "split": given.get("split", "all")}
        return chosen | ({key: source} if key else {}), []
    typed = list(check_prompts([line for line in typed_text.splitlines() if line.strip()]))
    extra = int(recipe["practice"] or 0) + num_check_prompts(int(recipe["checks_per_rater"] or 0))
    if len(typed) <= extra:
        raise ConfigError(
            f"{len(typed)} prompts are typed, but practice and checks already use {extra}. Type "
            "more prompts, or lower practice and checks."
        )
    return {"num": len(typed) - extra}, typed
