"""Results of stored studies for the page: computed by a process of their own, kept on disk.

A result is kept in ROCM_HOME/studies/STUDY/reports/VERSION; VERSION identifies its votes.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from sqlalchemy import func, select

from rocm import __version__
from rocm.errors import StudyError
from rocm.storage.files import make_folder
from rocm.storage.numbers import quantity
from rocm.storage.paths import ROOT
from rocm.storage.progress import tell
from rocm.study.store import chain
from rocm.study.store.store import Store
from rocm.study.store.studies import TEACHING, StudyContext, part_of_study
from rocm.study.store.tables import exclusion, rater, trial, vote

ANSWER = "answer.json"
"""What the process answered; the last file of a result."""
REPORTS = ("report.html", "report.md", "report.json")
REPORT_FORMAT = 6
"""Raised whenever the same votes give another report, so that no older report is shown."""
COMMAND = (sys.executable, "-m", "rocm.study.report.process")
EMPTY = {
    "draft": "The study is a draft. Check its pairs and open it on the Study tab.",
    "closed": "The study was closed without votes.",
}
NO_VOTES = "No votes yet. Send raters the link on the Study tab."
ENDED = "The results process ended unexpectedly; see the log of the app. Refresh to try again."


@dataclass(frozen=True)
class StudyResult:
    """What may be shown of a study now."""

    study_id: str  # of the study
    title: str  # that raters read
    status: str  # draft, open, paused or closed
    # `absent` (no results, or they are hidden), `counting`, `failed`, `evidence` (open study:
    # e-values only) or `ready`
    state: str = "absent"
    words: str = ""  # why there are no results, or what is going on
    num_new: int = 0  # votes that came after those that are shown
    content: dict[str, Any] | None = None  # figures of the report; None if nothing is shown
    report: str = ""  # the report as HTML, all text escaped; empty unless `ready`


class Results:
    """Results of the studies of one home; one per app."""

    def __init__(self, home: Path, store: Store | None = None, command: Sequence[str] = COMMAND):
        """Results of one home; without `store` its SQLite file is opened when first needed."""
        self._home, self._store, self._command = home, store, command
        self._opening, self._starting, self._packing = Lock(), Lock(), Lock()
        self._counts: dict[str, tuple[Path, subprocess.Popen[bytes]]] = {}
        self._files: TemporaryDirectory[str] | None = None

    def studies(self) -> dict[str, str]:
        """Labels of all studies by id, newest first."""
        return {info.study_id: _label(info) for info in self.store.studies()}

    def rounds_beside(self, study_id: str) -> list[tuple[str, str]]:
        """Labels and ids of the other closed studies that a reward may learn from, newest first."""
        return [
            (_label(info), info.study_id)
            for info in self.store.studies()
            if info.status == "closed" and part_of_study(info) == TEACHING
            if info.study_id != study_id
        ]

    def look(self, study_id: str, anew: bool = False) -> StudyResult:
        """What may be shown of a study; starts to compute results, `anew` also newer ones."""
        info = self.store.study(study_id)
        result = StudyResult(study_id, info.title, info.status)
        num_votes, folder = self._version(study_id, info.status)
        if not num_votes:
            return replace(result, words=EMPTY.get(info.status, NO_VOTES))
        is_closed = info.status == "closed"
        if not is_closed and info.config.get("peeking", "hidden") == "hidden":
            words = "Results are hidden until the study is closed. Close it on the Study tab."
            return replace(result, words=f"Votes stored: {num_votes:,}. {words}")
        with self._starting:
            last, process = self._counts.get(study_id, (None, None))
            if not process or process.poll() is not None:
                shown = folder if is_closed or anew else _latest(folder)
                answer = _answer(shown)
                if answer and not answer["error"]:
                    new = num_votes - int(shown.name.partition("-")[0])
                    ready = replace(result, content=answer["content"], num_new=new)
                    if is_closed:
                        return replace(ready, state="ready", report=answer["html"])
                    return replace(ready, state="evidence")
                if last == folder and not anew:
                    return replace(result, state="failed", words=answer.get("error", ENDED))
                self._counts[study_id] = (folder, self._start(study_id, folder))
        return replace(
            result, state="counting", words=f"Computing results of {quantity(num_votes, 'vote')}."
        )

    def files(self, study_id: str) -> list[Path]:
        """Report, exports, and the study with votes and key; StudyError if it is not closed."""
        result = self.look(study_id)
        if result.status != "closed":
            raise StudyError("Votes can be downloaded after the study is closed. Close it first.")
        if result.state != "ready":
            raise StudyError(result.words)
        made = self._version(study_id, result.status)[1]
        with self._packing:  # of two visitors the second finds what the first has prepared
            # Gradio serves files of the temporary folder only, and a home may lie anywhere.
            self._files = self._files or TemporaryDirectory(prefix="rocm-results-")
            folder = Path(self._files.name) / f"{study_id}-{made.name}"
            if not (folder / REPORTS[-1]).exists():  # which is copied last
                shutil.rmtree(folder, ignore_errors=True)
                self._ask("export", study_id, folder)
                for name in REPORTS:
                    shutil.copy(made / name, folder / name)
        return sorted(folder.iterdir(), key=lambda f: (not f.name.startswith("report"), f.name))

    def verify(self, study_id: str) -> str:
        """Recount the votes and check every hash; StudyError if something is wrong."""
        faults = self._ask("verify", self.store.study(study_id).study_id)["faults"]
        return verdict(self.store, study_id, faults)

    @property
    def store(self) -> Store:
        """Of the votes; the home's SQLite file is opened when it is first asked for."""
        with self._opening:
            if self._store is None:
                make_folder(self._home)
                self._store = Store.open(self._home / "study.sqlite3")
            return self._store

    def _version(self, study_id: str, status: str) -> tuple[int, Path]:
        """The number of votes, and the folder of the result that is computed from them."""
        votes = (
            select(func.count(), func.max(vote.c.id))
            .join(trial, trial.c.id == vote.c.trial_id)
            .join(rater, rater.c.id == trial.c.rater_id)
            .where(vote.c.study_id == study_id, rater.c.source != "pilot")
        )
        out = select(func.count()).where(exclusion.c.study_id == study_id)
        skips = select(func.count()).where(trial.c.study_id == study_id, trial.c.state == "skipped")
        with self.store.database.read() as connection:
            num_votes, last = connection.execute(votes).one()
            others = [connection.execute(rows).scalar_one() for rows in (out, skips)]
        version = f"{__version__} {REPORT_FORMAT} {status} {last} {others}"
        name = f"{num_votes}-{sha256(version.encode()).hexdigest()[:12]}"
        return num_votes, self._home.resolve() / "studies" / study_id / "reports" / name

    def learn(self, studies: Sequence[str], name: str) -> str:
        """Learn the reward `preference:NAME` from closed studies, in words; StudyError if not."""
        words = [sys.executable, "-m", "rocm", "preference", "fit"]
        words += [*(f"study:{study_id}" for study_id in studies), f"--name={name.strip()}"]
        request = self._request("", studies[0], Path()) | {"args": words}
        done = subprocess.run(capture_output=True, text=True, **request)
        if done.returncode:
            raise StudyError(
                (done.stderr.strip().splitlines() or [ENDED])[-1].removeprefix("rocm: ")
            )
        return str(done.stdout).strip()

    def _start(self, study_id: str, folder: Path) -> subprocess.Popen[bytes]:
        """Begin to compute a result, in place of all earlier ones."""
        shutil.rmtree(folder.parent, ignore_errors=True)
        make_folder(folder)
        with open(folder / ANSWER, "wb") as output:
            return subprocess.Popen(stdout=output, **self._request("report", study_id, folder))

    def _ask(self, action: str, study_id: str, folder: Path = Path()) -> dict[str, Any]:
        """The answer of the results process; StudyError where it refuses."""
        request = self._request(action, study_id, folder)
        answer: dict[str, Any] = {"error": ENDED}
        with subprocess.Popen(stdout=subprocess.PIPE, **request) as process:
            for line in process.stdout or ():
                told = json.loads(line)
                if "total" in told:
                    tell(**told)
                else:
                    answer = told
        if answer["error"]:
            raise StudyError(answer["error"])
        return answer

    def _request(self, action: str, study_id: str, folder: Path) -> dict[str, Any]:
        request = {"action": action, "study": study_id, "folder": str(folder)}
        return {
            "args": [*self._command, json.dumps(request)],
            "cwd": ROOT,
            "env": {**os.environ, "ROCM_HOME": str(self._home.resolve())},
            "stdin": subprocess.DEVNULL,
        }


def _label(info: StudyContext) -> str:
    demo = ", demo" if info.is_demo else ""
    return f"{info.title} ({info.status}{demo}, {info.study_id})"


def verdict(store: Store, study_id: str, faults: list[str]) -> str:
    """That a study is intact, as far as its chain reaches back; StudyError with its faults."""
    if faults:
        raise StudyError(f"Study {study_id} is damaged: {' '.join(faults[:20])}")
    with store.database.read() as connection:
        num_later = chain.end_of(connection, study_id)["num_chained_later"]
    words = f"Study {study_id} is intact: hashes, pictures, pairs and votes."
    if num_later:
        words += (
            f" Votes that were chained after they were made: {num_later:,}. Changes before that do "
            "not show."
        )
    return words


def _latest(folder: Path) -> Path:
    """The only result of a study that is kept; `folder` if there is none."""
    return next((file.parent for file in folder.parent.glob(f"*/{ANSWER}")), folder)


def _answer(folder: Path) -> dict[str, Any]:
    """A result as the process answered it; empty if it did not answer to the end."""
    file = folder / ANSWER
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    answer: dict[str, Any] = json.loads(text) if text.endswith("\n") else {}
    return answer
