"""REBEL's regression against plain loops and derivatives taken by hand, on `linear_toy`."""

import pytest
import torch

from rocm.algorithms.divergences import Penalty
from rocm.algorithms.rlcm import rebel_objective, regression_loss
from tests.algorithms.linear_toy import THETA, by_hand, judge, log_probs_of, played, problem_of

PENALTY = Penalty(beta=0.0)
ADVANTAGES = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)


def test_loss_is_the_written_out_square_of_each_pair():
    log_ratio = torch.tensor([0.3, -0.1, 0.2, 0.7], dtype=torch.float64)
    pairs = [(0.5 * 0.4 - 3.0) ** 2, (0.5 * -0.5 + 2.5) ** 2]
    assert regression_loss(log_ratio, ADVANTAGES, 0.5).item() == pytest.approx(sum(pairs) / 2)


def test_before_the_first_step_the_loss_is_that_of_log_ratios_of_exactly_zero():
    schedule, _, _, episode = played()
    scored = judge(episode, schedule, ADVANTAGES)
    found = rebel_objective(problem_of(THETA), scored, schedule, 7.0, PENALTY)
    assert found.loss.item() == (3.0**2 + 2.5**2) / 2
    assert found.clip_fraction is None


def test_first_gradient_of_a_linear_policy_is_the_hand_derivative():
    """d/da of a pair's square is -2 eta (A - A') times the sum over its decisions of s - s'."""
    schedule, gaussians, _, episode = played()
    theta = THETA.clone().requires_grad_()
    scored = judge(episode, schedule, ADVANTAGES)
    rebel_objective(problem_of(theta), scored, schedule, 0.5, PENALTY).loss.backward()
    weights = -2 * 0.5 / 2 * torch.tensor([3.0, -3.0, -2.5, 2.5]).expand(3, 4)
    assert theta.grad.tolist() == by_hand(schedule, gaussians, episode, weights)


def test_log_ratios_are_to_the_drawing_policy_and_summed():
    schedule, gaussians, _, episode = played()
    moved = THETA * 1.1
    old, now = (log_probs_of(theta, episode, schedule, gaussians) for theta in (THETA, moved))
    total = (now - old).sum(0)
    expected = ((2 * (total[0] - total[1]) - 3) ** 2 + (2 * (total[2] - total[3]) + 2.5) ** 2) / 2
    scored = judge(episode, schedule, ADVANTAGES, old)
    found = rebel_objective(problem_of(moved), scored, schedule, 2.0, PENALTY)
    assert found.loss.item() == pytest.approx(expected.item())
