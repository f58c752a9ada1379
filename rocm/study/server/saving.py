"""Which answers of a rater are saved: on a disk that lasts, or in a backup that does."""

from threading import Lock

from rocm.study.store.backup import Backup, NoBackup
from rocm.study.store.queries import hashed


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
