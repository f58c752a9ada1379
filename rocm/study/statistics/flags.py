"""Unusual behavior of raters, for a person to look at. A flag excludes nobody.

Flags with a p-value ask for less than 0.001, so that 30 honest raters and four such tests give a
false flag in about one study of ten.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rocm.study.statistics.agreement import Share, repeat_consistency, side_bias
from rocm.study.statistics.votes import Floats, Votes, Words

FASTEST_MS = 800
"""Answers below it are counted as fast, where a manifest says nothing."""
MANY_FAST = 0.3
RARE = 0.001
FEWEST_CHECKS = 2
CHECKS_RIGHT = 0.75


@dataclass(frozen=True)
class RaterReport:
    """One rater's votes in figures, and one sentence per unusual figure.

    `fast` counts answers under `min_median_ms`, `majority` decided votes that agree with the
    majority of the others, `longest_run` answers for one side, or ties.
    """

    rater: int
    num_votes: int
    num_excluded: int
    median_s: float | None
    fast: Share
    unseen: Share
    left: Share
    longest_run: int
    checks: Share
    repeats: Share
    majority: Share
    flags: tuple[str, ...]


def rater_reports(votes: Votes, fastest_ms: int = FASTEST_MS) -> list[RaterReport]:
    """One report per rater, by number, from all votes about one question, also excluded ones."""
    votes = votes.where(votes.kind != "practice")
    opinions = votes.opinions()
    with_majority = _against_others(opinions)
    reports = [
        _report(
            votes.where(votes.rater == rater), with_majority[opinions.rater == rater], fastest_ms
        )
        for rater in np.unique(votes.rater)
    ]
    usual = {
        name: _total([getattr(report, name) for report in reports]).share or 0.0
        for name in ("repeats", "majority")
    }
    return [replace(one, flags=tuple(_flags(one, usual, fastest_ms))) for one in reports]


def _total(shares: Sequence[Share]) -> Share:
    return Share(sum(one.count for one in shares), sum(one.total for one in shares))


def _against_others(opinions: Votes) -> Floats:
    """1 or 0 per vote: with or against the majority of the other votes on its pair; else NaN."""
    signs = 2 * opinions.scores - 1
    pairs, row = np.unique(opinions.pair, return_inverse=True)
    others = np.bincount(row, signs, minlength=len(pairs))[row] - signs
    agree: Floats = (np.sign(others) == signs).astype(float)
    agree[(signs == 0) | (others == 0)] = np.nan
    return agree


def _report(votes: Votes, with_majority: Floats, fastest_ms: int) -> RaterReport:
    """One rater's figures, without flags."""
    opinions = votes.opinions()
    times = opinions.rt_ms[~np.isnan(opinions.rt_ms)]
    checks = votes.where(votes.kind == "check")
    valid = with_majority[~np.isnan(with_majority)]
    return RaterReport(
        rater=int(votes.rater[0]),
        num_votes=len(opinions),
        num_excluded=int(opinions.excluded.sum()),
        median_s=float(np.median(times)) / 1000 if len(times) else None,
        fast=Share(int((times < fastest_ms).sum()), len(times)),
        unseen=Share(int(opinions.unseen.sum()), len(opinions)),
        left=side_bias(opinions),
        longest_run=_longest_run(_sides(opinions)),
        checks=Share(int((checks.choice == checks.expected).sum()), len(checks)),
        repeats=repeat_consistency(votes),
        majority=Share(int(valid.sum()), len(valid)),
        flags=(),
    )


def _sides(votes: Votes) -> Words:
    """What was clicked: "left", "right" or "tie"."""
    left = votes.choice == votes.left_is
    return np.where(votes.choice == "tie", "tie", np.where(left, "left", "right"))


def _longest_run(sides: Words) -> int:
    if not len(sides):
        return 0
    starts = np.flatnonzero(np.concatenate([[True], sides[1:] != sides[:-1], [True]]))
    return int(np.diff(starts).max())


def _flags(rater: RaterReport, usual: Mapping[str, float], fastest_ms: int) -> list[str]:
    """Sentences about what is unusual; `usual` are shares over all raters."""
    flags, limit = [], fastest_ms / 1000
    if rater.fast.share is not None and rater.fast.share > MANY_FAST:
        flags.append(f"{rater.fast.share:.0%} of the answers took less than {limit:g} s.")
    if rater.unseen.share is not None and rater.unseen.share > MANY_FAST:
        flags.append(
            f"{rater.unseen.share:.0%} of the pairs were never shown, or for less than "
            f"{limit:g} s by the server's clock."
        )
    if rater.left.p_value is not None and rater.left.p_value < RARE:
        flags.append(f"{rater.left.share:.0%} of the decided votes went to the left picture.")
    # n starts of a run that repeats the same of two sides: an upper bound for fair coins.
    if rater.num_votes * 0.5 ** (rater.longest_run - 1) < RARE:
        flags.append(f"{rater.longest_run} answers in a row were the same side or ties.")
    if (
        rater.checks.total >= FEWEST_CHECKS
        and rater.checks.count < CHECKS_RIGHT * rater.checks.total
    ):
        flags.append(f"{rater.checks.count} of {rater.checks.total} attention checks were right.")
    for share, normal, words in (
        (rater.repeats, usual["repeats"], "repeats got the same answer"),
        (rater.majority, usual["majority"], "decided votes agree with the others' majority"),
    ):
        if _is_below(share, normal):
            flags.append(f"{share.count} of {share.total} {words}; usual here is {normal:.0%}.")
    return flags


def _is_below(share: Share, usual: float) -> bool:
    """Whether so few would be rare for a rater of the study's usual share."""
    if not share.total:
        return False
    from scipy.stats import binomtest

    return bool(binomtest(share.count, share.total, usual, alternative="less").pvalue < RARE)
