"""Published checkpoints: read without unpickling, and fitted to a network key by key."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rocm.errors import ConfigError
from rocm.storage.networks import first_line

_MAGIC = (b"PK", b"\x80")  # a zip archive as torch writes it, or the older pickle
_ADVICE = "It belongs to another model: put the published file of this reward there."


def read_state(path: Path, wrapper: str = "") -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors` file, or of a torch file that holds tensors only.

    `wrapper` names the entry that holds them, if any; a leading `module.` of keys is dropped.
    Raises `ConfigError` if the file is damaged, holds other objects, or lacks the wrapper.
    """
    content = _read(path)
    if wrapper:
        content = content.get(wrapper) if isinstance(content, Mapping) else None
    if not isinstance(content, Mapping) or not all(map(torch.is_tensor, content.values())):
        under = f" under '{wrapper}'" if wrapper else ""
        raise ConfigError(f"{path} is another kind of file: it holds no network{under}.")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def fit(
    network: nn.Module,
    state: Mapping[str, Tensor],
    path: Path,
    key_in_file: Callable[[str], str] = str,
) -> None:
    """Load a state that must fit the network exactly.

    `key_in_file` maps a key of the network to the file's. Raises `ConfigError` for the first key
    that is missing, unexpected or of another shape.
    """
    expected = {key_in_file(key): value for key, value in network.state_dict().items()}
    for key, value in expected.items():
        if key not in state:
            raise ConfigError(f"{path} does not fit: '{key}' is missing. {_ADVICE}")
        if state[key].shape != value.shape:
            raise ConfigError(
                f"{path} does not fit: '{key}' has shape {list(state[key].shape)}, "
                f"expected {list(value.shape)}. {_ADVICE}"
            )
    for key in state:
        if key not in expected:
            raise ConfigError(f"{path} does not fit: '{key}' is unexpected. {_ADVICE}")
    own = {key: state[key_in_file(key)] for key in network.state_dict()}
    network.load_state_dict(own, assign=True)


def _read(path: Path) -> object:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with path.open("rb") as file:
            start = file.read(4)
        if not start.startswith(_MAGIC):
            raise ConfigError(_damaged(path, f"it begins with {start!r}"))
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"{path} holds objects besides tensors, which could run code, and is not read. "
            "Use the published checkpoint that holds weights only (of HPSv2 the compressed one)."
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError) as error:
        raise ConfigError(_damaged(path, first_line(error))) from error


def _damaged(path: Path, reason: str) -> str:
    return f"{path} is damaged or incomplete ({reason}). Delete it and download it again."
