"""Stored votes, manifest and rewards of a study, handed to the statistics.

`study_report` has all results. `watched_raters` and `widths` may be known before the results: they
do not tell which arm is ahead.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select

from rocm.errors import StudyError
from rocm.storage.numbers import quantity
from rocm.study.design.lineage import chain_rows
from rocm.study.design.rounds import NOT_PICKED
from rocm.study.report.report import Report, report
from rocm.study.statistics.analysis import Comparison, StudyContext
from rocm.study.statistics.flags import FASTEST_MS, rater_reports
from rocm.study.statistics.power import width_when_complete
from rocm.study.statistics.reward_agreement import Rewards
from rocm.study.statistics.simulate import Design
from rocm.study.statistics.votes import Votes
from rocm.study.store import chain, rows
from rocm.study.store.store import Store
from rocm.study.store.tables import arm, pair, rater, trial

PICKED = (
    "Pairs were picked because a learned reward was unsure of them. Scores are those of the picked "
    "pairs, not of all: use these votes to learn a reward, and another study for win rates."
)


def study_report(store: Store, study_id: str) -> Report:
    """The report of a study so far, without votes of pilots and of raters who withdrew."""
    study, stored = store.study(study_id), store.votes(study_id)
    reported = [vote for vote in stored if rows.is_reportable(vote)]
    if not reported:
        raise StudyError(f"Study {study_id} has no votes to report. Send its link to raters.")
    config = study.config
    primary = config.get("primary_question", "overall")
    questions = [str(asked["key"]) for asked in config["questions"]]
    is_picked = any(one["struck"] == NOT_PICKED for one in config.get("pairs", ()))
    withdrawn = {vote.rater for vote in stored if rows.WITHDRAWN in vote.rules.split(";")}
    with store.database.read() as connection:
        end = chain.end_of(connection, study_id)
        links = chain_rows(connection, study_id)
        betas = _betas(connection, study_id)
        comparisons = _comparisons(connection, study_id, betas)
        num_skipped = _num_skipped(connection, study_id)
    info = StudyContext(
        title=study.title,
        manifest_sha256=study.config_sha256 or "",
        comparisons=comparisons,
        questions=tuple(sorted(questions, key=lambda key: key != primary)),
        prompts=_prompts(reported, config),
        design=_design(config),
        exclusion_rules=_exclusion_rules(config),
        sources=tuple(sorted({vote.source for vote in reported})),
        is_open=study.status != "closed",
        is_hidden_until_closed=config.get("peeking", "hidden") == "hidden",
        num_skipped=num_skipped,
        num_withdrawn=len(withdrawn),
        fastest_ms=config.get("min_median_ms", FASTEST_MS),
        votes_head=end["head"],
        num_chained_later=end["num_chained_later"],
        arm_betas=betas,
        links=links,
        cautions=(PICKED,) if is_picked else (),
    )
    votes = Votes.from_rows(vars(vote) for vote in reported)
    return report(votes, info, _rewards(reported, store.scores(study_id)))


def _comparisons(
    connection: Connection, study_id: str, betas: dict[str, float]
) -> tuple[Comparison, ...]:
    """The compared pairs of arms, in the recipe's order, as votes name them."""
    arms = rows.named_arms(connection, study_id)
    twins = rows.twin_arms(connection, study_id)
    compared = connection.execute(
        select(pair.c.arm_a, pair.c.arm_b)
        .where(pair.c.study_id == study_id, pair.c.kind == "main")
        .distinct()
    )
    ordered = sorted(sorted((arms[a], arms[b])) for a, b in compared if not twins & {a, b})
    return tuple(Comparison(f"{a[1]}:{b[1]}", a[1], b[1], betas.get(a[1])) for a, b in ordered)


def _betas(connection: Connection, study_id: str) -> dict[str, float]:
    """Weight of the divergence by name of the arm, for arms that are runs."""
    arms = connection.execute(
        select(arm.c.name, arm.c.params_json).where(
            arm.c.study_id == study_id, arm.c.params_json.is_not(None)
        )
    )
    betas = {row.name: json.loads(row.params_json).get("beta") for row in arms}
    return {name: float(beta) for name, beta in betas.items() if beta is not None}


def _rewards(votes: list[rows.Vote], scores: dict[str, dict[str, float]]) -> Rewards | None:
    """The rewards that both pictures of every voted pair have, from scores by picture id."""
    pictures = {vote.pair: (vote.image_a, vote.image_b) for vote in votes if vote.kind == "main"}
    measured = [set(scores.get(image, {})) for two in pictures.values() for image in two]
    names = sorted(set.intersection(*measured)) if measured else []
    if not names:
        return None
    values = {}
    for name in names:
        a, b = zip(*((scores[a][name], scores[b][name]) for a, b in pictures.values()), strict=True)
        values[name] = (np.array(a), np.array(b))
    return Rewards(np.array(list(pictures)), values)


def _prompts(votes: list[rows.Vote], config: dict[str, Any]) -> str:
    shown = {vote.prompt: vote.prompt_source for vote in votes if vote.kind == "main"}
    part = config["prompt_set"].get("split", "") if "prompt_set" in config else ""
    kept = " of the test part, which no reward learns from" if part == "test" else ""
    return f"{len(shown)} ({', '.join(sorted(set(shown.values())))}){kept}"


def _design(config: dict[str, Any]) -> str:
    """What each rater saw, in sentences for the methods."""
    numbers = config["design"]
    blind = [repr(asked["key"]) for asked in config["questions"] if not asked["show_prompt"]]
    tied = [repr(asked["key"]) for asked in config["questions"] if asked["allow_tie"]]
    words = (
        f"By design each pair was shown to {quantity(numbers['votes_per_pair'], 'rater')}, and "
        f"each rater saw {quantity(numbers['main_per_rater'], 'pair')}, "
        f"{quantity(numbers['checks_per_rater'], 'attention check')} and "
        f"{quantity(numbers['repeats_per_rater'], 'repeat')} with the sides flipped. Each arm was "
        "on the left equally often, by pair and by rater."
    )
    if blind:
        words += f" The prompt was shown only after {', '.join(blind)}."
    return words + f" 'No preference' was allowed for: {', '.join(tied) or 'no question'}."


def _exclusion_rules(config: dict[str, Any]) -> tuple[str, ...]:
    share, unseen = config.get("min_check_share"), config.get("max_unseen_share", 1)
    asked = config.get("primary_question", "overall")
    rules = []
    if share:
        rules.append(
            f"Raters who answer fewer than {100 * float(share):.0f} % of their attention checks "
            f"correctly (question {asked!r}) are excluded."
        )
    if unseen < 1:
        rules.append(
            f"Raters of whose pairs more than {100 * float(unseen):.0f} % were never shown, or for "
            f"less than {config['min_median_ms']} ms by the server's clock, are excluded."
        )
    return tuple(rules)


def _num_skipped(connection: Connection, study_id: str) -> int:
    skipped = (
        select(func.count(trial.c.id))
        .join(rater, rater.c.id == trial.c.rater_id)
        .where(trial.c.study_id == study_id, trial.c.state == "skipped")
        .where(rater.c.source != "pilot", rater.c.status != "withdrawn")
    )
    return int(connection.execute(skipped).scalar_one())


@dataclass(frozen=True)
class Widths:
    """Predicted widths of the widest headline interval, shares of 1; None with too few votes."""

    now: float | None  # with the raters and votes so far
    planned: float | None  # when the design is complete
    more: float | None  # with additional raters


def watched_raters(store: Store, study_id: str) -> tuple[int, int]:
    """Numbers of flagged raters and of raters whom the exclusion rules leave out.

    Without pilots and raters who withdrew.
    """
    votes = _primary_votes(store, study_id)
    fastest_ms = store.study(study_id).config.get("min_median_ms", FASTEST_MS)
    num_flagged = sum(bool(one.flags) for one in rater_reports(votes, fastest_ms))
    return num_flagged, len(set(votes.rater.tolist()) - set(votes.kept().rater.tolist()))


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
    votes = (v for v in store.votes(study_id) if rows.is_reportable(v) and v.question == primary)
    return Votes.from_rows(vars(vote) for vote in votes)
