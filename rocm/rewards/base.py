"""The interface of a reward, mixtures of rewards, and pixel limits that keep a gradient."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from rocm.rewards.names import WITHOUT_GRADIENT
from rocm.rewards.user import UserReward


class Reward(Protocol):
    """Scores pictures; higher is better.

    Differentiable in the pictures, but for those that `rocm.rewards.names.WITHOUT_GRADIENT` lists.
    """

    @property
    def name(self) -> str:
        """Its name in a mixture."""
        ...

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Score B pictures (B, 3, H, W), float32 in [0, 1], with their B prompts; returns (B,)."""
        ...


class Recordable(ABC):
    """A reward whose update can be recorded: its knowledge of the prompts is a tensor."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Score B pictures (B, 3, H, W) in [0, 1] with their B prompts; returns (B,)."""
        with torch.autocast(images.device.type, enabled=False):
            return self.score(images, self.texts(prompts))

    def texts(self, prompts: Sequence[str]) -> Tensor:
        """Features (B, D) of B prompts for `score`; D is 0 here, where the prompts are ignored."""
        return torch.empty(len(prompts), 0)

    @abstractmethod
    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """As the call, with the prompts' `texts`; returns (B,)."""


class _LimitPixels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        ctx.save_for_backward(images)
        return images.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (images,) = ctx.saved_tensors
        # Descent moves against the gradient: drop what would push a pixel further out.
        outward = ((images > 1) & (gradient < 0)) | ((images < 0) & (gradient > 0))
        return gradient.masked_fill(outward, 0)


def limit_pixels(images: Tensor) -> Tensor:
    """Clamp pictures to [0, 1] as a screen does, keeping the gradient that leads back inside.

    A plain clamp freezes saturated pixels for ever; without a clamp the reward rises with colors
    that no screen shows. Here a pixel outside the range receives the gradient of a minimized loss
    only if that moves it back into the range. Ours, not the paper's.
    """
    return _LimitPixels.apply(images)


@dataclass(frozen=True)
class Scale:
    """Mean and deviation of a reward over the base model's pictures of the evaluation prompts."""

    mean: float
    deviation: float


RAW = Scale(0.0, 1.0)


def has_gradient(reward: Reward) -> bool:
    """Whether a reward is differentiable in the pictures."""
    if isinstance(reward, UserReward):
        return reward.has_gradient
    return reward.name not in WITHOUT_GRADIENT


@dataclass(frozen=True)
class Mixture:
    r"""The trained reward: a weighted sum of (standardized) rewards.

    .. math:: R = \sum_k w_k (R_k - \mu_k) / \sigma_k

    All by name; a scale of (0, 1) leaves raw values.
    """

    rewards: dict[str, Reward]
    weights: dict[str, float]
    scales: dict[str, Scale]

    def parts(self, images: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Raw values (B,) of every reward; arguments as in `Reward`."""
        return {name: self.rewards[name](images, prompts) for name in self.weights}

    def texts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """`texts` of every reward, each a `Recordable`."""
        return {name: cast(Recordable, self.rewards[name]).texts(prompts) for name in self.weights}

    def parts_of(self, images: Tensor, texts: dict[str, Tensor]) -> dict[str, Tensor]:
        """Raw values (B,) as `parts` gives them, of pictures and `texts`."""
        rewards = {name: cast(Recordable, self.rewards[name]) for name in self.weights}
        return {name: reward.score(images, texts[name]) for name, reward in rewards.items()}

    def combine(self, parts: dict[str, Tensor]) -> Tensor:
        """The weighted sum (B,) of raw values."""
        return torch.stack([self._term(name, parts) for name in self.weights]).sum(0)

    def blind(self, parts: dict[str, Tensor]) -> Tensor:
        """The terms (B,) of the weighted sum that have no gradient, at least one."""
        names = [name for name in self.weights if not has_gradient(self.rewards[name])]
        return torch.stack([self._term(name, parts) for name in names]).sum(0)

    def _term(self, name: str, parts: dict[str, Tensor]) -> Tensor:
        scale = self.scales[name]
        return self.weights[name] * (parts[name] - scale.mean) / scale.deviation
