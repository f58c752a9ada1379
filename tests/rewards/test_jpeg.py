"""File sizes against files on the disk, and the refusal to back-propagate through them."""

import pytest
import torch

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


def test_size_is_that_of_the_file_and_has_no_gradient(tmp_path):
    for image, size in zip(pictures(), incompressibility(pictures()), strict=True):
        to_pil(image).save(tmp_path / "picture.jpg", quality=95)
        assert size.item() == pytest.approx((tmp_path / "picture.jpg").stat().st_size / 1000)
    torch.testing.assert_close(compressibility(pictures()), -incompressibility(pictures()))
    for name in WITHOUT_GRADIENT:
        assert not PIXEL_REWARDS[name](pictures().requires_grad_()).requires_grad


def test_back_propagation_is_refused_in_one_sentence():
    check_gradient({"compressibility": 1.0}, ALGORITHMS["rlcm"])
    check_gradient({"colorfulness": 1.0, "tiny-clip": 1.0}, ALGORITHMS["rocm"])
    with pytest.raises(ConfigError, match="compressibility has no gradient, but algorithm=rocm"):
        check_gradient({"colorfulness": 1.0, "compressibility": 0.5}, ALGORITHMS["rocm"])
