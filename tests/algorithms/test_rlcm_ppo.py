"""RLCM's objective against torch.distributions, plain loops and derivatives taken by hand.

The toy is that of `linear_toy`.
"""

import math

import pytest
import torch

from rocm.algorithms.advantages import PromptStatistics
from rocm.algorithms.divergences import Penalty
from rocm.algorithms.mdp import log_prob
from rocm.algorithms.rlcm import clipped_loss, ppo_objective
from rocm.algorithms.trajectory import rollout
from tests.algorithms.linear_toy import THETA, by_hand, judge, log_probs_of, played, problem_of

PENALTY = Penalty(beta=0.0)
ADVANTAGES = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)


def test_log_prob_is_the_mean_of_torch_distributions():
    generator = torch.Generator().manual_seed(0)
    denoised, action = torch.randn((2, 5, 4, 3, 3), dtype=torch.float64, generator=generator)
    theirs = torch.distributions.Normal(0.7 * denoised, 0.4).log_prob(action).flatten(1).mean(1)
    torch.testing.assert_close(log_prob(denoised, action, 0.7, 0.4), theirs)


@pytest.mark.parametrize(("last_step", "num_decisions"), [("smooth", 3), ("floor", 3), ("skip", 2)])
def test_an_episode_is_the_rollout_and_its_actions_are_the_next_states(last_step, num_decisions):
    schedule, gaussians, noise, episode = played(3, last_step)
    trajectory = rollout(problem_of(THETA).policy, noise[:-1], schedule, "sample")
    assert torch.equal(episode.latents, trajectory.latents)
    assert len(gaussians) == len(episode.states) == len(episode.actions) == num_decisions
    for action, state in zip(episode.actions, trajectory.states[1:], strict=False):
        assert torch.equal(action, state)
    last = schedule[-1]
    gaussian = {"smooth": (last.alpha, last.sigma), "floor": (1.0, 0.1)}.get(last_step)
    if gaussian:
        drawn = (episode.actions[2] - gaussian[0] * trajectory.latents) / gaussian[1]
        torch.testing.assert_close(drawn, noise[3])


def test_ratio_is_exactly_one_before_the_first_step():
    schedule, _, _, episode = played()
    scored = judge(episode, schedule, ADVANTAGES)
    found = ppo_objective(problem_of(THETA), scored, schedule, 1e-9, PENALTY)
    assert found.loss.item() == -ADVANTAGES.mean().item()
    assert found.clip_fraction.item() == 0
    assert found.divergences.abs().max().item() == 0


@pytest.mark.parametrize("last_step", ["smooth", "skip"])
def test_first_gradient_of_a_linear_policy_is_the_hand_derivative(last_step):
    r"""d/da of -A mean_j[-(u_j - alpha a x_j)^2 / 2 sigma^2], averaged over decisions, pictures."""
    schedule, gaussians, _, episode = played(3, last_step)
    theta = THETA.clone().requires_grad_()
    penalty = Penalty(beta=0.0, last_step=last_step)
    scored = judge(episode, schedule, ADVANTAGES)
    ppo_objective(problem_of(theta), scored, schedule, 1e-4, penalty).loss.backward()
    weights = -ADVANTAGES.expand(len(gaussians), 4) / (4 * len(gaussians))
    assert theta.grad.tolist() == by_hand(schedule, gaussians, episode, weights)


def test_a_step_down_the_loss_makes_good_actions_likelier():
    schedule, gaussians, _, episode = played(batch=2)
    theta = THETA.clone().requires_grad_()
    scored = judge(episode, schedule, torch.tensor([1.0, -1.0], dtype=torch.float64))
    ppo_objective(problem_of(theta), scored, schedule, 1e-4, PENALTY).loss.backward()
    before, after = (
        log_probs_of(moved, episode, schedule, gaussians).sum(0)
        for moved in (THETA, THETA - 1e-3 * theta.grad)
    )
    assert (after - before)[0] > (after - before)[1]


@pytest.mark.parametrize("advantage", [2.0, -2.0])
@pytest.mark.parametrize("ratio", [0.5, 0.95, 1.05, 2.0])
def test_clipped_loss_is_the_written_out_one_and_stops_where_clipped(advantage, ratio):
    leaf = torch.tensor([[ratio]], dtype=torch.float64, requires_grad=True)
    loss = clipped_loss(leaf, torch.tensor([advantage], dtype=torch.float64), 0.1)
    loss.backward()
    held = min(max(ratio, 0.9), 1.1)
    assert loss.item() == pytest.approx(max(-advantage * ratio, -advantage * held))
    is_stopped = (advantage > 0 and ratio > 1.1) or (advantage < 0 and ratio < 0.9)
    assert leaf.grad.item() == pytest.approx(0.0 if is_stopped else -advantage)


def test_loss_is_the_mean_over_decisions_and_pictures():
    ratio = 1 + torch.arange(6, dtype=torch.float64).view(3, 2) / 100
    advantages = torch.tensor([1.0, -3.0], dtype=torch.float64)
    terms = [-advantages[b] * ratio[n, b] for n in range(3) for b in range(2)]
    assert clipped_loss(ratio, advantages, 1.0).item() == pytest.approx(sum(terms).item() / 6)


def test_old_log_probs_are_those_of_the_policy_that_drew_the_pictures():
    schedule, gaussians, _, episode = played()
    ones = torch.ones(4, dtype=torch.float64)
    scored = judge(episode, schedule, ones)
    first = ppo_objective(problem_of(THETA), scored, schedule, 10.0, PENALTY)
    moved = THETA * 1.01
    scored = judge(episode, schedule, ones, first.log_probs)
    found = ppo_objective(problem_of(moved), scored, schedule, 10.0, PENALTY)
    now = log_probs_of(moved, episode, schedule, gaussians)
    assert found.loss.item() == pytest.approx(-(now - first.log_probs).exp().mean().item())
    tight = ppo_objective(problem_of(moved), scored, schedule, 1e-9, PENALTY)
    assert tight.clip_fraction.item() == 1


def test_divergence_is_that_of_the_decisions_and_pulls_back():
    schedule, _, _, episode = played()
    scored = judge(episode, schedule, torch.zeros(4, dtype=torch.float64))
    theta = (THETA * 1.1).requires_grad_()
    penalty = Penalty(beta=2.0, divergence="kl", reduction="joint")
    found = ppo_objective(problem_of(theta), scored, schedule, 1e-4, penalty)
    torch.testing.assert_close(found.loss.detach(), 2 * found.divergences.sum(0).mean())
    torch.testing.assert_close(found.kl_nats, found.divergences.sum(0).mean())
    found.loss.backward()
    assert (theta.grad > 0).all()  # descent brings theta back down to the reference


def test_advantages_are_those_of_a_plain_loop():
    statistics, history = PromptStatistics(window=4, min_count=3), {}
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        prompts = ["a", "b", "a", "c"]
        rewards = 3 * torch.randn(4, generator=generator) + 5
        found = statistics.advantages(prompts, rewards, limit=1.2)
        for prompt, reward in zip(prompts, rewards.tolist(), strict=True):
            history.setdefault(prompt, []).append(reward)
        for index, prompt in enumerate(prompts):
            usual = history[prompt][-4:]
            if len(usual) < 3:
                usual = rewards.tolist()
            mean = sum(usual) / len(usual)
            spread = math.sqrt(sum((value - mean) ** 2 for value in usual) / len(usual))
            advantage = (rewards[index].item() - mean) / (spread + 1e-6)
            assert found[index].item() == pytest.approx(max(-1.2, min(1.2, advantage)), abs=1e-5)


def test_equal_rewards_give_no_advantage_and_advantages_carry_no_gradient():
    rewards = torch.full((4,), 7.0, requires_grad=True)
    found = PromptStatistics(8, 2).advantages(["a"] * 4, rewards, 10.0)
    assert found.tolist() == [0.0] * 4
    assert not found.requires_grad


def test_statistics_go_on_from_their_state():
    first, second = PromptStatistics(3, 2), PromptStatistics(3, 2)
    first.advantages(["a", "a", "b"], torch.tensor([1.0, 2.0, 3.0]), 10.0)
    second.load_state_dict(first.state_dict())
    prompts, rewards = ["a", "a", "b"], torch.tensor([4.0, 5.0, 6.0])
    assert torch.equal(
        first.advantages(prompts, rewards, 10.0), second.advantages(prompts, rewards, 10.0)
    )
    assert first.state_dict() == second.state_dict() == {"a": [2.0, 4.0, 5.0], "b": [3.0, 6.0]}
