"""What a vote server asks of the store: raters come in, get trials, vote, leave.

Every function is one transaction and may be called from any thread. A rater is known by a token,
of which only the hash is stored; a trial by a random public id, bound to its rater. Nothing
returned by a function that takes a token says which arm drew what.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Row, select

from rocm.errors import StudyError, TrialExpired
from rocm.study.store import assignment, queries, rows, studies
from rocm.study.store.database import Database, Writing, as_stored
from rocm.study.store.migrate import upgrade
from rocm.study.store.studies import StudyInfo
from rocm.study.store.tables import exclusion, payment
from rocm.study.store.tables import rater as raters
from rocm.study.store.tables import trial as trials
from rocm.study.store.tables import vote as votes_table
from rocm.study.store.visit import (
    Answer,
    Progress,
    Question,
    RaterInfo,
    Screen,
    Trial,
    Visit,
    checked,
)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Store:
    """The votes of all studies in one database.

    Attributes:
        database: it is in.
        clock: that times are taken from, in UTC.
    """

    database: Database
    clock: Callable[[], datetime] = _now

    @classmethod
    def open(cls, where: str | Path, clock: Callable[[], datetime] = _now) -> "Store":
        """Open a store; an empty database gets its tables, an older one a backup and an upgrade.

        Args:
            where: file of an SQLite database, or a PostgreSQL address.
            clock: that times are taken from.

        Returns:
            The store. Close it at the end.

        Raises:
            StudyError: the address or file cannot be used, or is of a newer version.
        """
        database = Database(where)
        upgrade(database)
        return cls(database, clock)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def study(self, study_id: str) -> StudyInfo:
        """Title, status and texts of a study; StudyError if there is none."""
        with self.database.read() as connection:
            return studies.info(connection, study_id)

    def studies(self) -> list[StudyInfo]:
        """Every study, newest first."""
        with self.database.read() as connection:
            return studies.infos(connection)

    def questions(self, study_id: str) -> tuple[Question, ...]:
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
        self,
        study_id: str,
        source: str,
        ext_hmac: str | None = None,
        payment_id: str | None = None,
    ) -> Visit:
        """Let a rater in. The same outside id is the same rater, with a new token.

        Args:
            study_id: of a study that is open; a `pilot` may join one that is no longer or not yet.
            source: how the rater came, one of `SOURCES`; a demo study takes `demo`, `pilot` and
                `simulated` only.
            ext_hmac: of an outside id (`identity.external_hmac`), 64 hexadecimal digits.
            payment_id: the outside id itself, kept apart, if the study pays and says so.

        Returns:
            The token.

        Raises:
            StudyNotOpen: no new raters now.
            StudyError: no such study, or a source that it does not take.
        """
        token = secrets.token_urlsafe(24)
        with self.database.write() as w:
            study = studies.locked(w, study_id, for_update=True)
            studies.check_source(study, source)
            same = (raters.c.study_id == study_id, raters.c.source == source)
            if ext_hmac is not None:
                known = (*same, raters.c.ext_hmac == ext_hmac)
                if w.update(raters, *known, token_sha256=queries.hashed(token)):
                    return Visit(token, is_new=False)
            studies.check_open(study, source)
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
        return Visit(token, is_new=True)

    def rater(self, token: str) -> RaterInfo:
        """Who a token stands for; UnknownRater if nobody."""
        with self.database.read() as connection:
            row = queries.rater(connection, token)
        names = ("study_id", "number", "source", "status", "consent_version", "completion_code")
        return RaterInfo(*(getattr(row, name) for name in names))

    def consent(self, token: str, version: str) -> None:
        """Store that the rater agreed to this version of the text; the first time counts.

        Args:
            token: the rater's.
            version: of the consent text, as in the manifest.

        Raises:
            UnknownRater: no such rater.
            StudyError: not the version that the study has.
        """
        with self.database.write() as w:
            row = queries.rater(w.connection, token, locked=True)
            wanted = studies.info(w.connection, row.study_id).config["consent"]["version"]
            if version != wanted:
                raise StudyError(f"The study's consent text is version {wanted}. Reload the page.")
            if row.consented_at is None:
                now = self.stamp()
                w.update(raters, raters.c.id == row.id, consent_version=version, consented_at=now)

    def screen_out(self, token: str) -> None:
        """End the visit of one who declines the consent text or fails a condition of taking part.

        Args:
            token: the rater's, who has not finished.

        Raises:
            UnknownRater: no such rater.
            StudyError: the rater has finished or left.
        """
        self._leave(token, "screened_out", ("active",))

    def claim(self, token: str) -> Trial | None:
        """The rater's open trial, or else the next one; it is held for the lease.

        A reload gives the same trial again, and so does a return after the lease, unless somebody
        else has taken the place.

        Args:
            token: of a rater who has consented.

        Returns:
            The trial; None when the rater is done, or the study needs nobody any more.

        Raises:
            UnknownRater: no such rater.
            StudyNotOpen: the study is paused or closed.
            StudyError: the rater has not consented, or has left.
        """
        self.expire()
        with self.database.write() as w:
            row = queries.rater(w.connection, token, locked=True)
            if row.consented_at is None or row.status in ("screened_out", "withdrawn"):
                raise StudyError("A rater gives consent first, and gets no trial after leaving.")
            if row.status == "complete":
                return None
            has_block = assignment.block_of(w, row.id) is not None
            study = studies.locked(w, row.study_id, for_update=not has_block)
            studies.check_open(study, row.source)
            if not has_block:
                assignment.take_block(w, study, row, self.clock())
            lease = self.clock() + timedelta(minutes=assignment.design(study)["lease_minutes"])
            found = assignment.next_trial(w, row, self.stamp(), as_stored(lease))
            if found is None:
                queries.complete_if_done(w, row)
                return None
            return queries.trial_view(w.connection, found)

    def shown(self, token: str, public_id: str) -> None:
        """Store when both pictures of the rater's open trial were on the screen; the first counts.

        Args:
            token: the rater's.
            public_id: of the trial.

        Raises:
            UnknownRater: no such rater.
            UnknownTrial: no such trial of this rater.
        """
        with self.database.write() as w:
            row = queries.rater(w.connection, token, locked=True)
            found = queries.own_trial(w.connection, row, public_id)
            if found.state == "issued" and found.shown_at is None:
                w.update(trials, trials.c.id == found.id, shown_at=self.stamp())

    def submit(
        self,
        token: str,
        public_id: str,
        answers: Mapping[str, Answer],
        screen: Screen | None = None,
    ) -> Progress:
        """Store a trial's votes, all or none; once this returns they are on the disk.

        Sent again, by a retry, a double click or a second tab, it stores nothing and answers as the
        first time; the first answers stay.

        Args:
            token: the rater's.
            public_id: of the trial.
            answers: one for every question, by its key.
            screen: sizes, where the browser gave them.

        Returns:
            How far the rater is.

        Raises:
            UnknownRater: no such rater.
            UnknownTrial: no such trial of this rater.
            TrialExpired: held too long and given to somebody else, skipped, or the study is closed.
            StudyError: an answer is missing or not allowed.
        """
        with self.database.write() as w:
            row = queries.rater(w.connection, token, locked=True)
            found = queries.own_trial(w.connection, row, public_id)
            if found.state == "done":
                return queries.progress(w.connection, row, was_saved_before=True)
            self._take_back(w, row, found)
            now = self.stamp()
            w.update(trials, trials.c.id == found.id, state="done", done_at=now)
            asked = queries.questions(w.connection, row.study_id)
            sizes = vars(screen) if screen else {}
            w.insert_many(
                votes_table,
                [
                    {
                        "study_id": row.study_id,
                        "trial_id": found.id,
                        "question_key": question.key,
                        "choice": assignment.choice(answer.side, found.left_is),
                        "raw_side": answer.side,
                        "tie_reason": answer.tie_reason,
                        "rt_ms": answer.rt_ms,
                        "created_at": now,
                        **sizes,
                    }
                    for question, answer in checked(asked, answers, screen)
                ],
            )
            return queries.progress(w.connection, queries.complete_if_done(w, row))

    def skip(self, token: str, public_id: str) -> Progress:
        """The rater cannot judge this pair: no vote, and the place goes to somebody else.

        Args:
            token: the rater's.
            public_id: of the trial.

        Returns:
            How far the rater is.

        Raises:
            UnknownRater: no such rater.
            UnknownTrial: no such trial of this rater.
        """
        with self.database.write() as w:
            row = queries.rater(w.connection, token, locked=True)
            found = queries.own_trial(w.connection, row, public_id)
            if found.state == "issued":
                w.update(trials, trials.c.id == found.id, state="skipped")
                assignment.give_back(w, [found.pair_id] if assignment.counts(w, found, row) else [])
                row = queries.complete_if_done(w, row)
            return queries.progress(w.connection, row, was_saved_before=found.state != "issued")

    def upcoming(self, token: str) -> tuple[str, str] | None:
        """Picture ids of the pair that probably comes after the open trial, to be loaded ahead.

        Opens no trial; the two come in an order that says nothing of the sides.

        Args:
            token: the rater's.

        Returns:
            Two ids, or None if nothing follows.

        Raises:
            UnknownRater: no such rater.
        """
        with self.database.read() as connection:
            row = queries.rater(connection, token)
            following = assignment.remaining(connection, row)
            if not following:
                return None
            ids = queries.picture_ids(connection, following[0].pair_id)
            first, second = sorted(ids.values())
            return first, second

    def progress(self, token: str) -> Progress:
        """How far a rater is; UnknownRater if there is none."""
        with self.database.read() as connection:
            return queries.progress(connection, queries.rater(connection, token))

    def withdraw(self, token: str) -> None:
        """Take the rater's votes out of the analysis; they stay stored, and the places are free.

        Args:
            token: the rater's; a second time changes nothing.

        Raises:
            UnknownRater: no such rater.
        """
        self._leave(token, "withdrawn", ("active", "complete"))

    def expire(self) -> int:
        """Give back trials held longer than their lease, of every study; returns how many."""
        due = (trials.c.state == "issued") & (trials.c.lease_until < self.stamp())
        with self.database.read() as connection:
            if connection.execute(select(trials.c.id).where(due).limit(1)).first() is None:
                return 0
        with self.database.write() as w:
            # Whoever holds a row is at work on it: leave it to the next time.
            late = select(trials.c.id).where(due).with_for_update(skip_locked=True)
            ids = list(w.execute(late).scalars())
            gone = w.update(trials, trials.c.id.in_(ids), due, state="expired")
            assignment.give_back(w, assignment.counted_pairs(w, gone))
            return len(gone)

    def stamp(self) -> str:
        """The time as it is stored: ISO 8601 in UTC, to the millisecond."""
        return as_stored(self.clock())

    def _take_back(self, w: Writing, row: Row[Any], found: Row[Any]) -> None:
        """Make sure that a trial may still be answered: its study runs and its place is free."""
        study = studies.locked(w, row.study_id)
        if study.status == "closed" or row.status == "withdrawn":
            raise TrialExpired("The study has ended for this rater. The answer was not stored.")
        if found.state == "expired" and not assignment.reopen(w, row, found, self.stamp()):
            raise TrialExpired("This pair was held too long and has gone to somebody else.")
        if found.state == "skipped":
            raise TrialExpired("This pair was skipped, and a skipped pair takes no answer.")

    def _leave(self, token: str, status: str, before: tuple[str, ...]) -> None:
        with self.database.write() as w:
            row = queries.rater(w.connection, token, locked=True)
            if row.status == status:
                return
            if row.status not in before:
                raise StudyError(f"The rater is {row.status.replace('_', ' ')} already.")
            own = trials.c.rater_id == row.id
            given_up = w.update(trials, own, trials.c.state == "issued", state="expired")
            if status == "withdrawn":
                done = select(trials).where(own, trials.c.state == "done")
                given_up += w.execute(done).all()
                w.insert(
                    exclusion,
                    study_id=row.study_id,
                    rater_id=row.id,
                    rule=status,
                    created_at=self.stamp(),
                )
            assignment.give_back(w, assignment.counted_pairs(w, given_up))
            w.update(raters, raters.c.id == row.id, status=status)
