"""Votes as plain rows, with everything that an analysis needs and nothing that names a person."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from rocm.study.store import studies
from rocm.study.store import tables as t

Arms = dict[int, tuple[int, str]]
CHECKS, UNSEEN, PILOT, WITHDRAWN = "checks", "unseen", "pilot", "withdrawn"
"""Rules of a vote: too few attention checks right, too many pairs that were not looked at, a try,
answers taken back."""


@dataclass(frozen=True)
class Vote:
    """One answer of one rater to one question of one pair, without anything that names a person.

    `comparison` is `A:B`, the arms' names in the recipe's order, or codes where the key is
    elsewhere; a and b are these, not those of the table `pair`. `rules` (`checks`, `unseen`,
    `pilot`, `withdrawn`, joined by `;`) say why a vote is `excluded`. `unseen`: by the server's
    clock the pictures were not shown, or for less than `min_median_ms`. `within`: both pictures are
    of one arm, b's drawn with the next seed. Sizes are CSS pixels, times ISO.
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
    unseen: bool = False
    within: bool = False


def votes(connection: Connection, study_id: str) -> list[Vote]:
    """Every vote of a study in order of storage, those of pilots, practice and checks too."""
    a, b = t.image.alias("a"), t.image.alias("b")
    statement = (
        select(
            *t.vote.c["choice", "tie_reason", "rt_ms", "viewport_width", "viewport_height"],
            *t.vote.c["picture_size", "created_at"],
            t.vote.c.study_id.label("study"),
            t.vote.c.question_key.label("question"),
            *t.trial.c["left_is", "position", "shown_at"],
            t.trial.c.public_id.label("trial"),
            t.trial.c.rep.label("repetition"),
            t.trial.c.id.label("trial_id"),
            t.rater.c.source,
            t.rater.c.ext_hmac,
            t.rater.c.number.label("rater"),
            t.rater.c.id.label("rater_id"),
            *t.pair.c["arm_a", "arm_b", "seed", "kind", "expected"],
            t.pair.c.id.label("pair"),
            t.pair.c.prompt_id.label("prompt"),
            t.prompt.c.text,
            t.prompt.c.category,
            t.prompt.c.source.label("prompt_source"),
            a.c.picture_id.label("image_a"),
            b.c.picture_id.label("image_b"),
        )
        .join(t.trial, t.trial.c.id == t.vote.c.trial_id)
        .join(t.rater, t.rater.c.id == t.trial.c.rater_id)
        .join(t.pair, t.pair.c.id == t.trial.c.pair_id)
        .join(t.prompt, t.prompt.c.id == t.pair.c.prompt_id)
        .join(a, a.c.id == t.pair.c.image_a)
        .join(b, b.c.id == t.pair.c.image_b)
        .where(t.vote.c.study_id == study_id)
        .order_by(t.vote.c.id)
    )
    arms = named_arms(connection, study_id)
    rules = _rules(connection, study_id)
    twins = twin_arms(connection, study_id)
    config = studies.info(connection, study_id).config
    stored = []
    for row in map(dict, connection.execute(statement).mappings()):
        row["within"] = bool({row["arm_a"], row["arm_b"]} & twins)
        row["unseen"] = _is_unseen(row, config.get("min_median_ms", 0))
        stored.append(_vote(row, arms, rules))
    return _checked(stored, config)


def failed_checks(stored: Iterable[Vote], question: str, min_share: float) -> set[int]:
    """Raters whose share of right attention checks is below `min_share`; a tie is wrong."""
    answers: dict[int, list[bool]] = {}
    for vote in stored:
        if vote.kind == "check" and vote.question == question:
            answers.setdefault(vote.rater, []).append(vote.choice == vote.expected)
    return {rater for rater, right in answers.items() if sum(right) < min_share * len(right)}


def is_reportable(vote: Vote) -> bool:
    """Whether a vote may stand in a figure at all: of two arms, no pilot's, not taken back."""
    return not vote.within and not {PILOT, WITHDRAWN} & set(vote.rules.split(";"))


def _checked(votes: list[Vote], config: dict[str, Any]) -> list[Vote]:
    """The same votes, with the manifest's rules applied."""
    primary = config.get("primary_question", "overall")
    rules = {
        CHECKS: failed_checks(votes, primary, config.get("min_check_share", 0)),
        UNSEEN: _mostly_unseen(votes, config.get("max_unseen_share", 1)),
    }
    for rule, failed in rules.items():
        votes = [_excluded(vote, rule) if vote.rater in failed else vote for vote in votes]
    return votes


def _excluded(vote: Vote, rule: str) -> Vote:
    return replace(vote, excluded=True, rules=";".join(filter(None, (vote.rules, rule))))


def _is_unseen(row: dict[str, Any], fastest_ms: int) -> bool:
    """Whether a person answered without having had the pictures on the screen for that long."""
    if row["source"] == "simulated":
        return False
    if row["shown_at"] is None:
        return True
    took = datetime.fromisoformat(row["created_at"]) - datetime.fromisoformat(row["shown_at"])
    return took < timedelta(milliseconds=fastest_ms)


def _mostly_unseen(votes: Iterable[Vote], most: float) -> set[int]:
    """Raters with a larger share than `most` of unseen trials, practice left out."""
    trials: dict[int, dict[str, bool]] = {}
    for vote in votes:
        if vote.kind != "practice":
            trials.setdefault(vote.rater, {})[vote.trial] = vote.unseen
    return {rater for rater, own in trials.items() if sum(own.values()) > most * len(own)}


def _vote(row: dict[str, Any], arms: Arms, rules: dict[Any, list[str]]) -> Vote:
    excluded = rules.get(("rater", row.pop("rater_id")), [])
    excluded = excluded + rules.get(("trial", row.pop("trial_id")), [])
    if row["source"] == "pilot":
        excluded.append(PILOT)
    row["source"] = _source(row["source"], row.pop("ext_hmac"))
    (place_a, name_a), (place_b, name_b) = arms[row["arm_a"]], arms[row["arm_b"]]
    if place_a > place_b:  # the table's a is the recipe's b
        name_a, name_b = name_b, name_a
        row["image_a"], row["image_b"] = row["image_b"], row["image_a"]
        turned = {"a": "b", "b": "a"}
        row |= {key: turned.get(row[key], row[key]) for key in ("choice", "left_is", "expected")}
    row |= {"arm_a": name_a, "arm_b": name_b, "comparison": f"{name_a}:{name_b}"}
    return Vote(**row, excluded=bool(excluded), rules=";".join(excluded))


def _source(stored: str, ext_hmac: str | None) -> str:
    """An open link has no id behind it; an invitation is stored as a link that has one."""
    return "invite" if stored == "link" and ext_hmac is not None else stored


def named_arms(connection: Connection, study_id: str) -> Arms:
    """Place in the recipe and name of each arm by its id; its code where the key is elsewhere."""
    return {row.id: _named(row) for row in studies.rows_of(connection, t.arm, study_id)}


def twin_arms(connection: Connection, study_id: str) -> set[int]:
    """Ids of the arms that draw another seed of an arm, for pairs within it."""
    twins = studies.info(connection, study_id).config.get("twins", {})
    return {row.id for row in studies.rows_of(connection, t.arm, study_id) if row.code in twins}


def _named(row: Any) -> tuple[int, str]:
    if row.params_json is None:
        return row.id, row.code
    return json.loads(row.params_json).get("place", row.id), row.name


def scores(connection: Connection, study_id: str) -> dict[str, dict[str, float]]:
    """Rewards by name of every picture of a study, by picture id."""
    rows = connection.execute(
        select(t.image.c.picture_id, t.score.c.reward, t.score.c.value)
        .join(t.image, t.image.c.id == t.score.c.image_id)
        .where(t.image.c.study_id == study_id)
    )
    rewards: dict[str, dict[str, float]] = {}
    for picture_id, reward, value in rows:
        rewards.setdefault(picture_id, {})[reward] = value
    return rewards


def _rules(connection: Connection, study_id: str) -> dict[Any, list[str]]:
    rules: dict[Any, list[str]] = {}
    for row in studies.rows_of(connection, t.exclusion, study_id):
        key = ("rater", row.rater_id) if row.rater_id is not None else ("trial", row.trial_id)
        rules.setdefault(key, []).append(row.rule)
    return rules
