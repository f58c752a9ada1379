"""D3PO's preference loss against plain loops and derivatives taken by hand, on `linear_toy`."""

import math

import pytest
import torch

from rocm.algorithms.d3po import PairRule, d3po_objective, preference_loss, preferences
from rocm.algorithms.divergences import Penalty
from tests.algorithms.linear_toy import THETA, by_hand, judge, log_probs_of, played, problem_of

PENALTY = Penalty(beta=0.0)
PREFERRED = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)
WIDE = PairRule(temperature=2.0, clip_range=0.999)


def test_the_better_picture_is_preferred_and_a_tie_prefers_none():
    values = torch.tensor([1.0, 2.0, 5.0, -5.0, 3.0, 3.0], requires_grad=True)
    found = preferences(values)
    assert found.tolist() == [-1, 1, 1, -1, 0, 0]
    assert not found.requires_grad


def test_loss_is_the_written_out_one():
    ratio = torch.tensor([[1.02, 0.97, 1.3, 0.99], [0.5, 1.01, 1.04, 1.0]], dtype=torch.float64)
    rule, terms = PairRule(3.0, 0.1), []
    for n in range(2):
        for pair in range(2):
            held = [min(max(ratio[n, 2 * pair + k].item(), 0.9), 1.1) for k in (0, 1)]
            sign = PREFERRED[2 * pair].item()
            margin = 3.0 * (sign * math.log(held[0]) - sign * math.log(held[1]))
            terms.append(-math.log(1 / (1 + math.exp(-margin))))
    found = preference_loss(ratio, PREFERRED, rule).item()
    assert found == pytest.approx(sum(terms) / 4)


def test_a_tie_counts_as_nothing():
    ratio = torch.tensor([[1.02, 0.97, 1.05, 0.99]], dtype=torch.float64, requires_grad=True)
    one_pair = preference_loss(ratio[:, :2], torch.tensor([1.0, -1.0]).double(), WIDE)
    with_tie = preference_loss(ratio, torch.tensor([1.0, -1.0, 0.0, 0.0]).double(), WIDE)
    assert with_tie.item() == pytest.approx(one_pair.item())
    with_tie.backward()
    assert ratio.grad[0, 2:].tolist() == [0, 0]
    only_ties = preference_loss(ratio, torch.zeros(4).double(), WIDE)
    assert only_ties.item() == 0


@pytest.mark.parametrize("ratio", [0.85, 1.15])
def test_a_ratio_outside_the_clip_range_sends_no_gradient(ratio):
    leaf = torch.tensor([[ratio, 1.0]], dtype=torch.float64, requires_grad=True)
    preference_loss(leaf, torch.tensor([1.0, -1.0]).double(), PairRule(2.0, 0.1)).backward()
    assert leaf.grad[0, 0].item() == 0
    assert leaf.grad[0, 1].item() > 0


def test_ratio_is_exactly_one_where_policy_and_reference_agree():
    schedule, _, _, episode = played()
    scored = judge(episode, schedule, PREFERRED)
    found = d3po_objective(problem_of(THETA), scored, schedule, PairRule(2.0, 1e-12), PENALTY)
    assert found.loss.item() == pytest.approx(math.log(2), abs=1e-15)
    assert found.clip_fraction.item() == 0


def test_first_gradient_of_a_linear_policy_is_the_hand_derivative():
    """At policy == reference d/da of a pair's loss is -(tau / 2) h (s - s')."""
    schedule, gaussians, _, episode = played()
    theta = THETA.clone().requires_grad_()
    scored = judge(episode, schedule, PREFERRED)
    d3po_objective(problem_of(theta), scored, schedule, WIDE, PENALTY).loss.backward()
    weights = -PREFERRED.expand(3, 4) / (3 * 2)
    assert theta.grad.tolist() == by_hand(schedule, gaussians, episode, weights)


def test_ratio_is_to_the_reference_and_not_to_the_policy_that_drew():
    schedule, gaussians, _, episode = played()
    moved = THETA * 1.05
    before, now = (log_probs_of(theta, episode, schedule, gaussians) for theta in (THETA, moved))
    # With the mover's own densities as the old ones: a ratio to them would be 1 and the loss log 2.
    scored = judge(episode, schedule, PREFERRED, now)
    found = d3po_objective(problem_of(moved), scored, schedule, WIDE, PENALTY)
    expected = preference_loss((now - before).exp(), PREFERRED, WIDE)
    assert found.loss.item() == pytest.approx(expected.item())
    assert abs(found.loss.item() - math.log(2)) > 1e-4


def test_a_step_down_the_loss_makes_the_preferred_pictures_likelier():
    schedule, gaussians, _, episode = played(batch=2)
    theta = THETA.clone().requires_grad_()
    scored = judge(episode, schedule, torch.tensor([-1.0, 1.0]).double())
    d3po_objective(problem_of(theta), scored, schedule, WIDE, PENALTY).loss.backward()
    before, after = (
        log_probs_of(moved, episode, schedule, gaussians).sum(0)
        for moved in (THETA, THETA - 1e-3 * theta.grad)
    )
    assert (after - before)[1] > (after - before)[0]
