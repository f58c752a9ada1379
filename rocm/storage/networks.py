"""One network from its folder: whole, or refused with the first thing that does not fit.

The stock loaders give weights that a file lacks random values, with a warning at most. Here a
network is what its files say or it is nothing.
"""

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open

from rocm.errors import ConfigError, MissingFile

MISFIT = (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RuntimeError)


def load_network(kind: Any, folder: Path, setting: str, dtype: torch.dtype) -> Any:
    """Load a network of diffusers or transformers on the CPU; safetensors only, no network access.

    `kind` has `from_pretrained`; `setting` is as the user gave it, such as `model=FOLDER`,
    for errors. Raises `MissingFile` without config.json or weights, `ConfigError` if a file is
    damaged or a pickle, or the weights do not fit.
    """
    read_object(folder / "config.json", setting)
    check_no_pickle(folder, setting)
    options = {"dtype": dtype, "local_files_only": True, "use_safetensors": True}
    options |= {"ignore_mismatched_sizes": True, "output_loading_info": True}
    try:
        network, info = kind.from_pretrained(folder, **options)
    except (OSError, StrictDataclassError, *MISFIT) as error:
        _check_files(folder, setting)
        known = MissingFile if isinstance(error, OSError) else ConfigError
        raise known(f"{setting}: {folder} cannot be loaded: {first_line(error)}.") from error
    for key in sorted(info["missing_keys"]):
        raise _misfit(folder, setting, f"'{key}' is missing")
    for key, shape, expected in sorted(info["mismatched_keys"]):
        raise _misfit(
            folder, setting, f"'{key}' has shape {list(shape)}, expected {list(expected)}"
        )
    return network


def read_object(path: Path, setting: str) -> dict[str, Any]:
    """The object of a model's .json file; MissingFile without it, ConfigError if it is damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{setting}: {path} is damaged ({error}). Download it again.") from error
    except OSError as error:
        raise MissingFile(
            f"{setting}: {path} is missing or cannot be read ({error.strerror}). Download the "
            "model again, or give another one."
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(f"{setting}: {path} is damaged (no settings). Download it again.")
    return content


def check_no_pickle(folder: Path, setting: str) -> None:
    """Refuse a folder that holds its weights as a pickle only; arguments as in `load_network`."""
    if any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors")):
        raise ConfigError(
            f"{setting} holds its {folder.name} as a pickle (.bin) only, which could run code "
            "and is not read. Use a version with .safetensors files."
        )


def first_line(error: BaseException) -> str:
    """The first line of a library's error, without its full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")


def _check_files(folder: Path, setting: str) -> None:
    """Name the file that is damaged, where one is."""
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, "pt"):
                pass
        except (OSError, SafetensorError) as error:
            raise ConfigError(
                f"{setting}: {file} is damaged or incomplete ({first_line(error)}). Delete it and "
                "download it again."
            ) from error


def _misfit(folder: Path, setting: str, reason: str) -> ConfigError:
    files = sorted(folder.glob("*.safetensors"))
    place = files[0] if len(files) == 1 else folder
    return ConfigError(
        f"{setting}: {place} does not fit its config.json: {reason}. Download the model again, or "
        "give another one."
    )
