"""Per-prompt advantages against a plain loop over the rewards' history."""

import math

import pytest
import torch

from rocm.algorithms.advantages import PromptStatistics


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
