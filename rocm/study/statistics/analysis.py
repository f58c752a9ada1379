"""All results of a study's votes, as one value without words or drawings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from rocm.errors import StudyError
from rocm.storage.numbers import quantity
from rocm.study.statistics import agreement
from rocm.study.statistics.agreement import Alpha, Share
from rocm.study.statistics.evidence import FEWEST_RATERS, Evidence, evidence
from rocm.study.statistics.flags import FASTEST_MS, RaterReport, rater_reports
from rocm.study.statistics.outcomes import CAREFUL, Outcome, by_category, outcomes
from rocm.study.statistics.ranking import Ranking, rank
from rocm.study.statistics.reward_agreement import (
    Agreement,
    BetaPoint,
    CurvePoint,
    Rewards,
    beta_curve,
    hacking_curve,
    reward_agreement,
)
from rocm.study.statistics.votes import Votes

MARKS = {
    "simulated": "SIMULATED: votes by simulated raters, no people",
    "demo": "DEMO: votes of a demonstration",
    "pilot": "PILOT: votes of a pilot, not for analysis",
}
"""What every output says of votes from such a source."""
MANY_LEFT_OUT = 0.2
"""Share of excluded raters above which a caution is shown."""
INTERIM = "INTERIM: the study is open; only the e-values may be looked at repeatedly"


@dataclass(frozen=True)
class Comparison:
    """Two arms that are compared; `beta` weights arm a's divergence, None if it has none."""

    name: str
    arm_a: str
    arm_b: str
    beta: float | None = None


@dataclass(frozen=True)
class StudyContext:
    """Facts from the manifest and the store that the votes do not hold, the primary question first.

    `prompts`, `design` and `exclusion_rules` are in words. Answers below `fastest_ms` are fast.
    `votes_head` ends the chain of votes; `num_chained_later` of them were chained later than made.
    `cautions` concern all figures. `links` lead from earlier votes to the arms that learned from
    them: words and sha256.
    """

    title: str
    manifest_sha256: str
    comparisons: tuple[Comparison, ...]
    questions: tuple[str, ...]
    prompts: str
    design: str = ""
    exclusion_rules: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    is_open: bool = False
    is_hidden_until_closed: bool = False
    num_skipped: int = 0
    num_withdrawn: int = 0
    fastest_ms: int = FASTEST_MS
    votes_head: str = ""
    num_chained_later: int = 0
    arm_betas: Mapping[str, float] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()
    cautions: tuple[str, ...] = ()

    @property
    def marks(self) -> tuple[str, ...]:
        """Warnings that every output carries."""
        marks = [mark for source, mark in MARKS.items() if source in self.sources]
        return (*marks, INTERIM) if self.is_open else tuple(marks)

    @property
    def arms(self) -> dict[str, tuple[str, str]]:
        """Arms a and b by name of the comparison."""
        return {one.name: (one.arm_a, one.arm_b) for one in self.comparisons}


@dataclass(frozen=True)
class Reliability:
    """How far raters agree about one question, exclusions applied; `seconds` are quartiles."""

    nominal: Alpha
    ordinal: Alpha
    same_choice: float | None
    repeats: Share
    left: Share
    seconds: tuple[float, float, float] | None


@dataclass(frozen=True)
class Analysis:
    """All results of a study; `outcomes` apply the exclusion rules, `outcomes_of_all` do not.

    Rankings (of three arms or more) and reliability are by question; raters, categories, evidence
    and agreement concern the primary question. `curve` and `betas` are the points of Figure 4.
    """

    outcomes: list[Outcome]
    outcomes_of_all: list[Outcome]
    num_excluded: int
    num_votes: int
    num_raters: int
    num_raters_excluded: int
    rankings: dict[str, Ranking]
    reliability: dict[str, Reliability]
    raters: list[RaterReport]
    categories: dict[str, list[Outcome]]
    evidence: dict[str, Evidence]
    agreement: list[Agreement]
    curve: list[CurvePoint]
    betas: list[BetaPoint]
    cautions: list[str]


def analyze(votes: Votes, info: StudyContext, rewards: Rewards | None = None) -> Analysis:
    """All results of a study from all its votes in order; StudyError while results are hidden."""
    _check(votes, info)
    kept = votes.kept()
    primary, names = info.questions[0], list(info.arms)
    asked = kept.opinions(question=primary)
    results = outcomes(kept, names, info.questions)
    betas = {comparison.name: comparison.beta for comparison in info.comparisons}
    own = [result for result in results if result.question == primary]
    opinions = votes.opinions()
    num_raters, num_kept = (len(np.unique(o.rater)) for o in (opinions, kept.opinions()))
    return Analysis(
        outcomes=results,
        outcomes_of_all=outcomes(votes, names, info.questions),
        num_excluded=int(opinions.excluded.sum()),
        num_votes=len(opinions),
        num_raters=num_raters,
        num_raters_excluded=num_raters - num_kept,
        rankings=_rankings(kept, info),
        reliability={name: _reliability(kept, name) for name in info.questions},
        raters=rater_reports(votes.where(votes.question == primary), info.fastest_ms),
        categories=_categories(kept, names, primary),
        evidence={name: evidence(kept.opinions(name, primary)) for name in names},
        agreement=reward_agreement(asked, rewards) if rewards else [],
        curve=hacking_curve(asked, rewards, own, betas) if rewards else [],
        betas=beta_curve(asked, info.arms, info.arm_betas, rewards),
        cautions=[*info.cautions, *_cautions(results, num_raters - num_kept, num_raters)],
    )


def _check(votes: Votes, info: StudyContext) -> None:
    if not info.questions or not info.comparisons:
        raise StudyError("The manifest has no question or no comparison, so there is no result.")
    if info.is_open and info.is_hidden_until_closed:
        raise StudyError(
            f"The manifest of {info.title!r} hides results until the study is closed. "
            "Close it first."
        )
    real = votes.where(votes.kind == "main")
    for column, allowed in ((real.comparison, info.arms), (real.question, info.questions)):
        unknown = sorted(set(column.tolist()) - set(allowed))
        if unknown:
            raise StudyError(
                f"Votes name {unknown[0]!r}, which is not in the manifest: {', '.join(allowed)}."
            )


def _cautions(results: list[Outcome], num_left_out: int, num_raters: int) -> list[str]:
    cautions = []
    fewest = min(
        (result.num_raters for result in results if result.interval), default=FEWEST_RATERS
    )
    if fewest < FEWEST_RATERS:
        cautions.append(
            "The 95 % intervals may be too narrow and the p-values too small: only "
            f"{quantity(fewest, 'rater')}, fewer than {FEWEST_RATERS}. Use the interval "
            f"{CAREFUL!r} instead."
        )
    if num_left_out > MANY_LEFT_OUT * num_raters:
        cautions.append(
            f"The rules exclude {num_left_out} of {num_raters} raters, more than 20 %. Check that "
            "the attention checks are clear, and compare the results with and without the rules."
        )
    return cautions


def _rankings(votes: Votes, info: StudyContext) -> dict[str, Ranking]:
    arms = info.arms
    if len({arm for pair in arms.values() for arm in pair}) < 3:
        return {}
    return {name: rank(votes.opinions(question=name), arms) for name in info.questions}


def _reliability(votes: Votes, question: str) -> Reliability:
    asked = votes.opinions(question=question)
    times = asked.rt_ms[~np.isnan(asked.rt_ms)] / 1000
    quartiles = np.quantile(times, [0.25, 0.5, 0.75]).tolist() if len(times) else None
    return Reliability(
        nominal=agreement.krippendorff_alpha(asked, "nominal"),
        ordinal=agreement.krippendorff_alpha(asked, "ordinal"),
        same_choice=agreement.pairwise_agreement(asked),
        repeats=agreement.repeat_consistency(votes.where(votes.question == question)),
        left=agreement.side_bias(asked),
        seconds=tuple(quartiles) if quartiles else None,
    )


def _categories(votes: Votes, names: list[str], question: str) -> dict[str, list[Outcome]]:
    categories: dict[str, list[Outcome]] = {}
    for name in names:
        for category, result in by_category(votes, name, question).items():
            categories.setdefault(category, []).append(result)
    return dict(sorted(categories.items()))


def plain(value: object) -> object:
    """A result as JSON types; shares keep their ratio, outcomes their headline interval."""
    if hasattr(value, "__dataclass_fields__"):
        fields = {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
        if isinstance(value, Share):
            fields |= {"share": value.share}
        if isinstance(value, Outcome):
            fields |= {"interval": plain(value.interval)}
        return fields
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
