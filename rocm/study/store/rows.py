"""Votes as plain rows, with everything that an analysis needs and nothing that names a person."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select

from rocm.study.store.tables import (
    arm,
    exclusion,
    image,
    pair,
    prompt,
    rater,
    score,
    study,
    trial,
    vote,
)

CHECKS, PILOT, WITHDRAWN = "checks", "pilot", "withdrawn"
"""Rules of a vote: too few attention checks right, a try, and one who took the answers back."""


@dataclass(frozen=True)
class Vote:
    """One answer of one rater to one question of one pair.

    `trial` is its public id, `rater` the number within the study, `prompt` and `pair` are ids,
    `text` is the prompt. `comparison` is `A:B`, the arms' names in the recipe's order, or their
    codes where the key is elsewhere; a and b are these, not those of the table `pair`. `expected`
    is the right answer of a check. `excluded` says whether `rules` (`checks`, `pilot`, `withdrawn`,
    joined by `;`) leave the vote out of the analysis. Sizes are CSS pixels, `rt_ms` is by the
    browser's clock, times are ISO.
    """

    study: str
    trial: str
    rater: int
    source: str
    prompt: int
    text: str
    prompt_source: str
    category: str
    seed: int
    pair: int
    comparison: str
    arm_a: str
    arm_b: str
    image_a: str
    image_b: str
    question: str
    choice: str
    tie_reason: str | None
    left_is: str
    kind: str
    expected: str | None
    repetition: int
    position: int
    rt_ms: int
    viewport_width: int | None
    viewport_height: int | None
    picture_size: int | None
    excluded: bool
    rules: str
    shown_at: str | None
    created_at: str


def votes(connection: Connection, study_id: str) -> list[Vote]:
    """Every vote of a study in order of storage, those of pilots, practice and checks too."""
    a, b = image.alias("a"), image.alias("b")
    statement = (
        select(vote, trial, rater.c.number, rater.c.source, pair, prompt.c.text, prompt.c.category)
        .add_columns(
            rater.c.ext_hmac,
            vote.c.created_at.label("voted_at"),
            prompt.c.source.label("prompt_source"),
            a.c.picture_id.label("picture_a"),
            b.c.picture_id.label("picture_b"),
            rater.c.id.label("the_rater"),
            pair.c.id.label("the_pair"),
        )
        .join(trial, trial.c.id == vote.c.trial_id)
        .join(rater, rater.c.id == trial.c.rater_id)
        .join(pair, pair.c.id == trial.c.pair_id)
        .join(prompt, prompt.c.id == pair.c.prompt_id)
        .join(a, a.c.id == pair.c.image_a)
        .join(b, b.c.id == pair.c.image_b)
        .where(vote.c.study_id == study_id)
        .order_by(vote.c.id)
    )
    arms = named_arms(connection, study_id)
    rules = _rules(connection, study_id)
    found = [_vote(study_id, row, arms, rules) for row in connection.execute(statement).mappings()]
    return _checked(connection, study_id, found)


def failed_checks(found: Iterable[Vote], question: str, min_share: float) -> set[int]:
    """Raters whose share of right attention checks is below `min_share`; a tie is wrong."""
    answers: dict[int, list[bool]] = {}
    for one in found:
        if one.kind == "check" and one.question == question:
            answers.setdefault(one.rater, []).append(one.choice == one.expected)
    return {rater for rater, right in answers.items() if sum(right) < min_share * len(right)}


def is_reportable(one: Vote) -> bool:
    """Whether a vote may stand in a figure at all: neither a pilot's nor taken back."""
    return not {PILOT, WITHDRAWN} & set(one.rules.split(";"))


def _checked(connection: Connection, study_id: str, found: list[Vote]) -> list[Vote]:
    """The same votes, with the manifest's rule on attention checks applied."""
    stored = connection.execute(select(study.c.config_json).where(study.c.id == study_id)).scalar()
    config = json.loads(stored or "{}")
    primary = config.get("primary_question", "overall")
    failed = failed_checks(found, primary, config.get("min_check_share", 0))
    return [
        replace(one, excluded=True, rules=";".join(filter(None, (one.rules, CHECKS))))
        if one.rater in failed
        else one
        for one in found
    ]


def _vote(
    study_id: str, row: Any, arms: dict[int, tuple[int, str]], rules: dict[Any, list[str]]
) -> Vote:
    a, b = arms[row[pair.c.arm_a]], arms[row[pair.c.arm_b]]
    images = (row["picture_a"], row["picture_b"])
    turn = {"a": "a", "b": "b", "tie": "tie"}
    if a[0] > b[0]:
        a, b, images = b, a, images[::-1]
        turn |= {"a": "b", "b": "a"}
    one, other = a[1], b[1]
    excluded = rules.get(("rater", row["the_rater"]), []) + rules.get(
        ("trial", row[trial.c.id]), []
    )
    if row[rater.c.source] == "pilot":
        excluded = [*excluded, PILOT]
    return Vote(
        study=study_id,
        trial=row[trial.c.public_id],
        rater=row[rater.c.number],
        source=_source(row[rater.c.source], row[rater.c.ext_hmac]),
        prompt=row[pair.c.prompt_id],
        text=row[prompt.c.text],
        prompt_source=row["prompt_source"],
        category=row[prompt.c.category],
        seed=row[pair.c.seed],
        pair=row["the_pair"],
        comparison=f"{one}:{other}",
        arm_a=one,
        arm_b=other,
        image_a=images[0],
        image_b=images[1],
        question=row[vote.c.question_key],
        choice=turn[row[vote.c.choice]],
        tie_reason=row[vote.c.tie_reason],
        left_is=turn[row[trial.c.left_is]],
        kind=row[pair.c.kind],
        expected=turn.get(row[pair.c.expected]),
        repetition=row[trial.c.rep],
        position=row[trial.c.position],
        rt_ms=row[vote.c.rt_ms],
        viewport_width=row[vote.c.viewport_width],
        viewport_height=row[vote.c.viewport_height],
        picture_size=row[vote.c.picture_size],
        excluded=bool(excluded),
        rules=";".join(excluded),
        shown_at=row[trial.c.shown_at],
        created_at=row["voted_at"],
    )


def _source(stored: str, ext_hmac: str | None) -> str:
    """An open link has no id behind it; an invitation is stored as a link that has one."""
    return "invite" if stored == "link" and ext_hmac is not None else stored


def named_arms(connection: Connection, study_id: str) -> dict[int, tuple[int, str]]:
    """Place in the recipe and name of each arm by its id; its code where the key is elsewhere."""
    rows = connection.execute(select(arm).where(arm.c.study_id == study_id))
    return {row.id: _named(row) for row in rows}


def _named(row: Any) -> tuple[int, str]:
    if row.params_json is None:
        return row.id, row.code
    return json.loads(row.params_json).get("place", row.id), row.name


def scores(connection: Connection, study_id: str) -> dict[str, dict[str, float]]:
    """Rewards by name of every picture of a study, by picture id."""
    rows = connection.execute(
        select(image.c.picture_id, score.c.reward, score.c.value)
        .join(image, image.c.id == score.c.image_id)
        .where(image.c.study_id == study_id)
    )
    found: dict[str, dict[str, float]] = {}
    for picture_id, reward, value in rows:
        found.setdefault(picture_id, {})[reward] = value
    return found


def _rules(connection: Connection, study_id: str) -> dict[Any, list[str]]:
    found: dict[Any, list[str]] = {}
    rows = connection.execute(
        select(exclusion).where(exclusion.c.study_id == study_id).order_by(exclusion.c.id)
    )
    for row in rows:
        key = ("rater", row.rater_id) if row.rater_id is not None else ("trial", row.trial_id)
        found.setdefault(key, []).append(row.rule)
    return found
