"""Mixtures as text and as numbers, and the limit of the pixel range."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from rocm.errors import ConfigError, RocmError
from rocm.rewards.base import Mixture, Scale, limit_pixels
from rocm.rewards.color import PixelReward, colorfulness, saturation
from rocm.rewards.load import load_rewards
from rocm.rewards.names import parse_mixture
from rocm.storage.paths import ROOT

CLIP = ROOT / "assets" / "tiny-clip"


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("colorfulness", {"colorfulness": 1}),
        ("0.7*tiny-clip+0.3*colorfulness", {"tiny-clip": 0.7, "colorfulness": 0.3}),
        (" 2 * tiny-clip + colorfulness ", {"tiny-clip": 2, "colorfulness": 1}),
        ("tiny-clip+-0.5*smoothness", {"tiny-clip": 1, "smoothness": -0.5}),
        ("1e-1*clip:some/folder", {"clip:some/folder": 0.1}),
    ],
)
def test_mixture_is_read_in_order(text, weights):
    assert list(parse_mixture(text).items()) == list(weights.items())


UNREADABLE = "+ colorfulness+ +colorfulness *colorfulness x*colorfulness nan*colorfulness".split()
UNREADABLE += "inf*colorfulness 2*3*colorfulness 2* colorfulness+0.5*colorfulness".split()


@pytest.mark.parametrize("text", ["", " ", *UNREADABLE])
def test_what_cannot_be_read_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        parse_mixture(text)
    assert "0.7*tiny-clip+0.3*colorfulness" in str(caught.value)


def test_a_mixture_of_weights_0_is_refused():
    with pytest.raises(ConfigError, match="only weights of 0"):
        parse_mixture("0*colorfulness+0*tiny-clip")
    assert parse_mixture("0*colorfulness+1*tiny-clip")["colorfulness"] == 0


@pytest.mark.parametrize("folder", ["assets/tiny-lcm", "", "/nowhere", "README.md"])
def test_a_folder_that_holds_no_clip_is_one_sentence(folder):
    with pytest.raises(RocmError, match="clip:") as caught:
        load_rewards([f"clip:{folder}"], torch.device("cpu"))
    assert "\n" not in str(caught.value)


def test_a_clip_whose_weights_lack_a_key_is_refused(tmp_path):
    shutil.copytree(CLIP, tmp_path, dirs_exist_ok=True)
    state = load_file(tmp_path / "model.safetensors")
    state.pop("logit_scale")
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    words = r"does not fit its config\.json: 'logit_scale' is missing"
    with pytest.raises(ConfigError, match=words):
        load_rewards([f"clip:{tmp_path}"], torch.device("cpu"))


def test_mixture_is_the_weighted_sum_of_standardized_rewards():
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    weights = {"colorfulness": 0.7, "saturation": -2.0}
    scales = {"colorfulness": Scale(30, 10), "saturation": Scale(0.4, 0.05)}
    functions = {"colorfulness": colorfulness, "saturation": saturation}
    rewards = {name: PixelReward(name, function) for name, function in functions.items()}
    mixed = Mixture(rewards, weights, scales)
    parts = mixed.parts(images, [""] * 4)
    expected = [
        0.7 * (m - 30) / 10 - 2 * (s - 0.4) / 0.05
        for m, s in zip(colorfulness(images).tolist(), saturation(images).tolist(), strict=True)
    ]
    assert mixed.combine(parts).tolist() == pytest.approx(expected, rel=1e-5)


def test_limited_pixels_are_clamped_and_a_gradient_inside_the_range_passes_unchanged():
    wide = torch.linspace(-1, 2, 48)
    assert torch.equal(limit_pixels(wide), wide.clamp(0, 1))
    images = torch.linspace(0, 1, 48).reshape(1, 3, 4, 4).requires_grad_()
    gradient = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    limit_pixels(images).backward(gradient)
    assert torch.equal(images.grad, gradient)


def test_outside_the_range_only_the_gradient_that_leads_back_passes():
    images = torch.tensor([1.5, 1.5, -0.5, -0.5], requires_grad=True)
    limit_pixels(images).backward(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    assert images.grad.tolist() == [1, 0, -1, 0]
