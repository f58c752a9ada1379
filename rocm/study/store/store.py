"""The vote store: raters join, get trials, vote and leave; each method is one transaction.

Only hashes of raters' tokens are stored. No method that takes a token tells an arm.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Row, select

from rocm.errors import StudyError, StudyNotOpen, TrialExpired
from rocm.study.store import assignment, chain, events, queries, rows, studies
from rocm.study.store.database import Database, Writing, as_stored
from rocm.study.store.migrate import upgrade
from rocm.study.store.session import Answer, Screen, Session, Step, TrialQuestion, checked
from rocm.study.store.studies import StudyContext
from rocm.study.store.tables import exclusion, payment
from rocm.study.store.tables import rater as raters
from rocm.study.store.tables import trial as trials
from rocm.study.store.tables import vote as votes_table


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Store:
    """The votes of all studies in one database; `clock` gives times in UTC."""

    database: Database
    clock: Callable[[], datetime] = _now

    @classmethod
    def open(
        cls, where: str | Path, clock: Callable[[], datetime] = _now, creates: bool = True
    ) -> "Store":
        """Open a store, an SQLite file or PostgreSQL address, with tables made or upgraded.

        Unless `creates`, StudyError for a file that is not there.
        """
        database = Database(where, creates)
        upgrade(database)
        return cls(database, clock)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def study(self, study_id: str) -> StudyContext:
        """Title, status and texts of a study; StudyError if there is none."""
        with self.database.read() as connection:
            return studies.info(connection, study_id)

    def studies(self) -> list[StudyContext]:
        """Every study, newest first."""
        with self.database.read() as connection:
            return studies.infos(connection)

    def questions(self, study_id: str) -> tuple[TrialQuestion, ...]:
        """The questions of a study in their order."""
        with self.database.read() as connection:
            return queries.questions(connection, study_id)

    def votes(self, study_id: str) -> list[rows.Vote]:
        """Every vote as a plain row, excluded ones too; `vars` of it suits `Votes.from_rows`."""
        with self.database.read() as connection:
            return rows.votes(connection, study_id)

    def scores(self, study_id: str) -> dict[str, dict[str, float]]:
        """Rewards by name of every picture of a study, by picture id."""
        with self.database.read() as connection:
            return rows.scores(connection, study_id)

    def join(
        self, study_id: str, source: str, ext_hmac: str | None = None, payment_id: str | None = None
    ) -> Session:
        """Let a rater in. The same outside id is the same rater, with a new token.

        `ext_hmac` is of the outside id; `payment_id` is the id itself, kept apart, if the study
        pays. StudyNotOpen before opening and in a pause, except for a `pilot`.
        """
        token = secrets.token_urlsafe(24)
        with self.database.write() as w:
            study = studies.locked(w, study_id, for_update=True)
            studies.check_source(study, source)
            same = (raters.c.study_id == study_id, raters.c.source == source)
            if ext_hmac is not None:
                known = (*same, raters.c.ext_hmac == ext_hmac)
                if w.update(raters, *known, token_sha256=queries.hashed(token)):
                    return Session(token, is_new=False)
            if reason := studies.why_not_open(study, source):
                raise StudyNotOpen(reason)
            row = w.insert(
                raters,
                study_id=study_id,
                number=assignment.next_number(w, raters, study_id),
                source=source,
                ext_hmac=ext_hmac,
                token_sha256=queries.hashed(token),
                status="active",
                created_at=self.stamp(),
            )
            if payment_id is not None:
                w.insert(payment, rater_id=row.id, external_id=payment_id)
        return Session(token, is_new=True)

    def current_step(self, token: str) -> Step:
        """Where a rater stands, without a trial; UnknownRater if nobody has this token."""
        with self.database.read() as connection:
            return queries.current_step(connection, queries.rater(connection, token))

    def consent(self, token: str, version: str) -> Step:
        """Store that the rater agreed to the text's version; the first time counts."""
        with self.database.write() as w:
            row = queries.rater(w.connection, token, locked=True)
            expected = studies.info(w.connection, row.study_id).config["consent"]["version"]
            if version != expected:
                raise StudyError(
                    f"Consent to version {version} was given, but the study's text is version "
                    f"{expected}. Reload the page."
                )
            if row.consented_at is None:
                agreed = {"consent_version": version, "consented_at": self.stamp()}
                row = w.update(raters, raters.c.id == row.id, **agreed)[0]
            return queries.current_step(w.connection, row)

    def screen_out(self, token: str) -> Step:
        """End the session of a rater who declines or may not take part; StudyError if complete."""
        return self._leave(token, "screened_out", ("active",))

    def withdraw(self, token: str) -> Step:
        """Take the rater's votes out of the analysis; they stay stored, and the places are free."""
        return self._leave(token, "withdrawn", ("active", "complete"))

    def next_step(self, token: str) -> Step:
        """The rater's open trial, or else the next one, held for the lease; a reload repeats it."""

        def step(w: Writing) -> Step:
            row = queries.rater(w.connection, token, locked=True)
            needs_block = row.status == "active" and not assignment.has_block(w, row.id)
            study = studies.locked(w, row.study_id, for_update=needs_block)
            return queries.next_step(w, row, study, self.clock())

        return self.database.together(step)

    def shown(self, token: str, public_id: str) -> None:
        """Store when both pictures of an open trial were first on the screen."""
        with self.database.write() as w:
            _, held = queries.own_trial(w.connection, token, public_id)
            if held.state == "issued" and held.shown_at is None:
                w.update(trials, trials.c.id == held.id, shown_at=self.stamp())

    def submit(
        self,
        token: str,
        public_id: str,
        answers: Mapping[str, Answer],
        screen: Screen | None = None,
    ) -> Step:
        """Store a trial's votes, all or none, and give the next trial, in one transaction.

        Sent again, by a retry or a second tab, it stores nothing and gives the same next trial.
        TrialExpired if another rater has the pair, it was skipped, or the study is closed.
        """

        def vote(w: Writing) -> Step:
            row, held = queries.own_trial(w.connection, token, public_id)
            study = studies.locked(w, row.study_id)
            was_saved_before = held.state == "done"
            if not was_saved_before:
                end = chain.locked(w, row.study_id)
                _check_open_for_answers(w, study, row, held)
                asked = queries.questions(w.connection, row.study_id)
                self._store_votes(w, end, held, checked(asked, answers, screen), screen)
            step = queries.next_step(w, row, study, self.clock())
            return replace(step, was_saved_before=was_saved_before)

        return self.database.together(vote)

    def skip(self, token: str, public_id: str) -> Step:
        """Store no vote for a pair, free its place for another rater, and give the next trial."""
        with self.database.write() as w:
            row, held = queries.own_trial(w.connection, token, public_id)
            study = studies.locked(w, row.study_id)
            if not assignment.design(study).get("allow_skip", True):
                raise StudyError("This study does not allow skipping. Give your best answer.")
            if held.state == "issued":
                w.update(trials, trials.c.id == held.id, state="skipped")
                assignment.give_back(w, [held])
            step = queries.next_step(w, row, study, self.clock())
            return replace(step, was_saved_before=held.state != "issued")

    def note_addresses(self, study_id: str, told: dict[str, int]) -> None:
        """Store how many answers came from how many addresses, and from the busiest of them."""
        with self.database.write() as w:
            events.note(w, study_id, self.stamp(), events.ADDRESSES, told)

    def expire(self) -> int:
        """Give back trials held longer than their lease, of every study; returns their number."""
        with self.database.write() as w:
            return assignment.expire(w, self.stamp())

    def stamp(self) -> str:
        """The time as it is stored: ISO 8601 in UTC, to the millisecond."""
        return as_stored(self.clock())

    def _store_votes(
        self,
        w: Writing,
        end: Row[Any],
        held: Row[Any],
        answered: Sequence[tuple[TrialQuestion, Answer]],
        screen: Screen | None,
    ) -> None:
        now = self.stamp()
        w.update(trials, trials.c.id == held.id, state="done", done_at=now)
        votes = [
            {
                "study_id": held.study_id,
                "trial_id": held.id,
                "question_key": question.key,
                "choice": assignment.choice(answer.side, held.left_is),
                "raw_side": answer.side,
                "tie_reason": answer.tie_reason,
                "rt_ms": answer.rt_ms,
                "created_at": now,
                **(vars(screen) if screen else {}),
            }
            for question, answer in answered
        ]
        w.insert_many(votes_table, chain.linked(w, end, held.id, votes))

    def _leave(self, token: str, status: str, before: tuple[str, ...]) -> Step:
        with self.database.write() as w:
            row = queries.rater(w.connection, token, locked=True)
            if row.status == status:
                return queries.current_step(w.connection, row)
            if row.status not in before:
                raise StudyError(f"The rater is {row.status.replace('_', ' ')} already.")
            own = trials.c.rater_id == row.id
            given_up = w.update(trials, own, trials.c.state == "issued", state="expired")
            if status == "withdrawn":
                done = select(trials).where(own, trials.c.state == "done")
                given_up += w.execute(done).all()
                about, now = {"study_id": row.study_id, "rater_id": row.id}, self.stamp()
                w.insert(exclusion, **about, rule=status, created_at=now)
                events.note(w, **about, at=now, kind=events.WITHDREW, data={})
            assignment.give_back(w, given_up)
            row = w.update(raters, raters.c.id == row.id, status=status)[0]
            return queries.current_step(w.connection, row)


def _check_open_for_answers(w: Writing, study: Row[Any], row: Row[Any], held: Row[Any]) -> None:
    """TrialExpired unless a trial may still be answered; an expired one takes its place again."""
    if study.status == "closed" or row.status == "withdrawn":
        raise TrialExpired("The study has ended for this rater. The answer was not stored.")
    if held.state == "skipped":
        raise TrialExpired("This pair was skipped, and a skipped pair takes no answer.")
    if held.state == "expired" and not assignment.reopen(w, held):
        raise TrialExpired("This pair was held too long and has gone to another rater.")
