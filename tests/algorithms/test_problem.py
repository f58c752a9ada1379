"""Pictures scored at once against all together."""

from dataclasses import replace

import pytest
import torch

from rocm.algorithms.problem import Problem
from rocm.rewards.base import limit_pixels

GOALS = torch.tensor([0.1, 0.9, -0.5, 1.5, 0.3], dtype=torch.float64)


def problem_of(decoded):
    def decode(latents):
        decoded.append(len(latents))
        return latents.sin() + 0.5 * latents  # many pixels lie outside of [0, 1]

    def reward(images, rows=slice(None)):
        return -(limit_pixels(images).flatten(1).mean(1) - GOALS[rows]).square()

    return Problem(None, None, "sample", decode, reward)


def latents():
    generator = torch.Generator().manual_seed(0)
    return torch.randn((5, 3, 2, 2), dtype=torch.float64, generator=generator).requires_grad_()


@pytest.mark.parametrize(("at_once", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (8, [5])])
def test_scored_at_once_is_the_same_and_each_picture_is_decoded_once(at_once, sizes):
    decoded, state = [], latents()
    problem = problem_of(decoded)
    images, rewards = problem.scored(state)
    (wanted,) = torch.autograd.grad(-rewards.mean(), state)
    decoded.clear()
    found_images, found = replace(problem, at_once=at_once).scored(state)
    (gradient,) = torch.autograd.grad(-found.mean(), state)
    assert decoded == sizes
    assert torch.equal(found_images, images.detach())
    assert not found_images.requires_grad
    torch.testing.assert_close(found, rewards)
    torch.testing.assert_close(gradient, wanted)
    assert 0 < (wanted == 0).double().mean() < 0.9  # the limit of pixels holds some of them


def test_at_once_asks_for_no_gradient_where_none_is_wanted():
    problem = replace(problem_of([]), at_once=2)
    with torch.no_grad():
        _, rewards = problem.scored(latents())
    assert not rewards.requires_grad
    blind = replace(problem, reward=lambda images, rows: images.detach().flatten(1).mean(1))
    state = latents()
    blind.scored(state)[1].sum().backward()
    assert not state.grad.any()
