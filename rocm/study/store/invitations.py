"""Links for invited raters: each lets in one rater, and only its hash is stored, as an event."""

import secrets

from rocm.errors import StudyError
from rocm.study.store import studies
from rocm.study.store.events import INVITED, note, noted
from rocm.study.store.queries import hashed
from rocm.study.store.store import Store

MOST_AT_ONCE = 1000


def invite(store: Store, study_id: str, num: int) -> list[str]:
    """Make 1 to 1000 secrets; from then on only invited raters and pilots may join."""
    if not 1 <= num <= MOST_AT_ONCE:
        raise StudyError(f"{num} raters cannot be invited at once: give 1 to {MOST_AT_ONCE}.")
    codes = [secrets.token_urlsafe(16) for _ in range(num)]
    with store.database.write() as w:
        study = studies.locked(w, study_id, for_update=True)
        if study.status == "closed" or study.is_demo:
            state = "closed" if study.status == "closed" else "a demonstration, open to all"
            raise StudyError(f"The study is {state}: nobody is invited to it. Choose another one.")
        note(w, study_id, store.stamp(), INVITED, {"sha256": [hashed(code) for code in codes]})
    return codes


def invited(store: Store, study_id: str) -> set[str]:
    """Hashes of all invitations of a study; none where anybody with its link may come in."""
    with store.database.read() as connection:
        told = noted(connection, study_id, INVITED)
    return {code for data in told for code in data["sha256"]}
