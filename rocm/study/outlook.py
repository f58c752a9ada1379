"""What a study will take and can tell, said before it opens: power, raters, minutes, cost."""

import math

from sqlalchemy import func, select

from rocm.errors import StudyError
from rocm.study.power import NUM_SIMULATIONS, power, workload
from rocm.study.simulate import Design, Utility
from rocm.study.store import Store
from rocm.study.tables import pair

SECONDS_PER_PAIR = 20.0


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
    # The smallest comparison tells least.
    one = Design(min(sizes), num_raters, votes)
    assumed = Utility()
    found = power(one, len(sizes), assumed, num_simulations=num_simulations)
    pay = f" Pay of {pay_per_hour:g} an hour: {work.cost:.2f} in all." if pay_per_hour else ""
    lines = [
        f"{num_pairs} pairs in {len(sizes)} comparisons, {votes} votes each: {num_raters} raters, "
        f"{work.trials_per_rater} pairs and about {work.minutes_per_rater:.0f} minutes each at "
        f"{seconds_per_pair:g} s a pair.{pay}",
        f"What it finds ({num_simulations} simulated studies a row, {min(sizes)} pairs a "
        f"comparison; spread {assumed.prompt_sd:g} over prompts, {assumed.rater_sd:g} over "
        "raters):",
        "true score  interval leaves out 50 %  sign test after Holm  width of the interval",
    ]
    lines += [
        f"{row.score:10.0%}  {row.interval:24.0%}  {row.sign_test:20.0%}  {row.width:.0%}"
        for row in found
    ]
    return "\n".join(lines)


def _pairs_by_comparison(store: Store, study_id: str) -> list[int]:
    """How many pairs of each comparison will be voted on."""
    with store.database.read() as connection:
        rows = connection.execute(
            select(func.count())
            .where(pair.c.study_id == study_id, pair.c.kind == "main", pair.c.struck.is_(None))
            .group_by(pair.c.arm_a, pair.c.arm_b)
        ).all()
    return [int(row[0]) for row in rows]
