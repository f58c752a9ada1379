"""Results of stored studies for the page: counted by a process of its own, kept on disk.

The statistics take seconds of processor, which raters who vote on the same server must not feel.
What was counted lies in ROCM_HOME/studies/STUDY/reports/VERSION; VERSION stands for the votes that
it was counted from, so nothing is counted twice.
"""

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
from rocm.storage.files import make_folder, read_json
from rocm.storage.paths import ROOT
from rocm.study.report.document import content_of
from rocm.study.store.store import Store
from rocm.study.store.tables import exclusion, rater, trial, vote

LAST = "report.json"
"""The file of a report that is written last."""
TEXTS = ("report.html", "report.md", LAST)
REPORT_FORMAT = 2
"""Raised whenever the same votes give another report, so that no older one is shown."""
COMMAND = (sys.executable, "-m", "rocm")


@dataclass(frozen=True)
class Results:
    """What may be shown of a study now.

    Attributes:
        study_id: of the study.
        title: that raters read.
        status: draft, open, paused or closed.
        state: `absent` (nothing is there, or nothing may be shown), `counting`, `failed`,
            `evidence` (the study runs: e-values only) or `ready`.
        words: why there is nothing, or what is going on.
        num_new: votes that came after those that are shown.
        content: of report.json; None where nothing is shown.
        report: its HTML, all text escaped; empty unless `ready`.
    """

    study_id: str
    title: str
    status: str
    state: str
    words: str = ""
    num_new: int = 0
    content: dict[str, Any] | None = None
    report: str = ""


class ResultsDesk:
    """Results of the studies of one home; one per app."""

    def __init__(self, home: Path, store: Store | None = None, command: Sequence[str] = COMMAND):
        """Serve one home; nothing is opened before it is asked for.

        Args:
            home: folder of everything.
            store: of the votes; without one the home's SQLite file is opened when first needed.
            command: how `python -m rocm` is started; `study ...` is added.
        """
        self._home, self._store, self._command = home, store, command
        self._opening, self._starting = Lock(), Lock()
        self._counts: dict[str, tuple[Path, subprocess.Popen[bytes]]] = {}
        self._files: TemporaryDirectory[str] | None = None

    def studies(self) -> dict[str, str]:
        """Every study in words by its id, newest first."""
        found = self.store.studies()
        return {
            one.study_id: f"{one.title} ({one.status}{', demo' if one.is_demo else ''}, "
            f"{one.study_id})"
            for one in found
        }

    def look(self, study_id: str, anew: bool = False) -> Results:
        """What may be shown of a study; starts to count where that was not done; returns at once.

        Args:
            study_id: of the study.
            anew: of a study that runs, count the votes that came since the last count, too.

        Returns:
            The results, or why there are none yet.

        Raises:
            StudyError: there is no such study.
        """
        about = self.store.study(study_id)
        found = Results(study_id, about.title, about.status, "absent")
        num_votes, folder = self._counted_to(study_id, about.status)
        if not num_votes:
            return replace(found, words=_why_empty(about.status))
        is_over = about.status == "closed"
        if not is_over and about.config.get("peeking", "hidden") == "hidden":
            words = "The manifest hides results until the study is closed. Close it on the Study "
            return replace(found, words=f"{num_votes} votes are stored. {words}tab.")
        with self._starting:
            last, process = self._counts.get(study_id, (None, None))
            if process and process.poll() is None:
                return replace(found, state="counting", words=f"Counting {num_votes} votes.")
            shown = folder if is_over or anew else _newest(folder)
            if (shown / LAST).is_file():
                shown_votes = int(shown.name.partition("-")[0])
                return _filled(replace(found, num_new=num_votes - shown_votes), shown, is_over)
            if last == folder and not anew:
                return replace(found, state="failed", words=_reason(folder))
            self._counts[study_id] = (folder, self._start(study_id, folder))
        return replace(found, state="counting", words=f"Counting {num_votes} votes.")

    def files(self, study_id: str) -> list[Path]:
        """Report, exports, and the study with its votes and key, in the temporary folder.

        Args:
            study_id: closed.

        Returns:
            Files; they stay until they are made again or the app ends.

        Raises:
            StudyError: the study runs, is not counted yet, or a file cannot be written.
        """
        found = self.look(study_id)
        if found.status != "closed":
            raise StudyError("Votes are handed out when the study is closed. Close it first.")
        if found.state != "ready":
            raise StudyError(found.words)
        # Gradio hands out files of the temporary folder only, and a home may lie anywhere.
        self._files = self._files or TemporaryDirectory(prefix="rocm-results-")
        folder = Path(self._files.name) / study_id
        shutil.rmtree(folder, ignore_errors=True)
        self._ask("export", study_id, "--to", str(folder))
        self._ask("pack", study_id, "--votes", "--to", str(folder / "study.zip"))
        _, counted = self._counted_to(study_id, found.status)
        for name in TEXTS:
            shutil.copy(counted / name, folder / name)
        return sorted(folder.iterdir(), key=lambda f: (not f.name.startswith("report"), f.name))

    def verify(self, study_id: str) -> str:
        """Recount the votes and check every hash.

        Args:
            study_id: of the study.

        Returns:
            That everything holds.

        Raises:
            StudyError: what does not hold.
        """
        return self._ask("verify", self.store.study(study_id).study_id)

    @property
    def store(self) -> Store:
        """Of the votes; the home's SQLite file is opened when it is first asked for."""
        with self._opening:
            if self._store is None:
                make_folder(self._home)
                self._store = Store.open(self._home / "study.sqlite3")
            return self._store

    def _counted_to(self, study_id: str, status: str) -> tuple[int, Path]:
        """Votes to be counted, and the folder of the report that counts them."""
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
            others = [connection.execute(one).scalar_one() for one in (out, skips)]
        stands_for = f"{__version__} {REPORT_FORMAT} {status} {last} {others}"
        name = f"{num_votes}-{sha256(stands_for.encode()).hexdigest()[:12]}"
        return num_votes, self._home.resolve() / "studies" / study_id / "reports" / name

    def _start(self, study_id: str, folder: Path) -> subprocess.Popen[bytes]:
        """Begin to count, in place of all earlier counts."""
        shutil.rmtree(folder.parent, ignore_errors=True)
        make_folder(folder)
        with open(folder / "log.txt", "wb") as log:
            return subprocess.Popen(
                [*self._command, "study", "report", study_id, "--to", str(folder)],
                cwd=ROOT,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _ask(self, *words: str) -> str:
        """What `python -m rocm study` prints; StudyError where it refuses."""
        done = subprocess.run(
            [*self._command, "study", *words],
            cwd=ROOT,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise StudyError(_sentence(done.stderr))
        return done.stdout.strip()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "ROCM_HOME": str(self._home.resolve())}


def _why_empty(status: str) -> str:
    if status == "draft":
        return "The study is a draft. Look through its pairs and open it on the Study tab."
    if status == "closed":
        return "The study was closed without a vote."
    return "No votes yet. Send raters the link of the Study tab."


def _newest(folder: Path) -> Path:
    """The newest count of a study; `folder` where there is none."""
    found = list(folder.parent.glob(f"*/{LAST}"))
    return max(found, key=lambda file: file.stat().st_mtime).parent if found else folder


def _filled(found: Results, folder: Path, is_over: bool) -> Results:
    content = read_json(folder / LAST)
    if not is_over:
        return replace(found, state="evidence", content=content)
    report = content_of((folder / "report.html").read_text(encoding="utf-8"))
    return replace(found, state="ready", content=content, report=report)


def _reason(folder: Path) -> str:
    return _sentence((folder / "log.txt").read_text(encoding="utf-8", errors="replace"))


def _sentence(printed: str) -> str:
    """The last line that a command printed, which says what was wrong."""
    last = printed.strip().rpartition("\n")[2].removeprefix("rocm: ")
    return last or "The process that counts was ended. Ask again."
