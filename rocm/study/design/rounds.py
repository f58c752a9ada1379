"""The studies that follow a study: a further round of votes, and the last one on test prompts."""

import re
from typing import Any

from rocm.study.design.prompts import largest_num
from rocm.study.design.recipe import Recipe, num_check_prompts
from rocm.study.store.blocks import MIN_GAP

CANDIDATES = 3
"""Pairs that are drawn for each that is picked."""
MAX_SEEDS = 16
NOT_PICKED = "not picked for this round"
ROUND = re.compile(r"(.+), round (\d+)")


def next_recipe(recipe: Recipe) -> Recipe:
    """A study like another one, with the next seed and several times its pairs to pick from."""
    known = ROUND.fullmatch(recipe.title)
    title = f"{known[1]}, round {int(known[2]) + 1}" if known else f"{recipe.title}, round 2"
    num = min(CANDIDATES * recipe.seeds_per_prompt, MAX_SEEDS)
    prompts = recipe.prompts.model_dump() | {"split": "training"}
    drawn = {"seeds_per_prompt": num, "prompts": prompts}
    return _changed(recipe, title=title[-200:], seed=recipe.seed + 1, **drawn)


def last_recipe(
    recipe: Recipe, arms: list[dict[str, Any]], rewards: tuple[str, ...] = ()
) -> Recipe:
    """The study of other arms, every two of them compared, on prompts of the test part.

    It has as many prompts as the study before, or all of a smaller test part.
    """
    prompts = recipe.prompts.model_copy(update={"split": "test"})
    num_extra = recipe.practice + num_check_prompts(recipe.checks_per_rater)
    num = largest_num(prompts, num_extra) or prompts.num  # too few: building it says so
    num_pairs = num * len(arms) * (len(arms) - 1) // 2
    main = min(recipe.main_per_rater, num_pairs)
    return _changed(
        recipe,
        arms=arms,
        rewards=rewards,
        prompts=prompts.model_dump() | {"num": num},
        comparisons="all",
        within_arms=False,
        seeds_per_prompt=1,
        main_per_rater=main,
        repeats_per_rater=min(recipe.repeats_per_rater, max(0, main - MIN_GAP)),
    )


def _changed(recipe: Recipe, **changed: Any) -> Recipe:
    return Recipe.load(recipe.model_dump() | changed)
