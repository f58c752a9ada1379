"""Repositories of the Hugging Face hub: their names, and their files on this disk.

Needs no torch. Nothing is downloaded but by `fetch`; everybody else asks `local_snapshot`, which
never goes to the network. `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_OFFLINE` and `HF_TOKEN` mean what they
mean to the hub's own library.
"""

import errno
import hashlib
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rocm.errors import ConfigError, MissingFile, RunError

ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
NO_NAME = re.compile(r"--|\.\.|[-.]$|\.git$")  # the hub has no such names
MAX_NAME = 96
SHA256 = re.compile(r"[0-9a-f]{64}")
SHARE_OF_DISK = 0.98
TIMEOUT_S = 30.0  # for the first answer; the library itself would wait for ever
MAKE_ROOM = "Make room, or set HF_HOME to a folder on another disk"
# What an answer of the hub means, where it says no more than its number.
STATUSES = {
    401: "it needs a login. Run: hf auth login, or check the name",
    403: "the hub forbids it. Ask its owner for the right, or check your token: hf auth whoami",
    404: "it is not there. Check the name",
    429: "the hub was asked too often. Wait some minutes",
}
# What reading an answer raises that is not the hub's, such as a login page, or other JSON.
FOREIGN = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
OTHER_STATUS = "the hub failed. Try again later"
Answer = TypeVar("Answer")

# Commits of the repositories that docs and presets name. A branch may move under a name, a commit
# may not. Where nothing is pinned `main` is taken, and the manifest says which commit that was.
PINNED = {
    "SimianLuo/LCM_Dreamshaper_v7": "a85df6a8bd976cdd08b4fd8f3b73f229c9e54df5",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
    "stabilityai/stable-diffusion-xl-base-1.0": "462165984030d82259a11f4367a4eed129e94a7b",
    "stabilityai/sd-turbo": "b261bac6fd2cf515557d5d0707481eafa0485ec2",
    "stabilityai/sdxl-turbo": "71153311d3dbb46851df1931d3ca6e939de83304",
    "latent-consistency/lcm-lora-sdv1-5": "cf2fced511dbe7e26c8d1d397e728fbab875db4b",
    "latent-consistency/lcm-lora-sdxl": "a18548dd4956b174ec5b0d78d340c8dae0a129cd",
    "xswu/HPSv2": "697403c78157020a1ae59d23f111aa58ced35b0a",
    "yuvalkirstain/PickScore_v1": "a4e4367c6dfa7288a00c550414478f865b875800",
    "openai/clip-vit-large-patch14": "32bd64288804d66eefd0ccbe215aa642df71cc41",
    "THUDM/ImageReward": "5736be03b2652728fb87788c9797b0570450ab72",
    "google-bert/bert-base-uncased": "86b5e0934494bd15c9632b12f734a8a67f723594",
}


@dataclass(frozen=True)
class Repository:
    """A repository `owner/name` at a commit, branch or tag.

    `files` and `ignored` are patterns of the files that are wanted, and not though they match; *
    also matches a slash.
    """

    name: str
    revision: str
    files: tuple[str, ...] = field(default=(), compare=False)
    ignored: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        """As the user may write it."""
        return f"{self.name}@{self.revision}"


@dataclass(frozen=True)
class Download:
    """The size of a download, in bytes."""

    total: int
    missing: int


def is_repository(text: str) -> bool:
    """Whether a text has the form `owner/name` or `owner/name@revision`."""
    name = text.partition("@")[0]
    return bool(ID.fullmatch(name)) and len(name) <= MAX_NAME and not NO_NAME.search(name)


def repository(text: str, files: Sequence[str] = (), ignored: Sequence[str] = ()) -> Repository:
    """The repository `owner/name[@revision]`, by default its pinned revision; or ConfigError."""
    name, _, revision = text.partition("@")
    if not is_repository(name):
        raise ConfigError(
            f"'{text[:200]}' names no repository of the hub. Write owner/name, or "
            "owner/name@revision."
        )
    return Repository(name, revision or PINNED.get(name, "main"), tuple(files), tuple(ignored))


def local_snapshot(wanted: Repository) -> Path:
    """The repository's folder in the hub's cache, named after its commit, or MissingFile."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(_snapshot(wanted, local_files_only=True))
    except LocalEntryNotFoundError as error:
        raise MissingFile(
            f"{wanted} is not on this disk. Run: python -m rocm download {wanted.name}"
        ) from error


def size(wanted: Repository) -> Download:
    """Ask the hub for the size of the wanted files, in all and missing here; raises as `asked`."""
    plan = asked(str(wanted), lambda: _plan(wanted))
    if not plan:
        raise MissingFile(
            f"{wanted} has none of the files that are needed: {', '.join(wanted.files)}. "
            "Give another repository."
        )
    sizes = [(file.file_size or 0, file.is_cached) for file in plan]
    total = sum(number for number, _ in sizes)
    return Download(total, total - sum(number for number, is_cached in sizes if is_cached))


def fetch(wanted: Repository, announce: Callable[[str], None]) -> Path:
    """Download and check what is missing of a repository; returns its folder in the hub's cache.

    `announce` takes a sentence with the size first. Raises as `asked`, `RunError` if the disk has
    no room, and `ConfigError` if a file arrived damaged, which is then deleted.
    """
    needed = size(wanted)
    announce(announcement(wanted, needed))
    _check_room(wanted, needed)
    folder = Path(asked(str(wanted), lambda: _snapshot(wanted)))
    for file in folder.rglob("*.safetensors"):
        _check_content(file)
    return folder


def announcement(wanted: Repository, needed: Download) -> str:
    """One sentence on the size of a download."""
    if not needed.missing:
        return f"{wanted}: {megabytes(needed.total)}, all of it here already."
    here = needed.total - needed.missing
    part = f" of {megabytes(needed.total)}, the rest is here already" if here else ""
    return f"{wanted}: {megabytes(needed.missing)} to download{part}."


def megabytes(number: float) -> str:
    """Bytes in words, such as 4.27 GB."""
    if number >= 1e9:
        return f"{number / 1e9:.2f} GB"
    return f"{number / 1e6:.3g} MB"


def _plan(wanted: Repository) -> Any:
    """The wanted files with their sizes, nothing downloaded."""
    from huggingface_hub import HfApi

    # Without a network this fails at once; of a known commit the library asks for the files first,
    # and that five times more, over half a minute, with words of its own.
    HfApi().model_info(wanted.name, revision=wanted.revision, timeout=TIMEOUT_S)
    return _snapshot(wanted, dry_run=True, tqdm_class=_silent_bar())


def _snapshot(wanted: Repository, **options: Any) -> Any:
    from huggingface_hub import constants, snapshot_download

    return snapshot_download(
        wanted.name,
        revision=wanted.revision,
        allow_patterns=list(wanted.files) or None,
        ignore_patterns=list(wanted.ignored) or None,
        cache_dir=constants.HF_HUB_CACHE,
        **options,
    )


def _silent_bar() -> type:
    """A progress bar that shows nothing: asking for a size is no download."""
    from huggingface_hub.utils import tqdm

    class SilentBar(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})

    return SilentBar


def asked(name: str, question: Callable[[], Answer], done: str = "downloaded") -> Answer:
    """The hub's answer to `question`, or MissingFile, which `name` and `done` describe."""
    from httpx2 import TransportError  # the library's own; no OSError
    from huggingface_hub.errors import DryRunError

    try:
        return question()
    except DryRunError as error:
        raise MissingFile(_refusal(name, error.__cause__ or error, done)) from error
    except (TransportError, OSError, *FOREIGN) as error:
        raise MissingFile(_refusal(name, error, done)) from error


def _refusal(name: str, error: BaseException, done: str) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return (
            f"{name} asks for consent first. Give it at {constants.ENDPOINT}, then: hf auth login"
        )
    if isinstance(error, RepositoryNotFoundError):
        return f"{name} is not on the hub, or is private. Check the name, or run: hf auth login"
    if isinstance(error, RevisionNotFoundError):
        return f"{name}: the hub has the name, but no such revision. Take another one."
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        return _no_network(name)
    if isinstance(error, HfHubHTTPError):
        code = error.response.status_code
        return f"{name} could not be {done} (HTTP {code}): {STATUSES.get(code, OTHER_STATUS)}."
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    if isinstance(error, OSError):
        advice = f"{MAKE_ROOM}." if error.errno == errno.ENOSPC else "Try again."
        return f"{name} could not be {done}: {reason}. {advice}"
    if isinstance(error, FOREIGN):
        return (
            f"{name} could not be {done}: {constants.ENDPOINT} answered what the hub does not "
            f"({reason}). Check HF_ENDPOINT, and whether the network asks for a login first."
        )
    return _no_network(name)


def _no_network(name: str) -> str:
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return f"{name} cannot be reached: HF_HUB_OFFLINE forbids it. Unset that."
    return (
        f"{name} cannot be reached: {constants.ENDPOINT} does not answer. Check the network, or "
        "give a local folder."
    )


def _check_room(wanted: Repository, needed: Download) -> None:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    existing = next(part for part in (folder, *folder.parents) if part.exists())
    free = shutil.disk_usage(existing).free
    if needed.missing > SHARE_OF_DISK * free:
        raise RunError(
            f"{wanted} needs {megabytes(needed.missing)}, and {existing} has {megabytes(free)} "
            f"free. {MAKE_ROOM}."
        )


def _check_content(file: Path) -> None:
    """The cache names a large file by its sha256."""
    blob = file.resolve()
    if not SHA256.fullmatch(blob.name):
        return
    with blob.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != blob.name:
        file.unlink()
        blob.unlink()
        raise ConfigError(f"{file.name} arrived damaged and was deleted. Download it again.")
