"""Builds a study in the background, over the app's own drawing queue; one at a time.

What happens is in memory, what is drawn in the store: a reload of a page changes nothing, and after
a restart of the app a build goes on from the recipe that the draft keeps.
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

State = Literal["drawing", "finished", "cancelled", "failed"]


@dataclass(frozen=True)
class Building:
    """A build at one moment.

    Attributes:
        study_id: of the draft.
        state: what happens to it.
        done: pictures stored.
        total: pictures that the study takes; 0 until that is known.
        error: a sentence, where it failed.
    """

    study_id: str
    state: State
    done: int = 0
    total: int = 0
    error: str = ""


class Builder:
    """Starts, watches and cancels builds of one app."""

    def __init__(self, home: Path, store: Store, queue: DrawingQueue) -> None:
        """Start nothing yet.

        Args:
            home: folder of everything.
            store: of the votes.
            queue: that draws.
        """
        self._home, self._store, self._queue = home, store, queue
        self._pictures = Pictures(home / "study-pictures")
        self._lock = Lock()
        self._now: Building | None = None
        self._request = 0
        self._is_cancelled = False

    def status(self, study_id: str) -> Building | None:
        """The study's build, if it is the newest one of this app."""
        now = self._now
        return now if now and now.study_id == study_id else None

    def start(self, recipe: Recipe) -> str:
        """Check a recipe, make its draft, and draw it in the background.

        Args:
            recipe: what the study is; one that was begun before goes on.

        Returns:
            Id of the study.

        Raises:
            StudyError: another study is being built, or this one is open already.
            RocmError: a model, adapter or prompt list is missing.
        """
        with self._lock:
            if self._now and self._now.state == "drawing":
                raise StudyError(
                    "Another study is being built. Wait for it, or cancel it: what is drawn stays."
                )
            study_id = begin(self._home, self._store, recipe)
            self._now, self._is_cancelled = Building(study_id, "drawing"), False
        thread = Thread(target=self._work, args=(study_id, recipe), daemon=True, name="study build")
        thread.start()
        return study_id

    def go_on(self, study_id: str) -> None:
        """Draw what is missing of a draft.

        Args:
            study_id: of the draft.

        Raises:
            StudyError: its recipe or an adapter is not what it was, or another study is built.
        """
        recipe = self.recipe(study_id)
        if identified(self._home, recipe)[0] != study_id:
            raise StudyError(
                "An adapter of this study is not what it was when the study was begun. Build a "
                "new study."
            )
        self.start(recipe)

    def recipe(self, study_id: str) -> Recipe:
        """The recipe that a study was begun with; StudyError if it is not kept here."""
        try:
            return Recipe.load(recipe_file(self._home, study_id))
        except MissingFile as error:
            raise StudyError(
                "The recipe of this study is not kept here. It was built elsewhere, or by an older "
                "version."
            ) from error

    def cancel(self, study_id: str) -> None:
        """Draw no more of a study; what is drawn stays. Nothing happens to one that has ended."""
        now = self.status(study_id)
        if now and now.state == "drawing":
            self._is_cancelled = True
            self._queue.cancel(self._request)

    def _work(self, study_id: str, recipe: Recipe) -> None:
        work = Build(
            self._home,
            self._store,
            self._pictures,
            self._queue,
            say=lambda line: None,
            on_request=self._note_request,
            on_picture=lambda done, total: self._change(done=done, total=total),
        )
        try:
            finish(work, study_id, recipe)
            self._change(state="finished")
        except RocmError as error:
            is_wanted = self._is_cancelled
            words = "" if is_wanted else str(error)
            self._change(state="cancelled" if is_wanted else "failed", error=words)
        finally:  # a defect of ours: its traceback is in the log, and the page does not wait
            if self._now and self._now.state == "drawing":
                self._change(
                    state="failed", error="The build ended unexpectedly; see the app's log."
                )

    def _note_request(self, number: int) -> None:
        self._request = number
        if self._is_cancelled:
            self._queue.cancel(number)
            raise DrawingError("The build was cancelled.")

    def _change(self, **values: Any) -> None:
        if self._now:
            self._now = replace(self._now, **values)
