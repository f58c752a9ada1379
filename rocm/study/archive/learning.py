"""Votes of closed studies as columns that a reward is learned from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import select

from rocm.errors import StudyError
from rocm.prompts.split import part_of
from rocm.study.archive.export import is_analyzed
from rocm.study.statistics.agreement import Share, repeat_consistency
from rocm.study.statistics.preference_fit import Choices
from rocm.study.statistics.votes import Floats, Ints, Votes
from rocm.study.store import chain
from rocm.study.store.rows import Vote
from rocm.study.store.store import Store
from rocm.study.store.studies import TEACHING, named, part_of_study
from rocm.study.store.tables import arm

ANSWERS = {"a": 0, "tie": 1, "b": 2}


@dataclass(frozen=True)
class Lesson:
    """Votes on the primary questions of some studies.

    `votes` are analyzed ones, `repeats` those that were decided alike of flipped repeats that were
    decided twice, `manifests` and `heads` (ends of the chains of votes) hashes by study; `model`
    drew every picture. `num_kept` votes on prompts of the test part are left out.
    """

    votes: Sequence[Vote]
    repeats: Share
    manifests: Mapping[str, str]
    model: str
    heads: Mapping[str, str] = field(default_factory=dict)
    num_kept: int = 0

    @property
    def pictures(self) -> dict[str, str]:
        """The prompt of every picture, by picture id."""
        return {image: vote.text for vote in self.votes for image in (vote.image_a, vote.image_b)}

    def pairs(self, row: Mapping[str, int]) -> Ints:
        """Rows (P, 2) of the pictures of each pair, by row of a picture."""
        pairs = {(vote.image_a, vote.image_b) for vote in self.votes}
        return np.array([[row[a], row[b]] for a, b in sorted(pairs)])

    def choices(
        self, row: Mapping[str, int], phi: Floats, num_rewards: int, num_squares: int
    ) -> Choices:
        """Columns from features (M, D), whose rows `row` gives by picture."""
        votes = self.votes
        first, second = ([row[getattr(v, f"image_{x}")] for v in votes] for x in "ab")
        # Codes of other studies' arms may be the same where the key is elsewhere.
        arms = sorted({(v.study, name) for v in votes for name in (v.arm_a, v.arm_b)})
        unit = np.eye(len(arms))
        met = [
            (unit[arms.index((v.study, v.arm_a))] - unit[arms.index((v.study, v.arm_b))])
            * (not v.within)
            for v in votes
        ]
        return Choices(
            difference=phi[first] - phi[second],
            side=np.array([1.0 if v.left_is == "a" else -1.0 for v in votes]),
            answer=np.array([ANSWERS[v.choice] for v in votes]),
            prompt=_numbers([v.text for v in votes]),
            rater=_numbers([f"{v.study} {v.rater}" for v in votes]),
            arms=np.array(met),
            num_rewards=num_rewards,
            num_squares=num_squares,
        )


def _numbers(names: Sequence[str]) -> Ints:
    numbers: Ints = np.unique(names, return_inverse=True)[1]
    return numbers


def gather(store: Store, studies: Sequence[str]) -> Lesson:
    """The votes of studies, each given by its id or the id's beginning.

    Excluded votes and those on prompts of the test part are left out, and erased raters have none.
    StudyError if a study is not closed or is for validation or test, the pictures are of several
    base models, or the votes are of one rater or one prompt.
    """
    found = {named(store.studies(), study).study_id: None for study in studies}
    votes: list[Vote] = []
    same = total = num_kept = 0
    manifests, heads = {}, {}
    for study_id in found:
        about = store.study(study_id)
        if about.status != "closed":
            raise StudyError(
                f"Study {study_id} is {about.status}, and its votes are hidden. Close it before "
                f"learning from it: python -m rocm study close {study_id}"
            )
        part = part_of_study(about)
        if part != TEACHING:
            raise StudyError(
                f"Study {study_id} has the prompts of the {part} part, so that no reward has "
                "learned from them. Learn from studies of the training part."
            )
        manifests[study_id] = about.config_sha256 or ""
        with store.database.read() as connection:
            heads[study_id] = str(chain.end_of(connection, study_id)["head"])
        primary = about.config["primary_question"]
        stored = [v for v in store.votes(study_id) if v.question == primary and not v.excluded]
        analyzed = [vote for vote in stored if is_analyzed(vote)]
        open_to_all = [vote for vote in analyzed if part_of(vote.text) != "test"]
        num_kept += len(analyzed) - len(open_to_all)
        votes += open_to_all
        decided = Votes.from_rows(vars(vote) for vote in stored if vote.choice != "tie")
        repeats = repeat_consistency(decided)
        same, total = same + repeats.count, total + repeats.total
    model = _model(store, list(found))
    lesson = Lesson(votes, Share(same, total), manifests, model, heads, num_kept)
    for what, values in (
        ("rater", {(vote.study, vote.rater) for vote in votes}),
        ("prompt", {vote.text for vote in votes}),
    ):
        if len(values) < 2:
            raise StudyError(
                f"The number of {what}s in the {len(votes)} analyzed votes is {len(values)}, so "
                f"nothing can be checked on a left-out {what}. At least 2 are needed, better 10."
                f"{_kept_words(num_kept)}"
            )
    return lesson


def _kept_words(num: int) -> str:
    return f" {num} votes on prompts of the test part are left out." if num else ""


def _model(store: Store, studies: Sequence[str]) -> str:
    """The base model of all arms."""
    asked = select(arm.c.base_model).where(arm.c.study_id.in_(studies), arm.c.role == "compared")
    with store.database.read() as connection:
        models = sorted({str(row.base_model or "") for row in connection.execute(asked)})
    if len(models) > 1 or not models[0]:
        named_models = ", ".join(filter(None, models)) or "no known base model"
        raise StudyError(
            f"The pictures are of {named_models}, and a reward is learned from those of one base "
            "model. Give studies of one model, unpacked with their keys."
        )
    return models[0]
