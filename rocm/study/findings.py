"""The report of a stored study: its votes, manifest and rewards, handed to the statistics."""

import json

import numpy as np
from sqlalchemy import func, select

from rocm.errors import StudyError
from rocm.study import rows
from rocm.study.analysis import Comparison, StudyInfo
from rocm.study.report import Report, report
from rocm.study.reward_agreement import Rewards
from rocm.study.store import Store
from rocm.study.tables import arm, pair, trial
from rocm.study.votes import Votes


def study_report(store: Store, study_id: str) -> Report:
    """What a study has found so far; the votes of its pilot are never among it.

    Args:
        store: of the votes.
        study_id: of the study.

    Returns:
        The report.

    Raises:
        StudyError: no votes yet, or the manifest hides results until the study is closed.
    """
    about = store.study(study_id)
    found = [one for one in store.votes(study_id) if one.source != "pilot"]
    if not found:
        raise StudyError(
            f"Study {study_id} has no votes to report. Send its link, or wait for the first."
        )
    config = about.config
    info = StudyInfo(
        title=about.title,
        manifest_sha256=about.config_sha256 or "",
        comparisons=comparisons(store, study_id),
        questions=_primary_first(config["questions"], config.get("primary_question", "overall")),
        prompts=_prompts(found),
        exclusion_rules=_exclusion_rules(config),
        sources=tuple(sorted({one.source for one in found})),
        is_open=about.status != "closed",
        is_hidden_until_closed=config.get("peeking", "hidden") == "hidden",
        num_skipped=_num_skipped(store, study_id),
        arm_betas=betas(store, study_id),
    )
    votes = Votes.from_rows({**vars(one), "expected": one.expected or ""} for one in found)
    return report(votes, info, rewards(found, store.scores(study_id)))


def comparisons(store: Store, study_id: str) -> tuple[Comparison, ...]:
    """The pairs of arms that are compared, in the recipe's order, as votes name them."""
    with store.database.read() as connection:
        arms = rows.named_arms(connection, study_id)
        compared = connection.execute(
            select(pair.c.arm_a, pair.c.arm_b)
            .where(pair.c.study_id == study_id, pair.c.kind == "main")
            .distinct()
        ).all()
    ordered = sorted(sorted((arms[one], arms[other])) for one, other in compared)
    known = betas(store, study_id)
    return tuple(Comparison(f"{a[1]}:{b[1]}", a[1], b[1], known.get(a[1])) for a, b in ordered)


def betas(store: Store, study_id: str) -> dict[str, float]:
    """Weight of the divergence that arms were trained with, by name; of arms that are runs."""
    with store.database.read() as connection:
        found = connection.execute(
            select(arm.c.name, arm.c.params_json).where(
                arm.c.study_id == study_id, arm.c.params_json.is_not(None)
            )
        ).all()
    values = {one.name: json.loads(one.params_json).get("beta") for one in found}
    return {name: float(beta) for name, beta in values.items() if beta is not None}


def rewards(found: list[rows.Vote], scores: dict[str, dict[str, float]]) -> Rewards | None:
    """Rewards of both pictures of every pair that was voted on; None where none was measured.

    Args:
        found: votes.
        scores: rewards by name of every picture, by picture id.

    Returns:
        Those rewards that every such picture has.
    """
    pictures = {one.pair: (one.image_a, one.image_b) for one in found if one.kind == "main"}
    measured = [set(scores.get(image, {})) for two in pictures.values() for image in two]
    names = sorted(set.intersection(*measured)) if measured else []
    if not names:
        return None
    first, second = ([two[side] for two in pictures.values()] for side in (0, 1))
    values = {
        name: (
            np.array([scores[image][name] for image in first]),
            np.array([scores[image][name] for image in second]),
        )
        for name in names
    }
    return Rewards(np.array(list(pictures)), values)


def _primary_first(questions: list[dict[str, object]], primary: str) -> tuple[str, ...]:
    keys = [str(one["key"]) for one in questions]
    return tuple(sorted(keys, key=lambda key: key != primary))


def _prompts(found: list[rows.Vote]) -> str:
    shown = {one.prompt: one.prompt_source for one in found if one.kind == "main"}
    sources = ", ".join(sorted(set(shown.values())))
    return f"{len(shown)} prompts ({sources})"


def _exclusion_rules(config: dict[str, object]) -> tuple[str, ...]:
    share = config.get("min_check_share")
    if share is None:
        return ()
    return (f"Raters with fewer than {float(str(share)):.0%} of their checks right are left out.",)


def _num_skipped(store: Store, study_id: str) -> int:
    with store.database.read() as connection:
        count = connection.execute(
            select(func.count())
            .select_from(trial.join(pair, pair.c.id == trial.c.pair_id))
            .where(pair.c.study_id == study_id, trial.c.state == "skipped")
        ).scalar()
    return int(count or 0)
