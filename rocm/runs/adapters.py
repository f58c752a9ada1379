"""What can be compared: the base model, runs and their checkpoints, adapters of disk and hub."""

import hashlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingFile, RunError
from rocm.models.files import adapter_repository, find_model
from rocm.rewards.names import parse_mixture
from rocm.rewards.user_files import name_now
from rocm.runs.run_dir import RunDir
from rocm.storage.hub import is_repository, local_snapshot
from rocm.storage.paths import ROOT

BASE = "base"
RUN = "run:"
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
WEIGHTS = "pytorch_lora_weights.safetensors"
SHIPPED = ROOT / "assets" / "adapters"
LORA = re.compile(r"unet\.(.+)\.(?:lora\.(down|up)|lora_(A|B))\.weight")


@dataclass(frozen=True)
class Arm:
    """One of the things compared.

    Attributes:
        name: as it was asked for: `base`, `run:ID`, a folder, or `owner/name` of the hub.
        label: short, for people.
        folder: of the adapter, empty for the base model.
        config: settings that it was trained with, None where they are not known.
        run: directory of its run, None for other folders.
    """

    name: str
    label: str
    folder: str = ""
    config: RunConfig | None = None
    run: RunDir | None = None

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the rewards that it was trained on, as far as is known."""
        names = parse_mixture(self.config.reward) if self.config else ()
        return tuple(name_now(name, self.run.rewards_dir) if self.run else name for name in names)

    def checkpoint(self, step: int) -> str:
        """Folder of the adapter after `step` updates; MissingFile if there is no checkpoint."""
        folder = self.run.checkpoint_dir(step) if self.run else None
        if folder is None or not (folder / WEIGHTS).is_file():
            known = ", ".join(str(one) for one in self.steps()) or "none"
            raise MissingFile(
                f"{self.label} has no checkpoint after {step} updates. It has: {known}."
            )
        return short_path(folder)

    def steps(self) -> list[int]:
        """Updates after which there is a checkpoint, fewest first."""
        folders = self.run.checkpoints() if self.run else []
        return [int(one.name.removeprefix("step_")) for one in folders if (one / WEIGHTS).is_file()]


def shipped_adapters() -> list[str]:
    """Adapters that come with the project, as folders relative to it."""
    found = SHIPPED.glob(f"*/{WEIGHTS}")
    return sorted(short_path(file.parent) for file in found)


def find_arm(name: str, runs: Path, is_public: bool = False) -> Arm:
    """The arm of a name.

    Args:
        name: `base`, `run:ID`, a folder, absolute or relative to the project, or a repository of
            the hub that was downloaded.
        runs: folder of the runs.
        is_public: whether only what the page itself offers may be named.

    Returns:
        The arm; its adapter's file exists.

    Raises:
        RocmError: there is no such thing.
    """
    name = name.strip()
    if name in ("", BASE):
        return Arm(BASE, BASE)
    if name.startswith(RUN):
        return _arm_of_run(name, runs)
    if is_public and name not in shipped_adapters():
        raise ConfigError("Here only the base model, adapters of runs and those that ship count.")
    folder = next((one for one in _places(name) if os.path.isfile(one / WEIGHTS)), None)
    if folder is None and _is_of_hub(name):
        return Arm(name, name, short_path(_downloaded(name)))
    if folder is None:
        raise MissingFile(_no_adapter(name))
    run = RunDir(folder.parent)
    is_of_run = folder.name == "adapter" and (run.path / "config.yaml").is_file()
    config = run.config() if is_of_run else _config_of_shipped(name)
    label = folder.parent.name if is_of_run else folder.name
    return Arm(name, label, short_path(folder), config, run if is_of_run else None)


def _config_of_shipped(name: str) -> RunConfig | None:
    """Settings of an adapter that ships: it is named after the preset that trained it."""
    preset = Path(name).name
    return RunConfig.load(preset) if name in shipped_adapters() else None


def _arm_of_run(name: str, runs: Path) -> Arm:
    run_id = name.removeprefix(RUN)
    run = RunDir(runs / run_id)
    if not RUN_ID.fullmatch(run_id) or not (run.path / "adapter" / WEIGHTS).is_file():
        raise MissingFile(f"Run '{run_id[:100]}' has no adapter. Choose another run.")
    try:
        title = run.about().get("title", "")
    except RunError:  # damaged; the list of runs says how
        title = ""
    return Arm(name, title or run_id, short_path(run.path / "adapter"), run.config(), run)


def check_same_model(arms: list[Arm], model: str) -> str:
    """The one base model of all arms.

    Args:
        arms: to compare.
        model: that was chosen, or empty for the arms' own.

    Returns:
        Its folder.

    Raises:
        ConfigError: two arms belong to different models, or one to another than the chosen one.
        MissingFile: the model is not there.
    """
    models = {arm.label: arm.config.model for arm in arms if arm.config}
    if model:
        models = {"the chosen model": model, **models}
    places = {label: find_model(one) for label, one in models.items()}
    if len(set(places.values())) > 1:
        first = next(iter(models))
        other = next(label for label in places if places[label] != places[first])
        raise ConfigError(
            f"These arms have different base models: {first} has {models[first]}, {other} has "
            f"{models[other]}. Compare arms of one model only."
        )
    return next(iter(models.values()), RunConfig().model)


def check_fit(arm: Arm, folder: str, model: str) -> None:
    """Refuse an adapter whose layers are not the model's, before anything is drawn.

    Args:
        arm: whose adapter it is, for the sentence.
        folder: of the adapter.
        model: folder of the base model.

    Raises:
        ConfigError: the file is damaged, or a layer is missing or has another size.
    """
    layers = _layer_sizes(find_model(model).base)
    tensors = tensor_shapes(ROOT / folder / WEIGHTS)
    if not tensors:
        raise ConfigError(f"The adapter file of {arm.label} is empty. Take another adapter.")
    for name, shape in tensors.items():
        found = LORA.fullmatch(name)
        layer = f"{found[1]}.weight" if found else name
        if not found or min(len(layers.get(layer, ())), len(shape)) < 2:
            raise ConfigError(
                f"{arm.label} does not fit {model}: that has no layer {layer[:120]}. Choose the "
                "model that the adapter was trained on, or leave it out."
            )
        is_down = (found[2] or found[3]) in ("down", "A")
        size, own = (layers[layer][1], shape[1]) if is_down else (layers[layer][0], shape[0])
        if size != own:
            raise ConfigError(
                f"{arm.label} does not fit {model}: its layer {layer} has size {own}, the model's "
                f"{size}. Choose the model that the adapter was trained on, or leave it out."
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
    """SHA-256 of an adapter's weights, so that a comparison says what exactly it drew."""
    return hashlib.sha256((ROOT / folder / WEIGHTS).read_bytes()).hexdigest()


def short_path(folder: Path) -> str:
    """The folder, relative to the project where it lies in it: that works on other machines too."""
    whole = folder.resolve()
    return str(whole.relative_to(ROOT)) if whole.is_relative_to(ROOT) else str(whole)


def _places(name: str) -> list[Path]:
    given = Path(os.path.expanduser(name))
    return [one / sub for one in (given, ROOT / name) for sub in ("", "adapter")]


def _is_of_hub(name: str) -> bool:
    # A folder that is not there has the form of a repository too: assets/adapter.
    folders = (ROOT / name.partition("/")[0], *_places(name))
    is_folder = any(map(os.path.isdir, folders))
    return is_repository(name) and not is_folder


def _downloaded(name: str) -> Path:
    wanted = adapter_repository(name)
    advice = f"Run: python -m rocm download --adapter {name}"
    try:
        folder = local_snapshot(wanted)
    except MissingFile as error:
        raise MissingFile(f"The adapter {wanted} is not on this disk. {advice}") from error
    if not (folder / WEIGHTS).is_file():
        raise MissingFile(f"{wanted} is on this disk without {WEIGHTS}. {advice}")
    return folder


def _no_adapter(name: str) -> str:
    if any(os.path.isdir(one) for one in _places(name)):
        return (
            f"'{name[:200]}' holds no adapter: {WEIGHTS} is missing. Give the adapter folder of a "
            "run, or another one that diffusers' save_lora_weights wrote."
        )
    return f"There is no folder '{name[:200]}'. Give one that holds {WEIGHTS}."
