"""The controller of beta on Gaussians whose means are the parameters, and a linear reward.

Two steps with other noise levels; the KL at a beta, and the beta of a KL, are known in closed form.
"""

import math
from dataclasses import replace

import pytest
import torch

from rocm.algorithms.budget import NUM_WATCHED, SPAN, Budget, aimed, followed, trouble
from rocm.algorithms.divergences import DIVERGENCES

SIGMA = torch.tensor([[0.9], [0.5]], dtype=torch.float64)
WEIGHT = (1 - SIGMA**2) / SIGMA**2  # of a squared difference of the means, by alpha and sigma
SIZE = 64
SLOPES = torch.randn(2, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TARGET = 20.0


def trained(divergence="kl", factor=1.0, scale=1.0, num=44, target=TARGET, spread=0.0):
    """KL and beta of `num` updates after the start, with beta0 off by a factor."""
    generator = torch.Generator().manual_seed(1)
    means = torch.zeros(2, SIZE, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.AdamW([means], lr=0.02, weight_decay=0)
    budget, path = Budget(target), []
    while len(path) < num:
        d2 = means**2 * WEIGHT
        terms = zip(d2, SIGMA.flatten().tolist(), strict=True)
        penalty = sum(DIVERGENCES[divergence](row, sigma).mean() for row, sigma in terms)
        nats = d2.sum().item() / 2
        noise = 0.1 * torch.randn(2, SIZE, dtype=torch.float64, generator=generator)
        reward = (scale * (SLOPES + noise) * means).sum() / SIZE**0.5
        optimizer.zero_grad()
        (-reward + budget.beta * penalty).backward()
        torch.nn.utils.clip_grad_norm_([means], 1.0)
        optimizer.step()
        if budget.beta0:
            path.append((nats, budget.beta))
        drawn = math.exp(spread * torch.randn((), generator=generator).item())
        budget = followed(budget, nats * drawn, penalty.item() * drawn)
        if budget.is_start_over:
            rise = scale * (SLOPES * means).sum().item() / SIZE**0.5
            budget = aimed(budget, rise)
            budget = replace(budget, beta0=factor * budget.beta0)
    return path


def held(path, last=10):
    """Mean of the last updates' KL."""
    return sum(nats for nats, _ in path[-last:]) / last


@pytest.mark.parametrize("divergence", ["kl", "js", "hellinger", "fisher"])
def test_kl_is_close_to_its_budget_after_forty_updates(divergence):
    assert held(trained(divergence)) == pytest.approx(TARGET, rel=0.05)


@pytest.mark.parametrize("factor", [0.1, 10])
@pytest.mark.parametrize("divergence", ["kl", "js", "hellinger", "fisher"])
def test_a_beta0_that_is_far_off_is_corrected(divergence, factor):
    path = trained(divergence, factor, num=160)
    assert held(path) == pytest.approx(TARGET, rel=0.05)
    betas = [beta for _, beta in path]
    assert 1 / 101 < min(betas) / betas[0] < max(betas) / betas[0] < 101


def test_beta_comes_to_the_one_of_the_closed_form():
    # d/dx of x s / sqrt(n) - beta x^2 w / (2 n) is 0 at x = s sqrt(n) / (beta w).
    beta = math.sqrt((SLOPES**2 / WEIGHT).sum().item() * SIZE / (2 * TARGET))
    assert trained(num=160)[-1][1] == pytest.approx(beta, rel=0.1)


def test_a_reward_times_ten_gives_the_same_updates():
    one, ten = trained(), trained(scale=10.0)
    assert [nats for nats, _ in ten] == pytest.approx([nats for nats, _ in one], rel=1e-3)
    assert [beta for _, beta in ten] == pytest.approx([10 * beta for _, beta in one], rel=1e-3)


def test_pictures_that_differ_move_the_kl_by_a_tenth_only():
    assert held(trained(num=80, spread=0.25), last=40) == pytest.approx(TARGET, rel=0.1)


def test_nothing_is_penalised_until_the_start_is_over():
    budget = Budget(TARGET)
    for _ in range(9):
        budget = followed(budget, 1.0, 0.1)
        assert (budget.beta, budget.is_start_over) == (0, False)
    assert followed(budget, 1.0, 0.1).is_start_over
    assert followed(budget, TARGET, 0.1).is_start_over  # far enough: sooner


def test_a_price_is_the_same_in_nats_whatever_divergence_trains():
    budget = Budget(price=0.02)
    assert budget.beta == 0  # nothing is known yet
    budget = followed(followed(budget, 3.0, 0.5), 6.0, 1.0)
    assert budget.beta * 0.5 == pytest.approx(0.02 * 3.0)
    assert not replace(budget, num_updates=20).is_start_over  # none is without a penalty


@pytest.mark.parametrize(
    ("nats", "kind", "words"),
    [
        ([1.0], "budget", "leads no further"),
        ([90.0], "budget", "no longer pulls back"),
        ([5.0] * 5 + [60.0] * 5, "oscillation", "Lower learning_rate"),
        ([20.0], "", ""),
    ],
)
def test_what_keeps_the_kl_from_its_budget_is_said(nats, kind, words):
    budget = Budget(TARGET, beta0=1.0, nats=nats[0], divergence=1.0, num_updates=10)
    for number in range(NUM_WATCHED):
        budget = followed(budget, nats[number % len(nats)], 1.0)
    found, sentence = trouble(budget)
    assert (found, words in sentence) == (kind, True)
    assert abs(math.log(budget.beta)) <= SPAN + 1e-9
