"""The published reward models: their files, where these lie on disk, and what their scores mean.

Read without torch. A file lies in a folder of its repository's name below the weights folder
(`ROCM_REWARDS`), or in the hub's cache at the commit that `rocm.storage.hub` pins; nothing is
downloaded but by `download`.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path

from rocm.errors import MissingFile
from rocm.storage.hub import PINNED, TIMEOUT_S, asked


@dataclass(frozen=True)
class WeightFile:
    """A file of a published model; `owner/name` on the hub, whose last part names the folder.

    `megabytes` (10^6 bytes) is 0 and `sha256` empty where nobody states it; `url` is where the file
    is, if not on the hub; `mistaken` a published file of the same model that cannot be used.
    """

    repository: str
    name: str
    megabytes: float
    url: str = ""
    sha256: str = ""
    mistaken: str = ""

    @property
    def folder(self) -> Path:
        """Its folder below the weights folder."""
        return weights_folder() / self.repository.rpartition("/")[2]

    def find(self) -> Path | None:
        """The file on this disk: in its folder, or in the hub's cache."""
        return self._find(self.name)

    def find_mistaken(self) -> Path | None:
        """The unusable file, where somebody has downloaded it instead."""
        return self._find(self.mistaken) if self.mistaken else None

    def _find(self, name: str) -> Path | None:
        own = self.folder / name
        if os.path.isfile(own):
            return own
        if self.url:
            return None
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(self.repository, name, revision=PINNED[self.repository])
        return Path(cached) if isinstance(cached, str) else None


@dataclass(frozen=True)
class PublishedReward:
    """A reward model that others have published: its files, the checkpoint first.

    `native_range` are usual values, lowest and highest, for a chart's axis.
    """

    files: tuple[WeightFile, ...]
    native_range: tuple[float, float]
    needs_prompt: bool


def _hpsv2(name: str) -> tuple[WeightFile, ...]:
    return (WeightFile("xswu/HPSv2", name, 1970, mistaken="HPS_v2.pt"),)


def _clip(repository: str, megabytes: float) -> tuple[WeightFile, ...]:
    weights = WeightFile(repository, "model.safetensors", megabytes)
    return (weights, WeightFile(repository, "config.json", 0.01))


_CLIP_FILES = _clip("openai/clip-vit-large-patch14", 1710)
_VOCABULARY = WeightFile(
    "google-bert/bert-base-uncased",
    "vocab.txt",
    0.23,
    sha256="07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
)
_AESTHETIC = WeightFile(
    "improved-aesthetic-predictor",
    "sac+logos+ava1-l14-linearMSE.pth",
    3.71,
    url="https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main/"
    "sac%2Blogos%2Bava1-l14-linearMSE.pth",
    sha256="21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
)
_IMAGEREWARD = WeightFile(
    "THUDM/ImageReward",
    "ImageReward.pt",
    1787,
    sha256="d71dc8d4912bc633c06ab8ef1ef6a81e8199d4369f14b47b29baf1d19de561f6",
)
_BLIP = WeightFile(
    "BLIP",
    "model_large.pth",
    0,
    url="https://storage.googleapis.com/sfr-vision-language-research/BLIP/models/model_large.pth",
)
PUBLISHED = {
    "hpsv2": PublishedReward(_hpsv2("HPS_v2_compressed.pt"), (0.2, 0.35), True),
    "hpsv2.1": PublishedReward(_hpsv2("HPS_v2.1_compressed.pt"), (0.14, 0.35), True),
    "pickscore": PublishedReward(_clip("yuvalkirstain/PickScore_v1", 3940), (17, 24), True),
    "clipscore": PublishedReward(_CLIP_FILES, (0.15, 0.35), True),
    "aesthetic": PublishedReward((_AESTHETIC, *_CLIP_FILES), (4, 8), False),
    "imagereward": PublishedReward((_IMAGEREWARD, _VOCABULARY), (-2.5, 2.5), True),
    "blipscore": PublishedReward((_BLIP, _VOCABULARY), (0.2, 0.6), True),
}


def weights_folder() -> Path:
    """Folder of the files that users put down themselves, and of downloads from outside the hub."""
    folder = os.environ.get("ROCM_REWARDS") or "~/.cache/rocm-studio/rewards"
    return Path(os.path.expanduser(folder))


def find_weights(name: str) -> list[Path]:
    """The files of a published reward, the checkpoint first; MissingFile says what to download."""
    published = PUBLISHED[name]
    paths = [file.find() for file in published.files]
    missing = [file for file, path in zip(published.files, paths, strict=True) if path is None]
    if missing:
        raise MissingFile(_sentence(name, missing))
    return [path for path in paths if path is not None]


def is_usable(name: str) -> bool:
    """Whether a published reward's files are on this disk."""
    return all(file.find() for file in PUBLISHED[name].files)


def size_text(files: Sequence[WeightFile]) -> str:
    """The total size of files, in words."""
    megabytes = sum(file.megabytes for file in files)
    if not all(file.megabytes for file in files):
        return "size not stated"
    return f"{megabytes / 1000:.2f} GB" if megabytes >= 1000 else f"{megabytes:.3g} MB"


def download(name: str, fetch: Callable[[str, str, str], None]) -> Iterator[WeightFile]:
    """Fetch what a published reward lacks: from the hub into its cache, the rest into its folder.

    `fetch` downloads an address to a file and checks its sha256 (empty: unknown). Yields each file
    before its download begins. Raises `MissingFile` without network, without the file, or if other
    content arrived.
    """
    for file in PUBLISHED[name].files:
        if file.find():
            continue
        yield file
        try:
            if file.url:
                file.folder.mkdir(parents=True, exist_ok=True)
                fetch(file.url, str(file.folder / file.name), file.sha256)
            else:
                asked(f"{file.name} of {file.repository}", partial(_download_from_hub, file))
        except MissingFile as error:
            raise MissingFile(f"{error} Or put the file into {file.folder}.") from error
        except (HTTPException, OSError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise MissingFile(
                f"{file.name} could not be downloaded: {reason}. "
                f"Check the network, or put the file into {file.folder}."
            ) from error


def _download_from_hub(file: WeightFile) -> None:
    from huggingface_hub import HfApi, hf_hub_download

    revision = PINNED[file.repository]
    # Fails at once, as in hub._plan.
    HfApi().model_info(file.repository, revision=revision, timeout=TIMEOUT_S)
    path = Path(hf_hub_download(file.repository, file.name, revision=revision))
    if not file.sha256:
        return
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != file.sha256:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise OSError(f"it arrived with sha256 {digest[:12]}, not {file.sha256[:12]}")


def _sentence(name: str, missing: list[WeightFile]) -> str:
    first = missing[0]
    mistaken = first.find_mistaken()
    if mistaken:
        return (
            f"reward={name}: {mistaken} holds the optimizer besides the model and is not read. "
            f"Use {first.name} of {first.repository} ({size_text([first])}): "
            f"python -m rocm rewards --download {name}"
        )
    files = ", ".join(f"{file.name} ({size_text([file])})" for file in missing)
    return (
        f"reward={name} needs {files}, found neither in {first.folder} nor in the hub's cache. "
        f"Run: python -m rocm rewards --download {name}, or put it there."
    )
