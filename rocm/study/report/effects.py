"""What an administrator may know of votes before the results: flags, and widths of intervals.

Nothing here says which arm is ahead.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from rocm.study.statistics.flags import FASTEST_MS, rater_reports
from rocm.study.statistics.power import width_when_complete
from rocm.study.statistics.simulate import Design
from rocm.study.statistics.votes import Votes
from rocm.study.store.rows import is_reportable
from rocm.study.store.store import Store


@dataclass(frozen=True)
class Widths:
    """Width of the headline interval of the comparison that is known least, about the primary
    question, as the votes so far foretell it; None where they are too few to tell.

    Attributes:
        now: with the raters and votes so far.
        planned: when the design is complete.
        more: with more raters.
    """

    now: float | None
    planned: float | None
    more: float | None


def num_flagged(store: Store, study_id: str) -> int:
    """How many raters have something unusual about them, pilots and withdrawn ones apart."""
    votes = _primary(store, study_id)
    fastest_ms = store.study(study_id).config.get("min_median_ms", FASTEST_MS)
    return sum(bool(one.flags) for one in rater_reports(votes, fastest_ms)) if len(votes) else 0


def widths(store: Store, study_id: str, num_planned: int, num_more: int) -> Widths:
    """What closing now, going on, and more raters make of the intervals.

    Args:
        store: of the votes.
        study_id: of the study.
        num_planned: raters that the design takes, at least 1.
        num_more: raters besides.

    Returns:
        The widths, as shares of 1.
    """
    votes = _primary(store, study_id).kept().opinions()
    votes_per_pair = store.study(study_id).votes_per_pair
    parts = [votes.where(votes.comparison == name) for name in set(votes.comparison.tolist())]
    foretold = []
    for part in parts:
        num_pairs = len(set(part.pair.tolist()))
        num_raters = len(set(part.rater.tolist()))
        whole = Design(num_pairs, num_planned, votes_per_pair)
        grown = votes_per_pair * (num_planned + num_more) / num_planned
        designs = (
            replace(whole, num_raters=num_raters, votes_per_pair=max(1, len(part) // num_pairs)),
            whole,
            replace(whole, num_raters=num_planned + num_more, votes_per_pair=max(1, round(grown))),
        )
        foretold.append([width_when_complete(part, one) for one in designs])
    return Widths(*(_widest(one) for one in zip(*foretold, strict=True))) if foretold else NOTHING


NOTHING = Widths(None, None, None)


def _widest(found: Iterable[float | None]) -> float | None:
    known = list(found)
    return None if None in known else max(one for one in known if one is not None)


def _primary(store: Store, study_id: str) -> Votes:
    """Votes about the primary question, without those of pilots and those taken back."""
    primary = store.study(study_id).config.get("primary_question", "overall")
    kept = (one for one in store.votes(study_id) if is_reportable(one) and one.question == primary)
    return Votes.from_rows({**vars(one), "expected": one.expected or ""} for one in kept)
