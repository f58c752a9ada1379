"""Cost and power of a study, before it opens: raters, minutes, pay, and what it can detect."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from rocm.errors import StudyError
from rocm.storage.numbers import number, quantity
from rocm.study.design.recipe import Recipe
from rocm.study.statistics.power import (
    INTRODUCTION_MINUTES,
    NUM_SIMULATIONS,
    Power,
    Workload,
    power,
    workload,
)
from rocm.study.statistics.simulate import Design, Utility
from rocm.study.store.rows import twin_arms
from rocm.study.store.store import Store
from rocm.study.store.tables import pair

SECONDS_PER_PAIR = 20.0


@dataclass(frozen=True)
class StudyCost:
    """What a design costs; plain data, whose power can be simulated in any process."""

    sizes: tuple[int, ...]  # number of pairs of each comparison
    num_within: int  # pairs within arms
    votes: int  # of every pair
    num_raters: int  # that the design needs
    work: Workload  # of one rater, and the total pay
    seconds_per_pair: float  # for all questions about a pair
    pay_per_hour: float  # in any currency

    @property
    def smallest(self) -> Design:
        """The design of the smallest comparison, which has the least power."""
        return Design(min(self.sizes), self.num_raters, self.votes)

    def power(self, num_simulations: int = NUM_SIMULATIONS) -> list[Power]:
        """Power of the smallest comparison at several true scores."""
        return power(self.smallest, len(self.sizes), Utility(), num_simulations=num_simulations)

    def words(self) -> str:
        """Pairs, raters, minutes and pay in a sentence or two."""
        pay = f" Total pay at {number(self.pay_per_hour, 2)} per hour: {number(self.work.cost, 2)}."
        within = f" and {quantity(self.num_within, 'pair')} within arms" if self.num_within else ""
        return (
            f"{quantity(sum(self.sizes), 'pair')} in {quantity(len(self.sizes), 'comparison')}"
            f"{within}, each judged {quantity(self.votes, 'time')}, by "
            f"{quantity(self.num_raters, 'rater')}. A rater judges "
            f"{quantity(self.work.trials_per_rater, 'pair')}, repeats and checks included, in "
            f"about {number(self.work.minutes_per_rater, 0)} min at "
            f"{number(self.seconds_per_pair, 0)} s per pair, {number(INTRODUCTION_MINUTES, 0)} min "
            f"of them before the first pair.{pay if self.pay_per_hour else ''}"
        )

    def assumptions(self, num_simulations: int = NUM_SIMULATIONS) -> str:
        """What the simulation assumes."""
        assumed = Utility()
        return (
            f"{num_simulations} simulated studies per row, {min(self.sizes)} pairs per comparison; "
            f"spread {number(assumed.prompt_sd, 2)} over prompts, {number(assumed.rater_sd, 2)} "
            "over raters"
        )


def study_cost(
    store: Store,
    study_id: str,
    seconds_per_pair: float = SECONDS_PER_PAIR,
    pay_per_hour: float = 0.0,
) -> StudyCost:
    """The cost of a built study, for seconds > 0 per pair and pay >= 0 in any currency."""
    design = store.study(study_id).config["design"]
    sizes_by_comparison = (
        select(pair.c.arm_a, pair.c.arm_b, func.count().label("num"))
        .where(pair.c.study_id == study_id, pair.c.kind == "main", pair.c.struck.is_(None))
        .group_by(pair.c.arm_a, pair.c.arm_b)
    )
    with store.database.read() as connection:
        twins = twin_arms(connection, study_id)
        found = list(connection.execute(sizes_by_comparison))
    within = sum(row.num for row in found if {row.arm_a, row.arm_b} & twins)
    sizes = tuple(int(row.num) for row in found if not {row.arm_a, row.arm_b} & twins)
    if not sizes:
        raise StudyError(f"Study {study_id} has no pairs to vote on. Build it first.")
    return _cost(sizes, within, design, (seconds_per_pair, pay_per_hour))


def recipe_cost(
    recipe: Recipe, seconds_per_pair: float = SECONDS_PER_PAIR, pay_per_hour: float = 0.0
) -> StudyCost:
    """The cost of a study before it is built; arguments and errors as those of `study_cost`."""
    per_comparison = recipe.prompts.num * recipe.seeds_per_prompt
    sizes = (per_comparison,) * len(recipe.compared())
    num_within = per_comparison * len(recipe.twins())
    return _cost(sizes, num_within, recipe.model_dump(), (seconds_per_pair, pay_per_hour))


def _cost(
    sizes: tuple[int, ...], num_within: int, design: Mapping[str, Any], pace: tuple[float, float]
) -> StudyCost:
    votes, (seconds_per_pair, pay_per_hour) = int(design["votes_per_pair"]), pace
    num_pairs = sum(sizes) + num_within
    num_raters = max(math.ceil(num_pairs * votes / design["main_per_rater"]), votes)
    extra = design["repeats_per_rater"] + design["checks_per_rater"]
    whole = Design(num_pairs, num_raters, votes, num_repeats=extra)
    work = workload(whole, 1, seconds_per_pair, pay_per_hour)
    return StudyCost(sizes, num_within, votes, num_raters, work, *pace)


def cost_and_power(cost: StudyCost, num_simulations: int = NUM_SIMULATIONS) -> str:
    """Lines of text: the cost, and the power at several true scores."""
    lines = [
        cost.words(),
        f"Power ({cost.assumptions(num_simulations)}):",
        "true score  interval excludes 50 %  significant after Holm  interval width",
    ]
    lines += [
        f"{100 * row.score:8.0f} %  {100 * row.interval:20.0f} %  {100 * row.holm:20.0f} %"
        f"  {100 * row.width:.0f} points"
        for row in cost.power(num_simulations)
    ]
    return "\n".join(lines)
