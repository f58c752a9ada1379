"""What a form asks of a new study, turned into a recipe: every arm found, every field filled in."""

import re
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.evaluation.request import check_prompts
from rocm.runs.adapters import RUN, Arm, check_fit, check_same_model, find_arm
from rocm.storage.files import make_folder, write_atomic
from rocm.study.design.recipe import QUESTIONS, Consent, Recipe, num_check_prompts

TYPED = "typed"
CONSENT = tuple(Consent.model_fields)
PLAIN = (
    "title", "seed", "comparisons", "seeds_per_prompt", "votes_per_pair", "main_per_rater",
    "checks_per_rater", "repeats_per_rater", "practice", "lease_minutes", "min_check_share",
    "min_median_ms", "allow_skip", "peeking", "instructions", "pays",
    "completion_url", "screen_out_url",
)  # fmt: skip


@dataclass(frozen=True)
class Wish:
    """The fields of the form; those of `PLAIN` and of the consent are named as in a recipe.

    Attributes:
        title: that raters read.
        arms: `base`, `run:ID`, or adapter folders.
        comparisons: `all` or `paper-figure-3`.
        prompt_set: of `Prompts`, or `typed`.
        num_prompts: analysed prompts of a set; typed ones are all taken.
        prompts: typed, one per line.
        prompt_source: folder or file of a set's lists.
        seed: of everything.
        seeds_per_prompt: pictures of each arm by prompt.
        num_inference_steps: N, of all arms.
        guidance_scale: of all arms.
        rewards: measured on every picture.
        questions: keys of the usual ones.
        allow_tie: whether no preference is an answer.
        allow_skip: whether raters may leave a pair unjudged.
        votes_per_pair: distinct raters.
        main_per_rater: analysed pairs of a rater.
        checks_per_rater: pairs with a known answer.
        repeats_per_rater: pairs shown again.
        practice: pairs to begin with.
        lease_minutes: how long an open pair is held.
        min_check_share: of a rater's checks that must be right; who has fewer is left out.
        min_median_ms: answers below it are flagged.
        peeking: `hidden` or `evidence`.
        instructions: shown before the first pair.
        pays: whether outside ids are kept, to pay.
        completion_url: where raters go at the end, or empty.
        screen_out_url: where those go who decline, or empty.
        version: of the consent text.
        text: of consent.
        contact: whom raters write to.
        min_age: from which one may take part.
        ethics: reference of the approval, or why there is none.
        pay: what raters get.
        retention: how long votes are kept.
    """

    title: str
    arms: tuple[str, ...]
    comparisons: str
    prompt_set: str
    num_prompts: Any
    prompts: str
    prompt_source: str
    seed: Any
    seeds_per_prompt: Any
    num_inference_steps: Any
    guidance_scale: Any
    rewards: tuple[str, ...]
    questions: tuple[str, ...]
    allow_tie: bool
    allow_skip: bool
    votes_per_pair: Any
    main_per_rater: Any
    checks_per_rater: Any
    repeats_per_rater: Any
    practice: Any
    lease_minutes: Any
    min_check_share: Any
    min_median_ms: Any
    peeking: str
    instructions: str
    pays: bool
    completion_url: str
    screen_out_url: str
    version: str
    text: str
    contact: str
    min_age: str
    ethics: str
    pay: str
    retention: str


WISHES = tuple(field.name for field in fields(Wish))


def recipe_of(wish: Wish, home: Path) -> Recipe:
    """The recipe that a form asks for.

    Args:
        wish: the form's fields.
        home: folder of runs; typed prompts are kept below its `studies`.

    Returns:
        A recipe that can be built.

    Raises:
        RocmError: a field that is missing or not allowed, or an arm that is not there.
    """
    _check_filled_in(wish)
    whole = {name: getattr(wish, name) for name in PLAIN}
    asked = [one for one in QUESTIONS if one.key in wish.questions]
    if not asked:
        raise ConfigError("No question is chosen. Choose one at least.")
    whole |= {
        "arms": _arms(wish, home / "runs"),
        "rewards": wish.rewards,
        "questions": [{**one.model_dump(), "allow_tie": wish.allow_tie} for one in asked],
        "primary_question": "overall" if "overall" in wish.questions else asked[0].key,
        "consent": {name: getattr(wish, name) for name in CONSENT},
    }
    # The prompts come last: a file is written only for a recipe that is right otherwise.
    Recipe.load(whole | {"prompts": {"num": _num_prompts(wish)}})
    return Recipe.load(whole | {"prompts": _prompts(wish, home)})


def _check_filled_in(wish: Wish) -> None:
    if not wish.title.strip():
        raise ConfigError("The title is missing. Write what raters are to read, naming no arm.")
    for name in CONSENT:
        if not (getattr(wish, name) or "").strip():
            words = str(Consent.model_fields[name].description)
            raise ConfigError(f"Consent, {name.replace('_', ' ')}, is not filled in. {words}")


def _arms(wish: Wish, runs: Path) -> list[dict[str, Any]]:
    if len(wish.arms) < 2:
        raise ConfigError("A study compares two arms or more. Choose them.")
    arms = [find_arm(name, runs) for name in wish.arms]
    model = check_same_model(arms, "")
    for arm in arms:
        if arm.folder:
            check_fit(arm, arm.folder, model)
    names = _names(arms, wish.comparisons != "all")
    return [
        _arm_values(arm, name, asked, model) | _drawing(wish)
        for arm, name, asked in zip(arms, names, wish.arms, strict=True)
    ]


def _drawing(wish: Wish) -> dict[str, Any]:
    return {
        "num_inference_steps": wish.num_inference_steps,
        "guidance_scale": wish.guidance_scale,
    }


def _arm_values(arm: Arm, name: str, asked: str, model: str) -> dict[str, Any]:
    config = arm.config or RunConfig()
    values = {"name": name, "adapter": asked if asked.startswith(RUN) else arm.folder}
    values |= {"model": model, "grid": config.grid}
    return values | (
        {"method": config.algorithm, "reward": config.reward} if arm.folder and arm.config else {}
    )


def _names(arms: list[Arm], by_reward: bool) -> list[str]:
    """A name for each arm: its label, or, for the paper's Figure 3, method and reward."""
    names: list[str] = []
    for arm in arms:
        config = arm.config if by_reward else None
        words = f"{config.algorithm}-{config.reward}" if config else arm.label
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", words).strip("-._")[:50] or "arm"
        taken = sum(name == stem or name.startswith(f"{stem}--") for name in names)
        names.append(f"{stem}--{taken + 1}" if taken else stem)
    return names


def _extra(wish: Wish) -> int:
    """Prompts that practice and checks take for themselves."""
    return int(wish.practice or 0) + num_check_prompts(int(wish.checks_per_rater or 0))


def _typed(wish: Wish) -> tuple[str, ...]:
    return check_prompts([line for line in wish.prompts.splitlines() if line.strip()])


def _num_prompts(wish: Wish) -> Any:
    if wish.prompt_set != TYPED:
        return wish.num_prompts
    num, extra = len(_typed(wish)), _extra(wish)
    if num <= extra:
        raise ConfigError(
            f"Practice and checks take {extra} prompts of their own, and {num} are typed. Type "
            "more, or lower practice and checks."
        )
    return num - extra


def _prompts(wish: Wish, home: Path) -> dict[str, Any]:
    values = {"set": wish.prompt_set, "num": _num_prompts(wish)}
    if wish.prompt_set in ("paper", "offline"):
        return values | {"folder": wish.prompt_source.strip()}
    if wish.prompt_set == "file":
        return values | {"file": wish.prompt_source.strip()}
    if wish.prompt_set != TYPED:
        return values
    text = "\n".join(_typed(wish)) + "\n"
    folder = home / "studies" / "prompts"
    file = folder / f"{sha256(text.encode()).hexdigest()[:16]}.txt"
    make_folder(folder)
    write_atomic(file, text)
    return {"set": "file", "num": _num_prompts(wish), "file": str(file.resolve())}
