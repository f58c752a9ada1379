"""Rewards without a network: they see colors and edges, never the prompt, and invite hacking.

Each takes pictures (B, 3, H, W) in [0, 1] and returns (B,). Those by file size have a value and no
gradient.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rocm.rewards.base import Recordable
from rocm.rewards.preprocess import to_pil

EPSILON = 1e-6
QUALITY = 95


def colorfulness(images: Tensor) -> Tensor:
    r"""Colorfulness M3 of Hasler and Suesstrunk (2003) on the 0-255 scale, (B,), >= 0.

    .. math:: rg = R - G,\ yb = (R + G)/2 - B,\quad
              M = \sqrt{\sigma_{rg}^2 + \sigma_{yb}^2} + 0.3 \sqrt{\mu_{rg}^2 + \mu_{yb}^2}

    Their scale: 15 slightly, 45 averagely, 82 highly, 109 extremely colorful.
    """
    red, green, blue = (255 * images).flatten(2).unbind(1)
    rg, yb = red - green, (red + green) / 2 - blue
    spread = (rg.var(1, correction=0) + yb.var(1, correction=0) + EPSILON).sqrt()
    mean = (rg.mean(1).square() + yb.mean(1).square() + EPSILON).sqrt()
    return spread + 0.3 * mean


def saturation(images: Tensor) -> Tensor:
    """Mean HSV saturation, (max - min) / max over the channels of each pixel, (B,) in [0, 1]."""
    high, low = images.amax(1), images.amin(1)
    return ((high - low) / (high + EPSILON)).flatten(1).mean(1)


def smoothness(images: Tensor) -> Tensor:
    """Minus the mean absolute difference of neighboring pixels, (B,) in [-1, 0]."""
    right = (images[..., 1:] - images[..., :-1]).abs().flatten(1).mean(1)
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().flatten(1).mean(1)
    return -(right + down) / 2


def incompressibility(images: Tensor) -> Tensor:
    """Size as a JPEG file of quality 95, in kB, (B,), > 0 (DDPO, arXiv 2305.13301)."""
    sizes = []
    for picture in images.detach().cpu():
        file = io.BytesIO()
        to_pil(picture).save(file, "JPEG", quality=QUALITY)
        sizes.append(file.tell() / 1000)
    return images.new_tensor(sizes)


def compressibility(images: Tensor) -> Tensor:
    """Minus that size, (B,), < 0: high for plain pictures."""
    return -incompressibility(images)


@dataclass(frozen=True)
class PixelReward(Recordable):
    """One of the functions above as a `Reward`."""

    name: str
    function: Callable[[Tensor], Tensor]

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """Score B pictures; returns (B,)."""
        return self.function(images)


def edge_density(images: Tensor) -> Tensor:
    """Share of pixels whose brightness is over 0.1 from a neighbor's, (B,) in [0, 1]."""
    gray = images.mean(1)
    right = (gray[:, :-1, 1:] - gray[:, :-1, :-1]).abs()
    down = (gray[:, 1:, :-1] - gray[:, :-1, :-1]).abs()
    return (torch.maximum(right, down) > 0.1).float().flatten(1).mean(1)


def contrast(images: Tensor) -> Tensor:
    """Standard deviation of a picture's brightness, (B,) in [0, 0.5]."""
    return images.mean(1).flatten(1).std(1, correction=0)


def color_entropy(images: Tensor) -> Tensor:
    r"""Entropy in bits of a picture's colors, over 8 x 8 x 8 equal boxes of RGB, (B,) in [0, 9].

    .. math:: H = -\sum_k p_k \log_2 p_k
    """
    red, green, blue = (images * 8).long().clamp(0, 7).flatten(2).unbind(1)
    boxes = 64 * red + 8 * green + blue
    counts = torch.stack([torch.bincount(picture, minlength=512) for picture in boxes])
    shares = counts / boxes.shape[1]
    return -torch.xlogy(shares, shares).sum(1) / math.log(2)


def at_limit(images: Tensor) -> Tensor:
    """Share of channel values at or beyond the ends of [0, 1], (B,); pictures are not clamped."""
    return ((images <= 0) | (images >= 1)).float().flatten(1).mean(1)
