"""DPOK's loss and value against plain loops and derivatives taken by hand, on `linear_toy`."""

import pytest
import torch

from rocm.algorithms.divergences import Penalty
from rocm.algorithms.dpok import Value, clamped_loss, dpok_objective
from tests.algorithms.linear_toy import THETA, by_hand, judge, played, problem_of

PENALTY = Penalty(beta=0.0)
ADVANTAGES = torch.tensor(
    [[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, -1.0, 2.0], [2.0, 2.0, -3.0, 0.1]], dtype=torch.float64
)


@pytest.mark.parametrize("advantage", [2.0, -2.0])
@pytest.mark.parametrize("ratio", [0.5, 0.95, 1.05, 2.0])
def test_loss_is_the_written_out_one_and_stops_outside_the_range_on_either_side(advantage, ratio):
    leaf = torch.tensor([[ratio]], dtype=torch.float64, requires_grad=True)
    loss = clamped_loss(leaf, torch.tensor([[advantage]], dtype=torch.float64), 0.1)
    loss.backward()
    assert loss.item() == pytest.approx(-advantage * min(max(ratio, 0.9), 1.1))
    assert leaf.grad.item() == pytest.approx(-advantage if 0.9 < ratio < 1.1 else 0.0)


def test_loss_is_the_mean_over_decisions_and_pictures():
    ratio = 1 + torch.arange(12, dtype=torch.float64).view(3, 4) / 100
    terms = [-ADVANTAGES[n, b] * ratio[n, b] for n in range(3) for b in range(4)]
    assert clamped_loss(ratio, ADVANTAGES, 1.0).item() == pytest.approx(sum(terms).item() / 12)


def test_ratio_is_exactly_one_before_the_first_step():
    schedule, _, _, episode = played()
    scored = judge(episode, schedule, ADVANTAGES)
    found = dpok_objective(problem_of(THETA), scored, schedule, 1e-12, PENALTY)
    assert found.loss.item() == -ADVANTAGES.mean().item()
    assert found.clip_fraction.item() == 0


def test_first_gradient_of_a_linear_policy_is_the_hand_derivative():
    schedule, gaussians, _, episode = played()
    theta = THETA.clone().requires_grad_()
    scored = judge(episode, schedule, ADVANTAGES)
    dpok_objective(problem_of(theta), scored, schedule, 1e-4, PENALTY).loss.backward()
    assert theta.grad.tolist() == by_hand(schedule, gaussians, episode, -ADVANTAGES / 12)


def test_divergence_is_added_with_its_weight():
    schedule, _, _, episode = played()
    scored = judge(episode, schedule, torch.zeros(3, 4, dtype=torch.float64))
    found = dpok_objective(
        problem_of(THETA * 1.1), scored, schedule, 1e-4, Penalty(3.0, reduction="joint")
    )
    torch.testing.assert_close(found.loss, 3 * found.divergences.sum(0).mean())
    assert found.loss.item() > 0


def test_value_is_zero_at_first_and_learns_what_each_prompt_and_state_earns():
    torch.manual_seed(0)
    value = Value(num_channels=2, num_features=3)
    states = list(torch.randn(2, 6, 2, 8, 8))
    context = torch.randn(6, 5, 3)
    rewards = torch.arange(6.0)
    assert value(states, [999, 499], context).abs().max().item() == 0
    optimizer = torch.optim.Adam(value.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        (value(states, [999, 499], context) - rewards).square().mean().backward()
        optimizer.step()
    found = value(states, [999, 499], context)
    assert found.shape == (2, 6)
    assert (found - rewards).abs().max().item() < 0.1


@pytest.mark.parametrize("changed", ["state", "timestep", "prompt"])
def test_value_sees_state_timestep_and_prompt(changed):
    torch.manual_seed(0)
    value = Value(2, 3)
    torch.nn.init.normal_(value.layers[2].weight)
    state, context = torch.randn(1, 2, 8, 8), torch.randn(1, 5, 3)
    before = value([state], [999], context)
    after = {
        "state": lambda: value([state + 1], [999], context),
        "timestep": lambda: value([state], [499], context),
        "prompt": lambda: value([state], [999], context + 1),
    }[changed]()
    assert (after - before).abs().item() > 1e-3
