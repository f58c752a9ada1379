"""Links for invited raters: each lets in one rater, and only its hash is stored, as an event."""

import json
import secrets

from sqlalchemy import select

from rocm.errors import StudyError
from rocm.study.store import studies
from rocm.study.store.queries import hashed
from rocm.study.store.store import Store
from rocm.study.store.tables import event

KIND = "invited"
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
        data = json.dumps({"sha256": [hashed(code) for code in codes]})
        w.insert(event, study_id=study_id, at=store.stamp(), kind=KIND, data_json=data)
    return codes


def invited(store: Store, study_id: str) -> set[str]:
    """Hashes of all invitations of a study; none where anybody with its link may come in."""
    statement = select(event.c.data_json).where(event.c.study_id == study_id, event.c.kind == KIND)
    with store.database.read() as connection:
        documents = connection.execute(statement).scalars().all()
    return {code for data in documents for code in json.loads(data)["sha256"]}
