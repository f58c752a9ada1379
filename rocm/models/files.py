"""The files of the setting `model`; no torch.

A model is one place, or two joined by a plus: a base, and what makes a consistency model of it,
an LCM-LoRA or an LCM U-Net. A place is a folder in diffusers' layout or a repository of the hub.
"""

import os
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rocm.errors import ConfigError, MissingFile
from rocm.storage.hub import (
    Download,
    Repository,
    is_repository,
    local_snapshot,
    megabytes,
    repository,
    size,
)
from rocm.storage.paths import ROOT, find_folder

PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")
BASE_FILES = (
    "model_index.json",
    *(f"{part}/*.json" for part in PARTS),
    *(f"{part}/*.safetensors" for part in PARTS),
    "tokenizer/*",
    "tokenizer_2/*",
    "scheduler/*.json",
)
LORA_FILE = "pytorch_lora_weights.safetensors"
PART_FILES = (LORA_FILE, "config.json", "diffusion_pytorch_model*.safetensors")
VARIANTS = ("*.fp16.*", "*.fp16-*", "*.non_ema.*", "*.non_ema-*", "*.bf16.*")


@dataclass(frozen=True)
class ModelFiles:
    """The folders of a model: `base` in diffusers' layout, `part` of an LCM-LoRA or LCM U-Net."""

    base: Path
    part: Path | None = None

    @property
    def revisions(self) -> str:
        """The folders' last names; of the hub's cache these are commits."""
        return "+".join(folder.name for folder in (self.base, self.part) if folder)


def find_model(model: str) -> ModelFiles:
    """The folders of a model on this disk, or MissingFile; never uses the network."""
    base, *part = _places(model)
    return ModelFiles(_find(base).resolve(), _find(part[0]).resolve() if part else None)


def check_model(model: str) -> None:
    """As `find_model`; the error says how much there is to download, asked every five minutes."""
    try:
        find_model(model)
    except MissingFile as error:
        if not model_repositories(model):
            raise
        raise MissingFile(_missing(model, int(time.time() // 300))) from error


@lru_cache(maxsize=64)
def _missing(model: str, period: int) -> str:
    """One sentence on the missing files of a model; `period` makes the answer age."""
    try:
        missing = model_size(model).missing
    except MissingFile as error:
        return f"model={model} is not on this disk, and {error}"
    return (
        f"model={model} is not on this disk: {megabytes(missing)} to download. "
        f"Run: python -m rocm download {model}"
    )


def model_repositories(model: str) -> list[Repository]:
    """The places of a model that are repositories of the hub."""
    return [place for place in _places(model) if isinstance(place, Repository)]


def adapter_repository(name: str) -> Repository:
    """The repository of an adapter, `owner/name` or `owner/name@revision`."""
    return repository(name, (LORA_FILE,))


def model_size(model: str) -> Download:
    """The size of a model's download, asked of the hub."""
    sizes = [size(wanted) for wanted in model_repositories(model)]
    return Download(sum(part.total for part in sizes), sum(part.missing for part in sizes))


def _places(model: str) -> list[Path | Repository]:
    if _is_folder(model):
        return [find_folder(model)]
    names = model.split("+")
    if len(names) > 2 or not all(names):
        raise ConfigError(
            f"model={model[:200]} has more than one + or an empty part. Write a folder or "
            "owner/name, or two of them joined by +: a base and an LCM-LoRA or LCM U-Net."
        )
    wanted = (BASE_FILES, PART_FILES)
    return [_place(name, files) for name, files in zip(names, wanted, strict=False)]


def _place(name: str, files: tuple[str, ...]) -> Path | Repository:
    if _is_folder(name) or not is_repository(name):
        return find_folder(name)
    # A folder that is not there has the form of a repository too: assets/tiny-lcn.
    if os.path.isdir(ROOT / name.partition("/")[0]):
        return find_folder(name)
    return repository(name, files, VARIANTS)


def _is_folder(name: str) -> bool:
    return any(os.path.isdir(folder) for folder in (Path(os.path.expanduser(name)), ROOT / name))


def _find(place: Path | Repository) -> Path:
    if isinstance(place, Path):
        return place
    try:
        return local_snapshot(place)
    except MissingFile as error:
        raise MissingFile(f"No folder '{place.name}', and {error}") from error
