"""Builds a study in the background, over the app's drawing queue; one study at a time.

The state is in memory, the pictures are in the store: a restarted app resumes from the recipe.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Literal

from rocm.errors import DrawingError, MissingFile, RocmError, StudyError
from rocm.generation.queue import DrawingQueue
from rocm.study.design.build import Build, begin, finish, identified, recipe_file
from rocm.study.design.recipe import Recipe
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store


@dataclass(frozen=True)
class BuildStatus:
    """A build at one moment."""

    study_id: str  # of the draft
    state: Literal["drawing", "finished", "cancelled", "failed"] = "drawing"  # of the build
    done: int = 0  # stored pictures
    total: int = 0  # pictures of the whole study; 0 until that is known
    error: str = ""  # a sentence, if the build failed


class Builds:
    """Starts, resumes and cancels the builds of one app."""

    def __init__(self, home: Path, store: Store, queue: DrawingQueue) -> None:
        """Builds of one home; pictures are drawn through `queue`."""
        self._home, self._store, self._queue = home, store, queue
        self._pictures = Pictures(home / "study-pictures")
        self._lock = Lock()
        self._now: BuildStatus | None = None
        self._request = 0
        self._is_cancelled = False

    def status(self, study_id: str) -> BuildStatus | None:
        """The build of a study, if it is the newest one of this app."""
        now = self._now
        return now if now and now.study_id == study_id else None

    def is_drawing(self, study_id: str) -> bool:
        """Whether pictures of the study are being drawn."""
        now = self.status(study_id)
        return bool(now and now.state == "drawing")

    def start(self, recipe: Recipe) -> str:
        """Store a recipe's draft, or resume it, and draw it in the background; returns its id."""
        with self._lock:
            if self._now and self._now.state == "drawing":
                raise StudyError(
                    "Another study is being built. Wait until it is finished, or cancel its build: "
                    "finished pictures are kept."
                )
            study_id = begin(self._home, self._store, recipe)
            self._now, self._is_cancelled = BuildStatus(study_id), False
        thread = Thread(target=self._work, args=(study_id, recipe), daemon=True, name="study build")
        thread.start()
        return study_id

    def resume(self, study_id: str) -> None:
        """Draw the missing pictures of a draft; RocmError as `start`, or if an adapter changed."""
        recipe = self.recipe(study_id)
        if identified(self._home, recipe)[0] != study_id:
            raise StudyError(
                "An adapter of this study has changed since its build began. Build a new study."
            )
        self.start(recipe)

    def recipe(self, study_id: str) -> Recipe:
        """The recipe that a study was built from; StudyError if it is not in this home."""
        try:
            return Recipe.load(recipe_file(self._home, study_id))
        except MissingFile as error:
            raise StudyError(
                "The recipe of this study is not here: the study was built on another machine, or "
                "by an older version."
            ) from error

    def cancel(self, study_id: str) -> None:
        """Stop drawing; finished pictures stay. A build that has ended is left as it is."""
        if self.is_drawing(study_id):
            self._is_cancelled = True
            self._queue.cancel(self._request)

    def _work(self, study_id: str, recipe: Recipe) -> None:
        build = Build(
            self._home,
            self._store,
            self._pictures,
            self._queue,
            on_request=self._note_request,
            on_picture=lambda done, total: self._change(done=done, total=total),
        )
        try:
            finish(build, study_id, recipe)
            self._change(state="finished")
        except RocmError as error:
            if self._is_cancelled:
                self._change(state="cancelled")
            else:
                self._change(state="failed", error=str(error))
        finally:  # a bug: its traceback is in the log, and the page must not wait
            if self.is_drawing(study_id):
                self._change(state="failed", error="The build failed; see the log of the app.")

    def _note_request(self, request: int) -> None:
        self._request = request
        if self._is_cancelled:
            self._queue.cancel(request)
            raise DrawingError("The build was canceled.")

    def _change(self, **values: Any) -> None:
        if self._now:
            self._now = replace(self._now, **values)
