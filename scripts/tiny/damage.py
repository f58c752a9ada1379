"""Ways to spoil a picture, and ways to change it without harm, for the judge to tell apart.

Pictures are [B, 3, H, W] in [0, 1]. Strengths are random, from barely visible to gross.
"""

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

Damage = Callable[[Tensor, torch.Generator], Tensor]


def _strength(images: Tensor, draws: torch.Generator, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(len(images), 1, 1, 1, generator=draws)


def noise(images: Tensor, draws: torch.Generator) -> Tensor:
    """Gaussian noise, deviation 0.06 to 0.3, of pixels or of 4 x 4 blocks."""
    size = images.shape[-1] // (1 if torch.rand(1, generator=draws) < 0.5 else 4)
    grain = torch.randn(len(images), 3, size, size, generator=draws)
    grain = F.interpolate(grain, images.shape[-2:], mode="bilinear")
    return images + _strength(images, draws, 0.06, 0.3) * grain


def blur(images: Tensor, draws: torch.Generator) -> Tensor:
    """Mean over a window of 5 to 17 pixels, mixed in by 50 to 100 %."""
    side = 5 + 2 * int(torch.randint(0, 7, (1,), generator=draws))
    soft = F.avg_pool2d(images, side, 1, side // 2, count_include_pad=False)
    return torch.lerp(images, soft, _strength(images, draws, 0.5, 1.0))


def saturate(images: Tensor, draws: torch.Generator) -> Tensor:
    """Distance from gray times 1.3 to 4."""
    gray = images.mean(1, keepdim=True)
    return gray + (images - gray) * _strength(images, draws, 1.3, 4.0)


def tint(images: Tensor, draws: torch.Generator) -> Tensor:
    """A random color mixed in by 15 to 60 %."""
    color = torch.rand(len(images), 3, 1, 1, generator=draws).round()
    return torch.lerp(images, color.expand_as(images), _strength(images, draws, 0.15, 0.6))


def turn_hue(images: Tensor, draws: torch.Generator) -> Tensor:
    """Color channels exchanged in part."""
    order = [[1, 2, 0], [2, 0, 1], [2, 1, 0]][int(torch.randint(0, 3, (1,), generator=draws))]
    return torch.lerp(images, images[:, order], _strength(images, draws, 0.3, 1.0))


def contrast(images: Tensor, draws: torch.Generator) -> Tensor:
    """Distance from mid-gray times 0.2 to 0.7 or 1.4 to 3."""
    low, high = (0.2, 0.7) if torch.rand(1, generator=draws) < 0.4 else (1.4, 3.0)
    return 0.5 + (images - 0.5) * _strength(images, draws, low, high)


def posterize(images: Tensor, draws: torch.Generator) -> Tensor:
    """Two to four levels per channel."""
    levels = torch.randint(1, 4, (len(images), 1, 1, 1), generator=draws)
    return (images * levels).round() / levels


def stripes(images: Tensor, draws: torch.Generator) -> Tensor:
    """A colored wave of period 4 to 16 pixels laid over the picture."""
    height, width = images.shape[-2:]
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    angle = _strength(images, draws, 0, 3.14)
    along = rows * angle.sin() + columns * angle.cos()
    wave = (6.28 * along / _strength(images, draws, 4, 16)).sin()
    color = torch.randn(len(images), 3, 1, 1, generator=draws)
    return images + _strength(images, draws, 0.08, 0.3) * wave * color


def paste(images: Tensor, draws: torch.Generator) -> Tensor:
    """One picture of the batch laid over all others by 30 to 90 %: one shape for every prompt."""
    chosen = int(torch.randint(0, len(images), (1,), generator=draws))
    mask = _strength(images, draws, 0.3, 0.9)
    return torch.lerp(images, images[chosen : chosen + 1].expand_as(images), mask)


def warp(images: Tensor, draws: torch.Generator) -> Tensor:
    """A smooth random displacement of up to a quarter of the picture."""
    field = torch.randn(len(images), 2, 5, 5, generator=draws)
    field = F.interpolate(field, images.shape[-2:], mode="bicubic", align_corners=True)
    identity = F.affine_grid(
        torch.eye(2, 3).expand(len(images), 2, 3), list(images.shape), align_corners=False
    )
    grid = identity + _strength(images, draws, 0.05, 0.25) * field.permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def tile(images: Tensor, draws: torch.Generator) -> Tensor:
    """The picture repeated 2 x 2 or 4 x 4."""
    times = 2 if torch.rand(1, generator=draws) < 0.6 else 4
    small = F.avg_pool2d(images, times)
    return small.repeat(1, 1, times, times)


DAMAGES: tuple[Damage, ...] = (
    noise,
    blur,
    saturate,
    saturate,
    tint,
    turn_hue,
    contrast,
    posterize,
    stripes,
    paste,
    warp,
    tile,
)


def damaged(images: Tensor, draws: torch.Generator) -> Tensor:
    """Every picture spoiled in one or two random ways, in [0, 1]."""
    result = torch.empty_like(images)
    order = torch.randperm(len(images), generator=draws)
    for rows in order.chunk(8):
        spoiled = images[rows]
        for _ in range(1 + int(torch.rand(1, generator=draws) < 0.3)):
            choice = int(torch.randint(0, len(DAMAGES), (1,), generator=draws))
            spoiled = DAMAGES[choice](spoiled, draws).clamp(0, 1)
        result[rows] = spoiled
    return result


def jpeg(images: Tensor, quality: int = 90) -> Tensor:
    """Pictures through a JPEG file and back."""
    decoded = []
    for image in (images * 255).round().byte().permute(0, 2, 3, 1).numpy():
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        decoded.append(np.asarray(Image.open(buffer), np.float32) / 255)
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2)


def moved(images: Tensor, rows: int, columns: int) -> Tensor:
    """Pictures shifted by whole pixels, edges repeated."""
    reach = max(abs(rows), abs(columns))
    padded = F.pad(images, [reach] * 4, mode="replicate")
    height, width = images.shape[-2:]
    return padded[
        ..., reach - rows : reach - rows + height, reach - columns : reach - columns + width
    ]


def harmless(images: Tensor, draws: torch.Generator) -> Tensor:
    """A shift of up to two pixels and faint noise: nothing that a judge should mind."""
    rows, columns = torch.randint(-2, 3, (2,), generator=draws).tolist()
    faint = _strength(images, draws, 0, 0.015)
    grain = torch.randn(images.shape, generator=draws)
    return (moved(images, rows, columns) + faint * grain).clamp(0, 1)
