"""What may be known before the results, not which arm is ahead: flagged raters, interval widths."""

from dataclasses import dataclass, replace

from rocm.study.statistics.flags import FASTEST_MS, rater_reports
from rocm.study.statistics.power import width_when_complete
from rocm.study.statistics.simulate import Design
from rocm.study.statistics.votes import Votes
from rocm.study.store.rows import is_reportable
from rocm.study.store.store import Store


@dataclass(frozen=True)
class Widths:
    """Predicted widths of the widest headline interval, shares of 1; None with too few votes."""

    now: float | None  # with the raters and votes so far
    planned: float | None  # when the design is complete
    more: float | None  # with additional raters


def num_flagged(store: Store, study_id: str) -> int:
    """Number of flagged raters, without pilots and raters who withdrew."""
    votes = _primary_votes(store, study_id)
    fastest_ms = store.study(study_id).config.get("min_median_ms", FASTEST_MS)
    reports = rater_reports(votes, fastest_ms) if len(votes) else []
    return sum(bool(report.flags) for report in reports)


def widths(store: Store, study_id: str, num_planned: int, num_more: int) -> Widths:
    """Widths if the study closes now, is completed by `num_planned` >= 1, or `num_more` raters."""
    votes = _primary_votes(store, study_id).kept().opinions()
    votes_per_pair = store.study(study_id).votes_per_pair
    predicted = []
    for name in set(votes.comparison.tolist()):
        part = votes.where(votes.comparison == name)
        num_pairs = len(set(part.pair.tolist()))
        num_raters = len(set(part.rater.tolist()))
        whole = Design(num_pairs, num_planned, votes_per_pair)
        grown = votes_per_pair * (num_planned + num_more) / num_planned
        designs = (
            replace(whole, num_raters=num_raters, votes_per_pair=max(1, len(part) // num_pairs)),
            whole,
            replace(whole, num_raters=num_planned + num_more, votes_per_pair=max(1, round(grown))),
        )
        predicted.append([width_when_complete(part, design) for design in designs])
    if not predicted:
        return Widths(None, None, None)
    return Widths(*(_widest(column) for column in zip(*predicted, strict=True)))


def _widest(column: tuple[float | None, ...]) -> float | None:
    known = [width for width in column if width is not None]
    return max(known) if len(known) == len(column) else None


def _primary_votes(store: Store, study_id: str) -> Votes:
    """Votes on the primary question, without those of pilots and withdrawn raters."""
    primary = store.study(study_id).config.get("primary_question", "overall")
    votes = (v for v in store.votes(study_id) if is_reportable(v) and v.question == primary)
    return Votes.from_rows(vars(vote) for vote in votes)
