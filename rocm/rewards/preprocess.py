"""The published rewards' picture preparation as tensor operations that keep the gradient.

Pictures are (B, 3, H, W) in [0, 1]; results (B, 3, size, size), normalized by CLIP's mean and
deviation. Resizing is bicubic with antialiasing, in float32 at least: without antialiasing HPSv2
moves by 1.4e-3 to 2.6e-3, more than many runs gain.
"""

from functools import cache

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from rocm.rewards.base import limit_pixels

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


def crop(images: Tensor, size: int) -> Tensor:
    """Scale the shorter side to `size`, crop the center, normalize (CLIP, BLIP).

    The originals resize 8-bit pictures with PIL, which clips what bicubic weights overshoot; here
    `limit_pixels` does, since the gradient of torch's clamp is 0 at 0 and 1 themselves, where a
    saturated picture lies. PIL's rounding moves ImageReward by 1e-4 to 5e-3. An odd margin is cut
    as torchvision does; CLIP's own processor may cut one pixel beside it.
    """
    height, width = images.shape[-2:]
    shorter = min(height, width)
    sides = (size * height // shorter, size * width // shorter)
    images = limit_pixels(_resize(images, sides))
    top, left = (round((side - size) / 2) for side in sides)
    return _normalize(images[..., top : top + size, left : left + size])


def pad(images: Tensor, size: int) -> Tensor:
    """Scale the longer side to `size`, pad with black, normalize (HPSv2).

    Black is black before normalizing. The original resizes a float tensor and does not clamp.
    """
    height, width = images.shape[-2:]
    scale = size / max(height, width)
    sides = (round(height * scale), round(width * scale))
    images = _resize(images, sides)
    down, across = size - sides[0], size - sides[1]
    margins = (across // 2, across - across // 2, down // 2, down - down // 2)
    return _normalize(F.pad(images, margins))


def full_precision(values: Tensor) -> Tensor:
    """The values in float32, or in float64 if they are."""
    return values if values.dtype == torch.float64 else values.float()


def _resize(images: Tensor, sides: tuple[int, int]) -> Tensor:
    images = full_precision(images)
    if images.shape[-2:] == sides:
        return images
    return F.interpolate(images, sides, mode="bicubic", antialias=True, align_corners=False)


def _normalize(images: Tensor) -> Tensor:
    mean, deviation = (
        _by_channel(values, images.device, images.dtype) for values in (MEAN, DEVIATION)
    )
    return (images - mean) / deviation


@cache
def _by_channel(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    # Kept: a GPU would have to be waited for while a list is copied there.
    return torch.tensor(values, device=device, dtype=dtype).view(1, 3, 1, 1)


def to_pil(image: Tensor) -> Image.Image:
    """A PIL picture from (3, H, W), rounded as diffusers does."""
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
