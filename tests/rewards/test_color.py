"""Pixel rewards and image statistics against numpy, PIL and finite differences."""

import numpy
import pytest
import torch
from PIL import Image

from rocm.rewards.color import (
    at_limit,
    colorfulness,
    compressibility,
    contrast,
    edge_density,
    incompressibility,
    saturation,
    smoothness,
)
from rocm.rewards.preprocess import to_pil

REWARDS = [colorfulness, saturation, smoothness]


def pictures(num=3, size=9, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.rand((num, 3, size, size), dtype=dtype, generator=generator)


def flat(red, green, blue):
    return torch.tensor([red, green, blue]).double().view(1, 3, 1, 1).expand(1, 3, 8, 8)


def test_colorfulness_is_the_published_formula():
    for image, ours in zip(pictures(), colorfulness(pictures()), strict=True):
        red, green, blue = (255 * image).numpy()
        rg, yb = red - green, 0.5 * (red + green) - blue
        spread = numpy.sqrt(rg.std() ** 2 + yb.std() ** 2)
        mean = numpy.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
        assert ours.item() == pytest.approx(spread + 0.3 * mean, rel=1e-6)


def test_saturation_is_that_of_pil():
    for image, ours in zip(pictures(), saturation(pictures()), strict=True):
        pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        theirs = numpy.asarray(Image.fromarray(pixels).convert("HSV"))[..., 1] / 255
        assert ours.item() == pytest.approx(theirs.mean(), abs=0.01)


def test_saturation_of_gray_is_zero_and_of_a_pure_color_one():
    assert saturation(flat(0.4, 0.4, 0.4)).item() == 0
    assert saturation(flat(0, 0, 0)).item() == 0
    assert saturation(flat(0, 0.7, 0)).item() == pytest.approx(1, abs=1e-5)


def test_smoothness_is_minus_the_mean_step_between_neighbors():
    image = torch.zeros(1, 3, 4, 4)
    image[..., 2:] = 1
    assert smoothness(image).item() == pytest.approx(-(1 / 3) / 2)
    assert smoothness(image.transpose(2, 3)).item() == pytest.approx(-(1 / 3) / 2)
    assert smoothness(flat(0.2, 0.4, 0.6)).item() == 0


@pytest.mark.parametrize("reward", REWARDS)
def test_gradient_is_the_finite_difference(reward):
    images = pictures(num=2, size=5).requires_grad_()
    assert torch.autograd.gradcheck(reward, (images,))


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_gradient_is_finite_on_a_flat_picture(reward, level):
    images = torch.full((1, 3, 8, 8), level, requires_grad=True)
    reward(images).sum().backward()
    assert torch.isfinite(images.grad).all()
    assert images.grad.abs().max() < 1000


def test_limit_share_counts_values_at_or_beyond_the_ends():
    images = torch.full((1, 3, 2, 2), 0.5)
    images[0, 0, 0] = torch.tensor([0.0, -0.1])
    images[0, 1, 0, 0] = 1.0
    assert at_limit(images).item() == pytest.approx(3 / 12)


def test_contrast_is_the_deviation_of_the_brightness():
    gray = pictures().mean(1).numpy()
    expected = [picture.std() for picture in gray]
    numpy.testing.assert_allclose(contrast(pictures()).numpy(), expected)


def test_edge_density_is_the_share_of_pixels_beside_a_step():
    image = torch.zeros(1, 3, 5, 5)
    image[..., 3:] = 1
    assert edge_density(image).item() == pytest.approx(4 / 16)
    assert edge_density(image * 0.05).item() == 0


def test_size_is_that_of_the_file_and_has_no_gradient(tmp_path):
    images = torch.cat([pictures(1, 32), torch.full((1, 3, 32, 32), 0.5)]).requires_grad_()
    sizes = incompressibility(images)
    for image, size in zip(images.detach(), sizes, strict=True):
        to_pil(image).save(tmp_path / "picture.jpg", quality=95)
        assert size.item() == pytest.approx((tmp_path / "picture.jpg").stat().st_size / 1000)
    torch.testing.assert_close(compressibility(images), -sizes)
    assert not sizes.requires_grad
