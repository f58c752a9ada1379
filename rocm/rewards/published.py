"""Published rewards by name, loaded from the files that others have published."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from rocm.rewards.base import Reward
from rocm.rewards.blip import load_blipscore, load_imagereward
from rocm.rewards.clip import load_aesthetic, load_cosine, load_pickscore
from rocm.rewards.files import find_weights
from rocm.rewards.hpsv2 import load_hpsv2

Loader = Callable[[str, Sequence[Path], torch.device, torch.dtype], Reward]
LOADERS: dict[str, Loader] = {
    "hpsv2": load_hpsv2,
    "hpsv2.1": load_hpsv2,
    "pickscore": load_pickscore,
    "clipscore": load_cosine,
    "aesthetic": load_aesthetic,
    "imagereward": load_imagereward,
    "blipscore": load_blipscore,
}


def load_published(name: str, device: torch.device) -> Reward:
    """Load a published reward, frozen; its towers compute in bfloat16 on a card that has it.

    Raises `MissingFile` if a file is not on this disk, `ConfigError` if it is damaged, unsafe, or
    of another model.
    """
    has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    dtype = torch.bfloat16 if device.type == "cuda" and has_bfloat16 else torch.float32
    return LOADERS[name](name, find_weights(name), device, dtype)
