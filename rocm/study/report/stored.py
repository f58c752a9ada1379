"""The report of a stored study: its votes, manifest and rewards, handed to the statistics."""

import json
from typing import Any

import numpy as np
from sqlalchemy import func, select

from rocm.errors import StudyError
from rocm.study.report.report import Report, report
from rocm.study.statistics.analysis import Comparison, StudyContext
from rocm.study.statistics.flags import FASTEST_MS
from rocm.study.statistics.reward_agreement import Rewards
from rocm.study.statistics.votes import Votes
from rocm.study.store import rows
from rocm.study.store.store import Store
from rocm.study.store.tables import arm, pair, rater, trial


def study_report(store: Store, study_id: str) -> Report:
    """What a study has found so far; without pilots' votes and those that were taken back.

    Args:
        store: of the votes.
        study_id: of the study.

    Returns:
        The report.

    Raises:
        StudyError: no votes yet, or the manifest hides results until the study is closed.
    """
    about = store.study(study_id)
    stored = store.votes(study_id)
    found = [one for one in stored if rows.is_reportable(one)]
    if not found:
        raise StudyError(
            f"Study {study_id} has no votes to report. Send its link, or wait for the first."
        )
    config = about.config
    info = StudyContext(
        title=about.title,
        manifest_sha256=about.config_sha256 or "",
        comparisons=comparisons(store, study_id),
        questions=_primary_first(config["questions"], config.get("primary_question", "overall")),
        prompts=_prompts(found),
        design=_design(config),
        exclusion_rules=_exclusion_rules(config),
        sources=tuple(sorted({one.source for one in found})),
        is_open=about.status != "closed",
        is_hidden_until_closed=config.get("peeking", "hidden") == "hidden",
        num_skipped=_num_skipped(store, study_id),
        num_withdrawn=len({one.rater for one in stored if rows.WITHDRAWN in one.rules.split(";")}),
        fastest_ms=config.get("min_median_ms", FASTEST_MS),
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
    return f"{len(shown)} ({sources})"


def _design(config: dict[str, Any]) -> str:
    """What each rater judged and how, in sentences for the methods."""
    numbers = config["design"]
    blind = [repr(one["key"]) for one in config["questions"] if not one["show_prompt"]]
    tied = [repr(one["key"]) for one in config["questions"] if one["allow_tie"]]
    words = (
        f"By design each pair was judged by {numbers['votes_per_pair']} raters and each rater "
        f"judged {numbers['main_per_rater']} pairs, {numbers['checks_per_rater']} attention "
        f"checks and {numbers['repeats_per_rater']} repeats with the sides flipped. Either arm "
        "stood on the left equally often, by pair and by rater."
    )
    if blind:
        words += f" The prompt was shown only after {', '.join(blind)}."
    return words + f" No preference was allowed for: {', '.join(tied) or 'no question'}."


def _exclusion_rules(config: dict[str, object]) -> tuple[str, ...]:
    share = config.get("min_check_share")
    if not share:
        return ()
    asked = config.get("primary_question", "overall")
    return (
        f"Raters with fewer than {100 * float(str(share)):.0f} % of their attention checks right, "
        f"by the question {asked!r}, are left out.",
    )


def _num_skipped(store: Store, study_id: str) -> int:
    with store.database.read() as connection:
        count = connection.execute(
            select(func.count())
            .select_from(trial.join(rater, rater.c.id == trial.c.rater_id))
            .where(trial.c.study_id == study_id, trial.c.state == "skipped")
            .where(rater.c.source != "pilot", rater.c.status != "withdrawn")
        ).scalar()
    return int(count or 0)
