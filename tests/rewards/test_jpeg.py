"""File sizes against files on the disk, and the refusal to back-propagate through them."""

import pytest
import torch
from PIL import Image

from rocm.config.algorithms import ALGORITHMS
from rocm.errors import ConfigError
from rocm.rewards.jpeg import compressibility, incompressibility
from rocm.rewards.load import PIXEL_REWARDS
from rocm.rewards.names import WITHOUT_GRADIENT, check_gradient
from rocm.rewards.preprocess import to_pil


def pictures():
    noise = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    noise[1] = 0.5
    return noise


def test_size_is_that_of_the_file(tmp_path):
    for image, size in zip(pictures(), incompressibility(pictures()), strict=True):
        to_pil(image).save(tmp_path / "picture.jpg", quality=95)
        assert size.item() == pytest.approx((tmp_path / "picture.jpg").stat().st_size / 1000)
        assert Image.open(tmp_path / "picture.jpg").size == (32, 32)


def test_noise_is_less_compressible_than_a_plain_picture():
    noisy, plain = compressibility(pictures())
    assert noisy < plain < 0


@pytest.mark.parametrize("name", WITHOUT_GRADIENT)
def test_there_is_no_gradient(name):
    assert not PIXEL_REWARDS[name](pictures().requires_grad_()).requires_grad


def test_back_propagation_is_refused_in_one_sentence():
    check_gradient({"compressibility": 1.0}, ALGORITHMS["rlcm"])
    check_gradient({"colorfulness": 1.0, "tiny-clip": 1.0}, ALGORITHMS["rocm"])
    with pytest.raises(ConfigError) as caught:
        check_gradient({"colorfulness": 1.0, "compressibility": 0.5}, ALGORITHMS["rocm"])
    assert str(caught.value) == (
        "reward=compressibility has no gradient, but algorithm=rocm needs one. "
        "Set algorithm=hybrid or algorithm=rlcm, or leave that reward out."
    )
