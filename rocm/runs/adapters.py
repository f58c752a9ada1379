"""Which adapter draws: the base model, a run, a checkpoint, a folder, the hub, a shipped adapter.

The names are listed in docs/models.md; page and command line take the same.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingFile, RocmError
from rocm.models.files import adapter_repository, find_model
from rocm.rewards.names import parse_mixture
from rocm.rewards.user_files import name_now
from rocm.runs.names import RUN_ID, run_label, run_name
from rocm.runs.run_dir import RunDir
from rocm.storage.hub import is_repository, local_snapshot
from rocm.storage.paths import ROOT

BASE = "base"
RUN = "run:"
WEIGHTS = "pytorch_lora_weights.safetensors"
SHIPPED = ROOT / "assets" / "adapters"
LORA = re.compile(r"unet\.(.+)\.(?:lora\.(down|up)|lora_(A|B))\.weight")


@dataclass(frozen=True)
class Adapter:
    """The base model, or an adapter for it."""

    name: str  # as given, such as `base`, `run:ID@STEP`, a folder, or `owner/name` of the hub
    label: str  # short, for people
    folder: str = ""  # relative to the project where it lies in it; empty for the base
    config: RunConfig | None = None  # settings it was trained with; None if unknown
    run: RunDir | None = None  # the run that trained it; None for other adapters

    @property
    def path(self) -> Path:
        """The adapter's folder as an absolute path."""
        return ROOT / self.folder

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the rewards it was trained on; empty if unknown."""
        names = parse_mixture(self.config.reward) if self.config else ()
        return tuple(name_now(name, self.run.rewards_dir) if self.run else name for name in names)

    def checkpoint(self, step: int) -> str:
        """Folder of the adapter after `step` updates; MissingFile without such a checkpoint."""
        folder = self.run.checkpoint_dir(step) if self.run else None
        if folder is None or not (folder / WEIGHTS).is_file():
            known = ", ".join(map(str, self.steps())) or "none"
            raise MissingFile(
                f"{self.label} has no checkpoint after {step} updates. Its checkpoints: {known}."
            )
        return short_path(folder)

    def steps(self) -> list[int]:
        """Update counts of the checkpoints, in ascending order."""
        folders = self.run.checkpoints() if self.run else []
        return [int(path.name.removeprefix("step_")) for path in folders if _holds_weights(path)]


def adapter_choices(runs: Path) -> list[tuple[str, str]]:
    """Label and name of the base model, shipped adapters, and runs' adapters, newest first."""
    shipped = [(f"{Path(name).name} (shipped)", name) for name in shipped_adapters()]
    files = runs.glob(f"*/adapter/{WEIGHTS}")
    newest = sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)
    runs_of = [RunDir(file.parent.parent) for file in newest]
    trained = [(_label(run), RUN + run.path.name) for run in runs_of]
    return [("base model", BASE), *shipped, *trained]


def shipped_adapters() -> list[str]:
    """Folders of the shipped adapters, relative to the project."""
    return sorted(short_path(file.parent) for file in SHIPPED.glob(f"*/{WEIGHTS}"))


def find_adapter(name: str, runs: Path, is_public: bool = False) -> Adapter:
    """The adapter of a name, of a run in `runs` or another; its weights file exists.

    With `is_public` only the base model, runs and shipped adapters are allowed (else ConfigError).
    MissingFile if nothing has this name.
    """
    name = name.strip()
    if name in ("", BASE):
        return Adapter(BASE, BASE)
    run_id = name.removeprefix(RUN).partition("@")[0]
    is_run = RUN_ID.fullmatch(run_id) and os.path.isfile(runs / run_id / "config.yaml")
    if name.startswith(RUN) or is_run:
        return _adapter_of_run(name, runs)
    shipped = {known for path in shipped_adapters() for known in (path, Path(path).name)}
    if is_public and name not in shipped:
        raise ConfigError(
            "Only the base model, runs and shipped adapters can be used on a public page."
        )
    folder = next((path for path in _places(name) if _holds_weights(path)), None)
    if folder is None and name in shipped:
        folder = SHIPPED / name
    if folder is not None:
        return _adapter_in_folder(name, folder)
    # A missing folder such as assets/adapter has the form of a repository too.
    folders = (ROOT / name.partition("/")[0], *_places(name))
    if is_repository(name) and not any(map(os.path.isdir, folders)):
        return Adapter(name, name, short_path(_downloaded(name)))
    raise MissingFile(_no_adapter(name))


def _adapter_of_run(name: str, runs: Path) -> Adapter:
    run_id, has_step, step = name.removeprefix(RUN).partition("@")
    run = RunDir(runs / run_id)
    if not RUN_ID.fullmatch(run_id) or not _holds_weights(run.path / "adapter"):
        raise MissingFile(f"Run '{run_id[:100]}' has no adapter. Choose another run.")
    label = _label(run)
    newest = Adapter(name, label, short_path(run.path / "adapter"), run.config(), run)
    if not has_step:
        return newest
    if not step.isdecimal():
        raise ConfigError(f"'{name[:120]}': give the number of updates after @, such as @40.")
    folder = newest.checkpoint(int(step))
    return Adapter(name, f"{label} after {int(step)}", folder, newest.config, run)


def _adapter_in_folder(name: str, folder: Path) -> Adapter:
    is_checkpoint = folder.parent.name == "checkpoints"
    run = RunDir(folder.parent.parent if is_checkpoint else folder.parent)
    if (is_checkpoint or folder.name == "adapter") and (run.path / "config.yaml").is_file():
        after = f" after {int(folder.name.removeprefix('step_'))}" if is_checkpoint else ""
        return Adapter(name, _label(run) + after, short_path(folder), run.config(), run)
    # A shipped adapter is named after the preset that trained it.
    is_shipped = short_path(folder) in shipped_adapters()
    config = RunConfig.load(folder.name) if is_shipped else None
    return Adapter(name, folder.name, short_path(folder), config)


def _label(run: RunDir) -> str:
    try:
        return run_label(run.path.name, run_name(run.path, run.about(), run.config()))
    except RocmError:  # a damaged run; the list of runs says what is wrong
        return run.path.name


def check_same_model(adapters: list[Adapter], model: str) -> str:
    """Name of the base model that all adapters share; `model` is the chosen one, or empty.

    ConfigError if models differ, MissingFile if the model does not exist.
    """
    models = {adapter.label: adapter.config.model for adapter in adapters if adapter.config}
    if model:
        models = {"the chosen model": model, **models}
    places = {label: find_model(name) for label, name in models.items()}
    if len(set(places.values())) > 1:
        first = next(iter(models))
        other = next(label for label in places if places[label] != places[first])
        raise ConfigError(
            f"These arms have different base models: {first} has {models[first]}, {other} has "
            f"{models[other]}. Compare arms of one model only."
        )
    return next(iter(models.values()), RunConfig().model)


def check_fit(adapter: Adapter, folder: str, model: str) -> None:
    """ConfigError if the model lacks a layer of the weights in `folder`, or a size differs."""
    layers = _layer_sizes(find_model(model).base)
    tensors = tensor_shapes(ROOT / folder / WEIGHTS)
    advice = "Choose the model that the adapter was trained on, or leave the adapter out."
    if not tensors:
        raise ConfigError(f"The adapter file of {adapter.label} is empty. Take another adapter.")
    for name, shape in tensors.items():
        match = LORA.fullmatch(name)
        layer = f"{match[1]}.weight" if match else name
        if not match or min(len(layers.get(layer, ())), len(shape)) < 2:
            raise ConfigError(
                f"{adapter.label} does not fit {model}, which has no layer {layer[:120]}. {advice}"
            )
        is_down = (match[2] or match[3]) in ("down", "A")
        size, own = (layers[layer][1], shape[1]) if is_down else (layers[layer][0], shape[0])
        if size != own:
            raise ConfigError(
                f"{adapter.label} does not fit {model}: its layer {layer} has size {own}, the "
                f"model's {size}. {advice}"
            )


def tensor_shapes(file: Path) -> dict[str, list[int]]:
    """Shape of every tensor in a safetensors file; ConfigError if it is none."""
    try:
        with safe_open(file, "np") as content:
            return {name: content.get_slice(name).get_shape() for name in content.keys()}  # noqa: SIM118, no mapping
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{file} is damaged ({error}). Take another adapter.") from error


@lru_cache(maxsize=8)
def _layer_sizes(model: Path) -> dict[str, list[int]]:
    files = sorted((model / "unet").glob("*.safetensors"))
    return {name: shape for file in files for name, shape in tensor_shapes(file).items()}


def fingerprint(folder: str) -> str:
    """SHA-256 of an adapter's weights."""
    return hashlib.sha256((ROOT / folder / WEIGHTS).read_bytes()).hexdigest()


def short_path(folder: Path) -> str:
    """A folder of the project relative to it, so that it works on other machines; else absolute."""
    whole = folder.resolve()
    return str(whole.relative_to(ROOT)) if whole.is_relative_to(ROOT) else str(whole)


def _holds_weights(folder: Path) -> bool:
    return os.path.isfile(folder / WEIGHTS)  # unlike Path.is_file, False for a name too long


def _places(name: str) -> list[Path]:
    given = Path(os.path.expanduser(name))
    return [place / sub for place in (given, ROOT / name) for sub in ("", "adapter")]


def _downloaded(name: str) -> Path:
    repository = adapter_repository(name)
    advice = f"Run: python -m rocm download --adapter {name}"
    try:
        folder = local_snapshot(repository)
    except MissingFile as error:
        raise MissingFile(f"The adapter {repository} is not on this disk. {advice}") from error
    if not _holds_weights(folder):
        raise MissingFile(f"{repository} is on this disk without {WEIGHTS}. {advice}")
    return folder


def _no_adapter(name: str) -> str:
    if any(map(os.path.isdir, _places(name))):
        return (
            f"'{name[:200]}' holds no adapter: {WEIGHTS} is missing. Give the adapter folder of a "
            "run, or another folder that diffusers' save_lora_weights wrote."
        )
    return (
        f"There is no run and no folder '{name[:200]}'. Give base, a run's id, a folder that holds "
        f"{WEIGHTS}, the name of a shipped adapter, or owner/name of a downloaded adapter."
    )
