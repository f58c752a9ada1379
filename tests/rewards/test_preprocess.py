"""Preparing pictures: against the originals on the same picture, and its gradient."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from rocm.rewards.preprocess import DEVIATION, MEAN, crop, pad

SIZES = [(512, 512), (64, 64), (224, 224), (320, 448), (449, 321)]
NORMALIZE = transforms.Normalize(MEAN, DEVIATION)


def picture(height, width, low=0, high=255):
    """With hard edges, at which bicubic weights overshoot."""
    generator = np.random.default_rng(0)
    shape = (height // 16 + 1, width // 16 + 1, 3)
    blocks = generator.integers(low, high, shape, dtype=np.uint8, endpoint=True)
    return Image.fromarray(blocks.repeat(16, 0).repeat(16, 1)[:height, :width])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("low", "high", "most"), [(64, 191, 1.51), (0, 255, 20)])
def test_crop_is_what_pil_does_within_its_rounding_and_clipping(size, low, high, most):
    image = picture(*size, low, high)
    cut = [transforms.Resize(224, InterpolationMode.BICUBIC), transforms.CenterCrop(224)]
    original = transforms.Compose([*cut, transforms.ToTensor(), NORMALIZE])
    ours = crop(TF.to_tensor(image)[None], 224)[0]
    steps = (ours - original(image)).abs() * torch.tensor(DEVIATION).view(3, 1, 1) * 255
    # PIL rounds to whole steps of 255 after each direction, and clips overshoot after each too.
    assert steps.max() < most
    assert steps.mean() < 0.4


@pytest.mark.parametrize("size", SIZES)
def test_pad_is_what_hpsv2_does(size):
    image = TF.to_tensor(picture(*size))
    scale = 224 / max(size)
    sides = [round(side * scale) for side in size]
    resized = TF.resize(image, sides, InterpolationMode.BICUBIC, antialias=True)
    down, across = 224 - sides[0], 224 - sides[1]
    margins = [across // 2, down // 2, across - across // 2, down - down // 2]
    expected = NORMALIZE(TF.pad(resized, margins, fill=0))
    torch.testing.assert_close(pad(image[None], 224)[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("prepare", [crop, pad])
@pytest.mark.parametrize("size", [(9, 12), (5, 4), (6, 6)])
def test_gradient_is_the_finite_difference(prepare, size):
    generator = torch.Generator().manual_seed(0)
    image = 0.4 + 0.2 * torch.rand(1, 3, *size, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: prepare(x, 6), image.requires_grad_())


@pytest.mark.parametrize("size", [6, 12])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_saturated_picture_can_still_be_led_back(level, size):
    image = torch.full((1, 3, size, size), level, requires_grad=True)
    loss = crop(image, 6).sum() * (1 if level else -1)
    loss.backward()
    assert (image.grad.sign() == (1 if level else -1)).all()
