"""What a study will take and can tell, said before it opens: power, raters, minutes, cost."""

import math
from dataclasses import dataclass

from sqlalchemy import func, select

from rocm.errors import StudyError
from rocm.study.statistics.power import NUM_SIMULATIONS, Power, Workload, power, workload
from rocm.study.statistics.simulate import Design, Utility
from rocm.study.store.store import Store
from rocm.study.store.tables import pair

SECONDS_PER_PAIR = 20.0


@dataclass(frozen=True)
class Plan:
    """A design and what it takes; plain data, to be simulated in any process.

    Attributes:
        sizes: pairs of each comparison.
        votes: of every pair.
        num_raters: that the design needs.
        work: what a rater does, and what all cost.
        seconds_per_pair: for all questions about one pair.
        pay_per_hour: in any currency.
    """

    sizes: tuple[int, ...]
    votes: int
    num_raters: int
    work: Workload
    seconds_per_pair: float
    pay_per_hour: float

    def simulate(self, num_simulations: int = NUM_SIMULATIONS) -> list[Power]:
        """What the smallest comparison, which tells least, would find at several true scores."""
        one = Design(min(self.sizes), self.num_raters, self.votes)
        return power(one, len(self.sizes), Utility(), num_simulations=num_simulations)

    def words(self) -> str:
        """Pairs, raters, minutes and pay in one sentence or two."""
        pay = f" Pay of {self.pay_per_hour:g} an hour: {self.work.cost:.2f} in all."
        return (
            f"{sum(self.sizes)} pairs in {len(self.sizes)} comparisons, {self.votes} votes each: "
            f"{self.num_raters} raters, {self.work.trials_per_rater} pairs and about "
            f"{self.work.minutes_per_rater:.0f} minutes each at {self.seconds_per_pair:g} s a pair."
            f"{pay if self.pay_per_hour else ''}"
        )

    def assumptions(self, num_simulations: int = NUM_SIMULATIONS) -> str:
        """What the simulation stands on."""
        assumed = Utility()
        return (
            f"{num_simulations} simulated studies a row, {min(self.sizes)} pairs a comparison; "
            f"spread {assumed.prompt_sd:g} over prompts, {assumed.rater_sd:g} over raters"
        )


def planned(
    store: Store,
    study_id: str,
    seconds_per_pair: float = SECONDS_PER_PAIR,
    pay_per_hour: float = 0.0,
) -> Plan:
    """What a study's design takes.

    Args:
        store: of the study.
        study_id: built, whether open or not.
        seconds_per_pair: for all questions about one pair, > 0.
        pay_per_hour: in any currency, >= 0.

    Returns:
        The plan, not simulated yet.

    Raises:
        StudyError: no pair is left, or a number is out of its bounds.
    """
    design = store.study(study_id).config["design"]
    sizes = _pairs_by_comparison(store, study_id)
    if not sizes:
        raise StudyError(f"Study {study_id} has no pair that would be voted on. Build it first.")
    votes = int(design["votes_per_pair"])
    num_pairs = sum(sizes)
    num_raters = max(math.ceil(num_pairs * votes / design["main_per_rater"]), votes)
    extra = design["repeats_per_rater"] + design["checks_per_rater"]
    whole = Design(num_pairs, num_raters, votes, num_repeats=extra)
    work = workload(whole, 1, seconds_per_pair, pay_per_hour)
    return Plan(sizes, votes, num_raters, work, seconds_per_pair, pay_per_hour)


def outlook(
    store: Store,
    study_id: str,
    seconds_per_pair: float = SECONDS_PER_PAIR,
    pay_per_hour: float = 0.0,
    num_simulations: int = NUM_SIMULATIONS,
) -> str:
    """What a study's design takes, and what it would find at several true scores.

    Args:
        store: of the study.
        study_id: built, whether open or not.
        seconds_per_pair: for all questions about one pair, > 0.
        pay_per_hour: in any currency, >= 0.
        num_simulations: simulated studies for each true score.

    Returns:
        Lines of text.

    Raises:
        StudyError: no pair is left, or a number is out of its bounds.
    """
    plan = planned(store, study_id, seconds_per_pair, pay_per_hour)
    lines = [
        plan.words(),
        f"What it finds ({plan.assumptions(num_simulations)}):",
        "true score  interval leaves out 50 %  sign test after Holm  width of the interval",
    ]
    lines += [
        f"{row.score:10.0%}  {row.interval:24.0%}  {row.sign_test:20.0%}  {row.width:.0%}"
        for row in plan.simulate(num_simulations)
    ]
    return "\n".join(lines)


def _pairs_by_comparison(store: Store, study_id: str) -> tuple[int, ...]:
    """How many pairs of each comparison will be voted on."""
    with store.database.read() as connection:
        rows = connection.execute(
            select(func.count())
            .where(pair.c.study_id == study_id, pair.c.kind == "main", pair.c.struck.is_(None))
            .group_by(pair.c.arm_a, pair.c.arm_b)
        ).all()
    return tuple(int(row[0]) for row in rows)
