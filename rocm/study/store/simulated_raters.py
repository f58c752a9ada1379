"""Simulated raters of a stored study, who join, consent and answer by the methods for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from sqlalchemy import func, select

from rocm.errors import StudyError
from rocm.study.statistics.simulate import Utility, answers
from rocm.study.statistics.votes import Floats
from rocm.study.store import rows
from rocm.study.store.session import Answer, Trial, TrialQuestion
from rocm.study.store.store import Store
from rocm.study.store.tables import arm, image, prompt, rater

SOURCE = "simulated"
SIDES = {True: {"a": "left", "b": "right"}, False: {"a": "right", "b": "left"}}


@dataclass
class Crowd:
    """Raters that share utility model and tastes; `places` are arms by picture, None: damaged."""

    utility: Utility
    places: dict[str, int | None]
    rng: np.random.Generator
    tastes: dict[tuple[object, ...], float] = field(default_factory=dict)

    def answer(self, number: int, trial: Trial, question: TrialQuestion) -> Answer:
        """One rater's answer to one question of a trial."""
        left, right = self.places[trial.left], self.places[trial.right]
        lapse = self.utility.lapse
        if left is None or right is None:
            is_right = self.rng.random() < (left is None) * (1 - lapse) + lapse / 2
            return Answer("right" if is_right else "left", _milliseconds(self.rng))
        a_is_left = left < right
        pair = (min(left, right), max(left, right))
        taste = self._taste((question.key, pair, trial.prompt), self.utility.prompt_sd)
        taste += self._taste((question.key, pair, number), self.utility.rater_sd)
        model = self.utility if question.allow_tie else replace(self.utility, tie_width=0.0)
        showing = np.array([taste]), np.array([a_is_left]), np.array([lapse])
        (choice,) = answers(model, *showing, self.rng)
        return Answer(SIDES[a_is_left].get(str(choice), "tie"), _milliseconds(self.rng))

    def _taste(self, key: tuple[object, ...], spread: float) -> float:
        if key not in self.tastes:
            self.tastes[key] = float(self.rng.normal(0, spread))
        return self.tastes[key]


@dataclass
class Tasters:
    """Raters who like each picture by a utility of their own, whatever arm it is from.

    Attributes:
        utilities: of each picture for every rater, (R,), in units of the votes' logistic noise.
        tie_width: smaller differences are ties where a question allows them, >= 0.
        rng: source of the noise.
    """

    utilities: Mapping[str, Floats]
    tie_width: float
    rng: np.random.Generator

    def answer(self, number: int, trial: Trial, question: TrialQuestion) -> Answer:
        """One rater's answer to one question of a trial."""
        left, right = (self.utilities[name][number] for name in (trial.left, trial.right))
        felt = left - right + self.rng.logistic()
        milliseconds = _milliseconds(self.rng)
        if question.allow_tie and abs(felt) < self.tie_width:
            return Answer("tie", milliseconds)
        return Answer("left" if felt > 0 else "right", milliseconds)


def _milliseconds(rng: np.random.Generator) -> int:
    return int(4000 * np.exp(rng.normal(0, 0.4)))


def crowd_of_score(store: Store, study_id: str, score: float, seed: int = 0) -> Crowd:
    """Raters by whom the first arm of every comparison has a true score, in (0, 1)."""
    utility = Utility().with_score(score)
    return Crowd(utility, _places(store, study_id), np.random.default_rng(seed))


def shown_pictures(store: Store, study_id: str) -> dict[str, str]:
    """The prompt of every picture of a study, by picture id."""
    with store.database.read() as connection:
        chosen = (
            select(image.c.picture_id, prompt.c.text)
            .join(prompt, prompt.c.id == image.c.prompt_id)
            .where(image.c.study_id == study_id)
        )
        return {row.picture_id: row.text for row in connection.execute(chosen)}


def simulate_raters(store: Store, study_id: str, num_raters: int, crowd: Crowd | Tasters) -> int:
    """Let simulated raters work through an open study without people; the number of trials."""
    if num_raters < 1:
        raise StudyError(f"{num_raters} raters are too few. Give at least 1.")
    _refuse_among_people(store, study_id)
    version = store.study(study_id).config["consent"]["version"]
    questions = store.questions(study_id)
    num_done = 0
    for number in range(num_raters):
        token = store.join(study_id, SOURCE).token
        store.consent(token, version)
        before, trial = num_done, store.next_step(token).trial
        while trial is not None:
            store.shown(token, trial.public_id)
            answers = {asked.key: crowd.answer(number, trial, asked) for asked in questions}
            trial = store.submit(token, trial.public_id, answers).trial
            num_done += 1
        if num_done == before:  # no work is left
            break
    return num_done


def _refuse_among_people(store: Store, study_id: str) -> None:
    store.study(study_id)
    with store.database.read() as connection:
        people = connection.execute(
            select(func.count()).where(rater.c.study_id == study_id, rater.c.source != SOURCE)
        ).scalar()
    if people:
        raise StudyError(
            f"{people} people take part in study {study_id}: simulated votes would spoil it. "
            "Build a study of its own for simulation, with another seed or title."
        )


def _places(store: Store, study_id: str) -> dict[str, int | None]:
    with store.database.read() as connection:
        named = rows.named_arms(connection, study_id)
        pictures = connection.execute(
            select(image.c.picture_id, image.c.arm_id, arm.c.role)
            .join(arm, arm.c.id == image.c.arm_id)
            .where(image.c.study_id == study_id)
        ).all()
    return {p.picture_id: named[p.arm_id][0] if p.role == "compared" else None for p in pictures}
