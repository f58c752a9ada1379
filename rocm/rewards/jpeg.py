"""Rewards by file size: they have a value and no gradient.

Each takes pictures (B, 3, H, W) in [0, 1] and returns (B,).
"""

import io

import torch
from PIL import Image
from torch import Tensor

QUALITY = 95


def incompressibility(images: Tensor) -> Tensor:
    """Size as a JPEG file of quality 95, in kB, (B,), > 0 (DDPO, arXiv 2305.13301)."""
    pixels = (images.detach() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    sizes = []
    for picture in pixels:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=QUALITY)
        sizes.append(file.tell() / 1000)
    return images.new_tensor(sizes)


def compressibility(images: Tensor) -> Tensor:
    """Minus that size, (B,), < 0: high for plain pictures."""
    return -incompressibility(images)
