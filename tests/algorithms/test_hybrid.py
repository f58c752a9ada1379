"""The hybrid objective: unbiased on a toy whose gradient is known, and made of its three terms.

N = 2 and one latent element: x_1 = alpha f_0(x_0) + sigma z with x_0 fixed, x_2 = f_1(x_1), and a
reward that is linear in the picture, so that the gradient of its expectation by the first map's
factor is slope_0 = d f_1/dx alpha d f_0/da for every weight of the two parts.
"""

import pytest
import torch

from rocm.algorithms.divergences import Penalty
from rocm.algorithms.hybrid import hybrid_objective, score_loss
from rocm.algorithms.mdp import decisions, play
from rocm.algorithms.problem import Problem
from rocm.algorithms.rocm import rocm_objective
from rocm.algorithms.trajectory import denoised_along, gradient_path
from tests.algorithms.linear_toy import THETA, draw_noise, linear, problem_of, schedule_of

START = 1.5


def objective(network, noise, schedule, share, beta=0.0):
    """Of pairs; `share` of the reward has a gradient, the rest is only a number."""
    blind = []

    def reward(images):
        value = images.flatten(1).sum(1)
        blind.append((1 - share) * value.detach())
        return share * value + blind[-1]

    problem = Problem(network, linear(THETA), "sample", lambda x: x, reward)
    path = gradient_path("full", len(schedule), 1)
    penalty = Penalty(beta, last_step="skip")
    first = rocm_objective(problem, noise[: len(schedule)], schedule, path, penalty)
    return hybrid_objective(problem, first, schedule, blind[0], 2)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0], ids=["pathwise", "mixture", "policy gradient"])
def test_both_estimators_and_their_mixture_are_unbiased(share):
    schedule, noise = schedule_of(2), draw_noise(2, 40_000, (1, 1, 1))
    noise[0] = START
    # A factor for each pair, so that one backward pass gives an estimate for each.
    factors = THETA[0].repeat(20_000).requires_grad_()

    def network(state, timesteps):
        own = factors.repeat_interleave(2)[:, None, None, None]
        return torch.where((timesteps == 999)[:, None, None, None], own, THETA[1]) * state

    objective(network, noise, schedule, share).loss.backward()
    found = -factors.grad * 20_000
    first, last = schedule
    exact = (last.c_out * THETA[1] + last.c_skip) * first.alpha_next * first.c_out * START
    error = found.std().item() / len(found) ** 0.5
    assert found.mean().item() == pytest.approx(exact.item(), abs=4 * error + 1e-12)
    assert 4 * error < 0.1 * abs(exact.item())


def test_a_reward_with_gradient_throughout_leaves_rocms_objective():
    schedule, noise = schedule_of(3), draw_noise(3)
    theta = (THETA * 1.1).requires_grad_()
    found = objective(linear(theta), noise, schedule, share=1.0, beta=2.0)
    found.loss.backward()
    own = (THETA * 1.1).requires_grad_()
    path, penalty = gradient_path("full", 3, 1), Penalty(2.0, last_step="skip")
    expected = rocm_objective(problem_of(own), noise[:3], schedule, path, penalty)
    expected.loss.backward()
    torch.testing.assert_close(theta.grad, own.grad)
    assert torch.equal(found.rewards, expected.rewards)


def test_blind_parts_add_the_policy_gradient_of_the_joint_log_density():
    schedule, noise = schedule_of(3), draw_noise(3)
    theta = THETA.clone().requires_grad_()
    objective(linear(theta), noise, schedule, share=0.0).loss.backward()
    gaussians = decisions(schedule, "skip", 0.0)
    episode = play(linear(THETA), noise, schedule, "sample", gaussians)
    own = THETA.clone().requires_grad_()
    denoised = denoised_along(linear(own), episode.states, schedule[:2], "sample")
    normals = [
        torch.distributions.Normal(alpha * f, sigma).log_prob(action).flatten(1).sum(1)
        for f, action, (alpha, sigma) in zip(denoised, episode.actions, gaussians, strict=True)
    ]
    rewards = episode.latents.flatten(1).sum(1)
    others = rewards[[1, 0, 3, 2]]
    (-((rewards - others) * sum(normals)).mean()).backward()
    torch.testing.assert_close(theta.grad, own.grad)


@pytest.mark.parametrize("group_size", [2, 3, 6])
def test_each_picture_is_compared_with_the_others_of_its_group(group_size):
    rewards = torch.tensor([1.0, 4.0, -2.0, 0.5, 3.0, 7.0], dtype=torch.float64)
    joint = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    score_loss(joint, rewards.requires_grad_(), group_size).backward()
    assert rewards.grad is None
    for b, value in enumerate(rewards.tolist()):
        first = b // group_size * group_size
        others = [rewards[k].item() for k in range(first, first + group_size) if k != b]
        expected = -(value - sum(others) / len(others)) / 6
        assert joint.grad[b].item() == pytest.approx(expected)
