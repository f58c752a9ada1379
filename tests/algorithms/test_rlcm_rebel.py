"""REBEL's regression against plain loops and derivatives taken by hand, on `linear_toy`."""

import pytest
import torch

from rocm.algorithms.divergences import Penalty
from rocm.algorithms.mdp import log_probs
from rocm.algorithms.rlcm import rebel_objective, regression_loss
from rocm.algorithms.trajectory import denoised_along
from tests.algorithms.linear_toy import THETA, judge, linear, played, problem_of, score

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
    by_hand = [0.0, 0.0]
    for n in range(3):
        for pair, gap in enumerate((3.0, -2.5)):
            first, second = (score(schedule, gaussians, episode, n, 2 * pair + k) for k in (0, 1))
            by_hand[min(n, 1)] -= 2 * 0.5 * gap * (first - second) / 2
    assert theta.grad.tolist() == pytest.approx(by_hand, rel=1e-9)


def test_log_ratios_are_to_the_drawing_policy_and_summed():
    schedule, gaussians, _, episode = played()
    old = log_probs(
        denoised_along(linear(THETA), episode.states, schedule, "sample"), episode, gaussians
    )
    moved = THETA * 1.1
    now = log_probs(
        denoised_along(linear(moved), episode.states, schedule, "sample"), episode, gaussians
    )
    total = (now - old).sum(0)
    expected = ((2 * (total[0] - total[1]) - 3) ** 2 + (2 * (total[2] - total[3]) + 2.5) ** 2) / 2
    scored = judge(episode, schedule, ADVANTAGES, old)
    found = rebel_objective(problem_of(moved), scored, schedule, 2.0, PENALTY)
    assert found.loss.item() == pytest.approx(expected.item())


def test_a_pair_whose_log_ratios_explain_its_rewards_is_left_alone():
    log_ratio = torch.tensor([0.75, -0.75], dtype=torch.float64, requires_grad=True)
    regression_loss(log_ratio, torch.tensor([1.0, -2.0], dtype=torch.float64), 2.0).backward()
    assert log_ratio.grad.tolist() == [0.0, 0.0]
