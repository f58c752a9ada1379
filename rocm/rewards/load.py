"""Rewards by name."""

from collections.abc import Iterable

import torch

from rocm.rewards.base import Reward
from rocm.rewards.color import PixelReward, colorfulness, saturation, smoothness
from rocm.rewards.files import PUBLISHED
from rocm.rewards.jpeg import compressibility, incompressibility
from rocm.rewards.names import CLIP_FOLDERS, check_reward

PIXEL_REWARDS = {
    "colorfulness": colorfulness,
    "saturation": saturation,
    "smoothness": smoothness,
    "compressibility": compressibility,
    "incompressibility": incompressibility,
}


def load_rewards(names: Iterable[str], device: torch.device) -> dict[str, Reward]:
    """Load rewards.

    Args:
        names: of `NAMES`, or `clip:FOLDER` for any small CLIP in transformers' layout.
        device: where their networks compute.

    Returns:
        Reward by name, in order.

    Raises:
        ConfigError: unknown name.
        MissingFile: a network's folder or file is missing.
    """
    return {name: _load(name, device) for name in names}


def _load(name: str, device: torch.device) -> Reward:
    if name in PIXEL_REWARDS:
        return PixelReward(name, PIXEL_REWARDS[name])
    if name in PUBLISHED:
        from rocm.rewards.published import load_published

        return load_published(name, device)
    from rocm.rewards.clip import load_clip

    check_reward(name)
    return load_clip(name, CLIP_FOLDERS.get(name) or name.removeprefix("clip:"), device)
