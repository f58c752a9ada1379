"""The files of a folder, copied to a dataset repository of the hub and back.

Only files of some patterns directly in the folder count. What a copy replaces stays in the
repository's history until `push` is asked to squash it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, snapshot_download

from rocm.errors import ConfigError
from rocm.storage.hub import asked, is_repository

SCHEME = "hf://"
PLACE = f"{SCHEME}datasets/"
Print = tuple[int, int]
"""Size of a file and time of its last change in nanoseconds."""
NEVER = (-1, -1)


@dataclass
class HubCopy:
    """A private dataset repository `owner/name` that copies files of `folder`.

    `push` is for one thread at a time.
    """

    repository: str
    folder: Path
    patterns: tuple[str, ...]
    _sent: dict[str, Print] = field(default_factory=dict)

    @classmethod
    def of(cls, address: str, folder: Path, patterns: tuple[str, ...]) -> "HubCopy":
        """The copy at `hf://datasets/owner/name`; ConfigError for any other address."""
        name = address.removeprefix(PLACE)
        if not address.startswith(PLACE) or not is_repository(name) or "@" in name:
            raise ConfigError(f"{address!r} names no dataset repository. Give {PLACE}OWNER/NAME.")
        return cls(name, folder, patterns)

    def fetch(self) -> None:
        """Bring every file here that is not here, or shorter here; creates the repository.

        MissingFile without a network or the right to write.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.folder, prefix=".fetched-") as place:
            asked(self.repository, lambda: self._download(place), "read")
            for pattern in self.patterns:
                for file in Path(place).glob(pattern):
                    own = self.folder / file.name
                    if not own.exists() or own.stat().st_size < file.stat().st_size:
                        file.replace(own)

    def changes(self) -> tuple[list[Any], dict[str, Print]]:
        """What `push` must do, with the files' contents now, and the prints of all files."""
        files = [file for pattern in self.patterns for file in self.folder.glob(pattern)]
        prints = {file.name: _print(file) for file in files}
        changed = [name for name, now in prints.items() if self._sent.get(name) != now]
        operations: list[Any] = [
            CommitOperationAdd(name, (self.folder / name).read_bytes()) for name in changed
        ]
        gone = self._sent.keys() - prints.keys()
        return operations + [CommitOperationDelete(name) for name in sorted(gone)], prints

    def push(self, changes: tuple[list[Any], dict[str, Print]], squashes: bool = False) -> None:
        """Send `changes` in one commit; `squashes` then drops the repository's history.

        MissingFile without a network or the right to write.
        """
        operations, prints = changes

        def send() -> None:
            words: Any = {"repo_id": self.repository, "repo_type": "dataset"}
            if operations:
                HfApi().create_commit(operations=operations, commit_message="Votes", **words)
            if squashes:
                HfApi().super_squash_history(**words)

        asked(self.repository, send, "written")
        self._sent = prints

    def _download(self, place: str) -> None:
        api = HfApi()
        words: Any = {"repo_id": self.repository, "repo_type": "dataset"}
        api.create_repo(**words, private=True, exist_ok=True)
        snapshot_download(**words, local_dir=place, allow_patterns=list(self.patterns))
        there = [file.name for pattern in self.patterns for file in Path(place).glob(pattern)]
        self._sent = dict.fromkeys(there, NEVER)  # the next push sends what is left of them


def _print(file: Path) -> Print:
    status = file.stat()
    return status.st_size, status.st_mtime_ns
