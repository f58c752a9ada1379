"""The requests of a voting page, one method per address of docs/study-api.md."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from rocm.errors import StoreUnavailable, StudyError
from rocm.study.server import views
from rocm.study.server.bodies import JoinBody
from rocm.study.server.limits import Counter, Limits
from rocm.study.server.login import Login
from rocm.study.server.refusal import Refusal
from rocm.study.store.backup import Backup, NoBackup
from rocm.study.store.identity import external_hmac, study_secret
from rocm.study.store.invitations import invited
from rocm.study.store.queries import hashed
from rocm.study.store.session import Answer, Screen, Step
from rocm.study.store.store import Store
from rocm.study.store.studies import StudyContext

FROM_OUTSIDE = ("link", "invite", "prolific", "mturk", "pilot", "demo")
PAID = ("prolific", "mturk")
WITH_ID = (*PAID, "invite")
NAMED = ("invite", "hf", "local", "simulated")
UNINVITED = ("link", *PAID, "hf")
STUDY = re.compile(r"[0-9a-f]{12}")
NO_STUDY = "There is no study at this address. Check the link that you were given."


class Saving:
    """Counts the unsaved answers of each visit, in memory: what a restart finds is saved."""

    def __init__(self, backup: Backup | NoBackup | None = None) -> None:
        """Without a backup (None) the disk lasts, and an answer is saved when it is stored."""
        self._backup = backup
        self._marks: dict[str, list[int]] = {}
        self._lock = Lock()

    def note(self, token: str) -> None:
        """Count an answer that has just been stored."""
        if isinstance(self._backup, Backup):
            with self._lock:
                self._marks.setdefault(hashed(token), []).append(self._backup.num_given)

    def num_unsaved(self, token: str) -> int | None:
        """Answers of this visit that are not saved yet; None if nothing will save them."""
        if not isinstance(self._backup, Backup):
            return None if self._backup else 0
        with self._lock:
            marks = self._marks.pop(hashed(token), [])
            left = [mark for mark in marks if mark > self._backup.num_saved]
            if left:
                self._marks[hashed(token)] = left
            return len(left)


@dataclass(frozen=True)
class Api:
    """The store as raters may use it, who come in by `sources`, or by hf where there is a login.

    `secrets` is the folder of the keys of outside ids; `master` replaces it where it does not last.
    """

    store: Store
    secrets: Path
    sources: tuple[str, ...] = FROM_OUTSIDE
    counter: Counter = field(default_factory=lambda: Counter(Limits()))
    login: Login | None = None
    master: str = field(default="", repr=False)
    saving: Saving = field(default_factory=Saving)

    def study(self, study_id: str) -> dict[str, Any]:
        """The study before consent; 404 if there is none."""
        return views.study(self._info(study_id), self.store.questions(study_id))

    def join(self, study_id: str, body: JoinBody) -> dict[str, Any]:
        """Let a rater in; the token is given here only."""
        info = self._info(study_id)
        self._check_way_in(study_id, body)
        outside = self._outside_id(study_id, body)
        key = study_secret(self.secrets, study_id, self.master)
        visit = self.store.join(
            study_id,
            "link" if body.source == "invite" else body.source,
            ext_hmac=outside and external_hmac(key, body.source, outside),
            payment_id=outside if info.config.get("pays") and body.source in PAID else None,
        )
        return {"token": visit.token, "is_new": visit.is_new}

    def begin_login(self, study_id: str) -> dict[str, Any]:
        """The address at which a rater logs in at Hugging Face."""
        self._info(study_id)
        if self.login is None:
            raise Refusal(400, "refused", "This server has no login. Use another of its links.")
        return {"url": self.login.url(study_id)}

    def consent(self, token: str, version: str) -> dict[str, Any]:
        """Agree to a version of the consent text."""
        return self._position(token, self.store.consent(token, version))

    def decline(self, token: str) -> dict[str, Any]:
        """Leave before the work: the rater does not agree, or may not take part."""
        return self._position(token, self.store.screen_out(token))

    def trial(self, token: str) -> dict[str, Any]:
        """The open trial or the next one."""
        return self._step(token, self.store.next_step(token))

    def shown(self, token: str, trial: str) -> dict[str, Any]:
        """Both pictures are on the screen."""
        self.store.shown(token, trial)
        return {}

    def vote(
        self,
        token: str,
        trial: str,
        answers: Mapping[str, Answer],
        screen: Screen | None = None,
        address: str = "",
    ) -> dict[str, Any]:
        """Store the answers and give the next trial; the answers are on this disk by then.

        Answers are counted by `address`, of which the store gets numbers only.
        """
        self.counter.check("answers", token)
        step = self.store.submit(token, trial, answers, screen)
        study_id = step.study.study_id
        if not step.was_saved_before:
            self.saving.note(token)
            if told := self.counter.answered(study_id, address):
                self.store.note_addresses(study_id, told)
        return self._step(token, step)

    def skip(self, token: str, trial: str) -> dict[str, Any]:
        """Leave a pair without an answer, where the study allows it, and give the next trial."""
        self.counter.check("answers", token)
        return self._step(token, self.store.skip(token, trial))

    def progress(self, token: str) -> dict[str, Any]:
        """Where the rater stands."""
        return self._position(token, self.store.current_step(token))

    def withdraw(self, token: str) -> dict[str, Any]:
        """Take the rater's votes out of the analysis."""
        return self._position(token, self.store.withdraw(token))

    def _step(self, token: str, step: Step) -> dict[str, Any]:
        return views.step(step, self.saving.num_unsaved(token))

    def _position(self, token: str, step: Step) -> dict[str, Any]:
        return views.position(step, self.saving.num_unsaved(token))

    def _check_way_in(self, study_id: str, body: JoinBody) -> None:
        """Refuse a source that is not open here, and what does not belong to it."""
        sources = self.sources + (("hf",) if self.login else ())
        if body.source not in sources:
            allowed = ", ".join(sources)
            raise Refusal(400, "refused", f"source={body.source!r} is not one of {allowed}.")
        if (body.external_id is not None) != (body.source in WITH_ID):
            words = f"external_id goes with the sources {', '.join(WITH_ID)}, and only with them."
            raise Refusal(400, "refused", words)
        if (body.login is not None) != (body.source == "hf"):
            raise Refusal(400, "refused", "login goes with the source hf, and only with it.")
        known = invited(self.store, study_id)
        if body.source == "invite" and hashed(body.external_id or "") not in known:
            words = "This is no invitation to this study. Open the whole link that you were sent."
            raise Refusal(403, "not_invited", words)
        if known and body.source in UNINVITED:
            words = "This study is for invited people. Open the link that you were sent."
            raise Refusal(403, "not_invited", words)

    def _outside_id(self, study_id: str, body: JoinBody) -> str | None:
        if body.login is None:
            return body.external_id
        assert self.login, "hf is no source where there is no login"
        return self.login.subject(study_id, body.login.code, body.login.verifier)

    def _info(self, study_id: str) -> StudyContext:
        if not STUDY.fullmatch(study_id):  # of some texts PostgreSQL takes not even the question
            raise Refusal(404, "unknown_study", NO_STUDY)
        try:
            return self.store.study(study_id)
        except StoreUnavailable:
            raise
        except StudyError as error:
            raise Refusal(404, "unknown_study", NO_STUDY) from error
