"""Erasing a rater for good, and the ids that were kept to pay; for when no app is running."""

from sqlalchemy import delete, select

from rocm.errors import StudyError
from rocm.study.store import assignment, chain, events, studies, triggers
from rocm.study.store.store import Store
from rocm.study.store.tables import block, event, exclusion, payment, rater, slot, trial, vote


def erase(store: Store, study_id: str, number: int) -> int:
    """Delete a rater with every trace but a tombstone, while no app runs; number of votes."""
    database = store.database
    with database.write() as w:
        studies.locked(w, study_id, for_update=True)
        mine = (rater.c.study_id == study_id, rater.c.number == number)
        row = w.execute(select(rater).where(*mine)).one_or_none()
        if row is None:
            raise StudyError(f"Study {study_id} has no rater {number}.")
        own = select(trial.c.id).where(trial.c.rater_id == row.id)
        live = w.execute(
            select(trial).where(trial.c.rater_id == row.id, trial.c.state.in_(assignment.LIVE))
        ).all()
        if row.status != "withdrawn":
            assignment.give_back(w, live)
        links = chain.links_of(w.connection, study_id, row.id)
        with triggers.lifted(w.connection):
            num_votes = w.connection.execute(delete(vote).where(vote.c.trial_id.in_(own))).rowcount
            for table, condition in (
                (event, event.c.trial_id.in_(own) | (event.c.rater_id == row.id)),
                (exclusion, exclusion.c.trial_id.in_(own) | (exclusion.c.rater_id == row.id)),
                (payment, payment.c.rater_id == row.id),
                (trial, trial.c.rater_id == row.id),
                (slot, slot.c.block_id.in_(select(block.c.id).where(block.c.rater_id == row.id))),
                (block, block.c.rater_id == row.id),
                (rater, rater.c.id == row.id),
            ):
                w.execute(delete(table).where(condition))
        tombstone = {"rater": number, "votes": num_votes, "links": links}
        events.note(w, study_id, store.stamp(), events.ERASED, tombstone)
    if database.is_sqlite:
        with database.alone() as connection:
            # What was deleted must not be left in free pages or in the write-ahead log.
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return int(num_votes)


def forget_payments(store: Store, study_id: str) -> int:
    """Delete the outside ids of a study's raters; returns how many."""
    store.study(study_id)
    with store.database.write() as w:
        of_study = select(rater.c.id).where(rater.c.study_id == study_id)
        gone = w.connection.execute(delete(payment).where(payment.c.rater_id.in_(of_study)))
    return int(gone.rowcount)
