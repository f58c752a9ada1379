"""Some files of a folder, copied to a dataset repository of the hub and back."""

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, snapshot_download

from rocm.errors import ConfigError
from rocm.storage.hub import asked, is_repository

PLACE = "hf://datasets/"
Print = tuple[int, int]
"""Size of a file and time of its last change in nanoseconds."""
NEVER = (-1, -1)
Changes = tuple[list[Any], dict[str, Print]]


@dataclass
class HubCopy:
    """A private dataset repository `owner/name` with the files of `folder` that fit `patterns`.

    Methods that ask the hub raise MissingFile without a network or the right to write.
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
        """Bring every file here that is not here, or shorter here; creates the repository."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.folder, prefix=".fetched-") as place:
            asked(self.repository, lambda: self._download(place), "read")
            fetched = self._files(Path(place))
            for file in fetched:
                own = self.folder / file.name
                if not own.exists() or own.stat().st_size < file.stat().st_size:
                    file.replace(own)
        self._sent = {file.name: NEVER for file in fetched}

    def changes(self) -> Changes:
        """What `push` must send, with contents as they are now."""
        prints = {file.name: _print(file) for file in self._files(self.folder)}
        operations: list[Any] = [
            CommitOperationAdd(name, (self.folder / name).read_bytes())
            for name, now in prints.items()
            if self._sent.get(name) != now
        ]
        gone = sorted(self._sent.keys() - prints.keys())
        return operations + [CommitOperationDelete(name) for name in gone], prints

    def push(self, changes: Changes, squashes: bool = False) -> None:
        """Send changes in one commit; `squashes` then drops the repository's history."""
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
        words: Any = {"repo_id": self.repository, "repo_type": "dataset"}
        HfApi().create_repo(**words, private=True, exist_ok=True)
        snapshot_download(**words, local_dir=place, allow_patterns=list(self.patterns))

    def _files(self, folder: Path) -> list[Path]:
        return [file for pattern in self.patterns for file in folder.glob(pattern)]


def _print(file: Path) -> Print:
    status = file.stat()
    return status.st_size, status.st_mtime_ns
