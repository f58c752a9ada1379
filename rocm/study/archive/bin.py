"""Deleted drafts, kept until the bin is emptied; a study that was opened never comes here.

ROCM_HOME/studies/bin/STUDY/
  study.json    rows of the draft
  pictures/     drawn for it
  begun/        the folder studies/STUDY: its recipe

Votes of pilots on a draft are deleted for good: they are never analyzed, and no bin keeps people.
"""

import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from rocm.errors import MissingFile, StudyError
from rocm.storage.files import make_folder, read_json, write_atomic
from rocm.study.archive.pack import dump, dump_scores, insert
from rocm.study.design.build import recipe_file
from rocm.study.store import studies
from rocm.study.store.database import Writing
from rocm.study.store.pictures import SUFFIX, Pictures
from rocm.study.store.store import Store
from rocm.study.store.tables import image, metadata, payment, rater, score, study

ROWS = "study.json"
DESIGN = ("question", "prompt", "arm", "image", "pair")


@dataclass(frozen=True)
class Deleted:
    """A draft in the bin: its id, its title and the time of deletion in UTC."""

    study_id: str
    title: str
    deleted_at: datetime


class DraftBin:
    """The bin of one home; of a study that was deleted twice it keeps the newest draft."""

    def __init__(self, home: Path, store: Store):
        """Keep deleted drafts of a store below a home folder."""
        self._home, self._store = home, store
        self._pictures = Pictures(home / "study-pictures")
        self.path = home / "studies" / "bin"

    def drafts(self) -> list[Deleted]:
        """The drafts in the bin, last deleted first."""
        files = sorted(self.path.glob(f"*/{ROWS}"), key=lambda file: -file.stat().st_mtime)
        return [
            Deleted(
                file.parent.name,
                read_json(file)["study"]["title"],
                datetime.fromtimestamp(file.stat().st_mtime, UTC),
            )
            for file in files
        ]

    def put(self, study_id: str) -> None:
        """Delete a draft: rows and pictures go into the bin, pilots' votes are lost."""
        folder = self.path / study_id
        with self._store.database.write() as w:
            people = select(rater.c.id).where(rater.c.study_id == study_id)
            w.execute(people.with_for_update())  # a pilot's vote that is on its way ends first
            row = studies.locked(w, study_id, for_update=True)
            if row.status != "draft":
                raise StudyError(
                    f"The study is {row.status}, and only a draft can be deleted. Close it: it "
                    "stays, with its votes."
                )
            tables = {name: dump(w.connection, name, study_id) for name in DESIGN}
            tables["score"] = dump_scores(w.connection, study_id)
            tables["event"] = [
                event
                for event in dump(w.connection, "event", study_id)
                if event["rater_id"] is event["trial_id"] is None
            ]
            make_folder(folder / "pictures")
            kept = {"study": dict(row._mapping), "tables": tables}
            write_atomic(folder / ROWS, json.dumps(kept))
            w.delete(payment, payment.c.rater_id.in_(people))
            _delete_rows(w, study_id)
        for file in _names(tables):
            _move(self._pictures.folder / file, folder / "pictures" / file)
        shutil.rmtree(folder / "begun", ignore_errors=True)
        _move(recipe_file(self._home, study_id).parent, folder / "begun")

    def take_out(self, study_id: str) -> None:
        """Restore a deleted draft with pictures and strikes; StudyError if it was built anew."""
        if study_id not in [draft.study_id for draft in self.drafts()]:
            raise MissingFile(f"There is no study '{study_id[:40]}' in the bin, {self.path}.")
        folder = self.path / study_id
        kept = read_json(folder / ROWS)
        with self._store.database.write() as w:
            if w.execute(select(study.c.id).where(study.c.id == study_id)).first():
                raise StudyError(
                    f"Study {study_id} was built anew since it was deleted. Delete the new study "
                    "first, or leave the old study in the bin."
                )
            studies.insert(w, **kept["study"])
            ids: dict[str, dict[int, int]] = {}
            for name in (*DESIGN, "score", "event"):
                insert(w, name, kept["tables"][name], ids)
            # Before the commit: rows in the store never name a picture that is not there.
            for file in _names(kept["tables"]):
                _move(folder / "pictures" / file, self._pictures.folder / file)
        _move(folder / "begun", recipe_file(self._home, study_id).parent)
        shutil.rmtree(folder)

    def empty(self) -> int:
        """Delete all drafts in the bin for good; returns their number."""
        drafts = self.drafts()
        for draft in drafts:
            folder = self.path / draft.study_id
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise StudyError(f"Cannot delete {folder}: {error.strerror}.") from error
        return len(drafts)


def _delete_rows(w: Writing, study_id: str) -> None:
    mine = select(image.c.id).where(image.c.study_id == study_id)
    w.delete(score, score.c.image_id.in_(mine))
    for table in reversed(metadata.sorted_tables):  # what refers to others comes first
        if "study_id" in table.c:
            w.delete(table, table.c.study_id == study_id)
    w.delete(study, study.c.id == study_id)


def _names(tables: dict[str, list[dict[str, Any]]]) -> list[str]:
    return [f"{row['picture_id']}{SUFFIX}" for row in tables["image"]]


def _move(source: Path, target: Path) -> None:
    """Move a file or folder, where it is not there already."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.exists():
            os.replace(source, target)
    except OSError as error:
        raise StudyError(
            f"Cannot move {source} to {target}: {error.strerror}. Free some space or mend the "
            "folder."
        ) from error
