"""Rewards by name."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from rocm.rewards.base import Reward
from rocm.rewards.color import (
    PixelReward,
    colorfulness,
    compressibility,
    incompressibility,
    saturation,
    smoothness,
)
from rocm.rewards.files import PUBLISHED
from rocm.rewards.names import CLIP_FOLDERS, TASTE, check_reward
from rocm.rewards.preference_files import is_preference, read_preference
from rocm.rewards.user import UserReward
from rocm.rewards.user_files import is_user_reward

PIXEL_REWARDS = {
    "colorfulness": colorfulness,
    "saturation": saturation,
    "smoothness": smoothness,
    "compressibility": compressibility,
    "incompressibility": incompressibility,
}


def load_rewards(
    names: Iterable[str], device: torch.device, copies: Mapping[str, Path] | None = None
) -> dict[str, Reward]:
    """Load rewards, in order; their networks compute on `device`.

    `copies` may give another file of `path/to/file.py:name` by name. Raises `ConfigError` for an
    unknown name, `MissingFile` without a network's file.
    """
    return {name: _load(name, device, copies or {}) for name in names}


def probe_rewards(rewards: Iterable[Reward], device: torch.device, size: int) -> list[str]:
    """Call each of the user's own rewards on pictures (3, size, size); names without gradient."""
    own = [reward for reward in rewards if isinstance(reward, UserReward)]
    for reward in own:
        reward.probe(device, size)
    return [reward.name for reward in own if not reward.has_gradient]


def _load(name: str, device: torch.device, copies: Mapping[str, Path]) -> Reward:
    if name in PIXEL_REWARDS:
        return PixelReward(name, PIXEL_REWARDS[name])
    if name in PUBLISHED:
        from rocm.rewards.published import load_published

        return load_published(name, device)
    if is_user_reward(name):
        return UserReward(name, copies.get(name))
    if is_preference(name):
        from rocm.rewards.preference import load_preference

        record = read_preference(name)[1]
        parts = dict.fromkeys([*record["rewards"], record["embedding"]])
        return load_preference(name, load_rewards(parts, device, copies), device)
    if name == TASTE:
        from rocm.rewards.taste import load_taste

        return load_taste()
    from rocm.rewards.clip import load_clip

    check_reward(name)
    return load_clip(name, CLIP_FOLDERS.get(name) or name.removeprefix("clip:"), device)
