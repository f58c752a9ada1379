"""Simulated raters: seeded, fair to both sides, and on average of gold's mind."""

import pytest
import torch

from rocm.rewards.raters import palates, preference, votes
from rocm.rewards.taste import GOLD, retouched, taste


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_palates_depend_on_the_seed_alone():
    assert torch.equal(palates(8, 1), palates(8, 1))
    assert not torch.equal(palates(8, 1), palates(8, 2))
    torch.testing.assert_close(palates(5, 3, spread=0.0), torch.tensor(GOLD).expand(5, 3))


def test_the_median_palate_is_gold():
    median = palates(20_000, 0).median(0).values
    torch.testing.assert_close(median, torch.tensor(GOLD), rtol=0.02, atol=0)


def test_probabilities_of_both_orders_sum_to_one():
    first, second = 20 * torch.randn(2, 100, generator=draws())
    total = preference(first, second) + preference(second, first)
    torch.testing.assert_close(total, torch.ones(100))
    assert preference(first, first).eq(0.5).all()
    one_temperature = preference(torch.tensor(2.0), torch.tensor(0.0), 2.0)
    assert one_temperature.item() == pytest.approx(0.7311, abs=1e-4)


def test_votes_without_ties_are_as_probable_as_the_preference_says():
    first, second = torch.full((40_000,), 1.5), torch.zeros(40_000)
    share = votes(first, second, draws(), tie_width=0.0).mean().item()
    assert share == pytest.approx(preference(first[0], second[0]).item(), abs=0.01)


def test_votes_repeat_with_the_seed_and_ties_are_halves():
    first, second = torch.randn(2, 1000, generator=draws()).unbind()
    once = votes(first, second, draws(7))
    assert torch.equal(once, votes(first, second, draws(7)))
    assert set(once.tolist()) == {0.0, 0.5, 1.0}


def test_a_rater_prefers_the_drawing_retouched_to_their_own_palate():
    raters = palates(6, 4)
    drawings = 0.2 + 0.5 * torch.rand(6, 3, 16, 16, generator=draws())
    own = taste(retouched(drawings, *raters[:, :2].unbind(1)), drawings, raters)
    torch.testing.assert_close(own, torch.zeros(6), atol=1e-4, rtol=0)
    assert (taste(drawings, drawings, raters) < own).all()
