"""The losses of RLCM, D3PO and DPOK against plain loops and derivatives taken by hand.

The toy is that of `linear_toy`. At policy == reference == the policy that drew, the gradient of
each objective is a sum of known weights times the derivatives of the log-densities.
"""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from rocm.algorithms.d3po import PairRule, d3po_objective, preference_loss, preferences
from rocm.algorithms.divergences import Penalty
from rocm.algorithms.dpok import Value, clamped_loss, dpok_objective
from rocm.algorithms.mdp import log_prob
from rocm.algorithms.rlcm import clipped_loss, ppo_objective, rebel_objective, regression_loss
from rocm.algorithms.trajectory import rollout
from tests.algorithms.linear_toy import THETA, by_hand, judge, log_probs_of, played, problem_of

PENALTY = Penalty(beta=0.0)
ADVANTAGES = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
OF_DECISIONS = torch.tensor(
    [[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, -1.0, 2.0], [2.0, 2.0, -3.0, 0.1]], dtype=torch.float64
)
PREFERRED = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)
WIDE = PairRule(temperature=2.0, clip_range=0.999)


@dataclass(frozen=True)
class First:
    """An objective's first loss, and the weights (K, B) of its gradient by the log-densities."""

    objective: Any
    rule: Any
    advantages: torch.Tensor
    loss: float
    weights: torch.Tensor
    last_step: str = "smooth"


PAIRS = torch.tensor([3.0, -3.0, -2.5, 2.5], dtype=torch.float64)  # A - A' within each pair
MEAN = -ADVANTAGES.mean().item()
FIRST = {
    "ppo": First(ppo_objective, 1e-9, ADVANTAGES, MEAN, -ADVANTAGES.expand(3, 4) / 12),
    "ppo-skip": First(ppo_objective, 1e-9, ADVANTAGES, MEAN, -ADVANTAGES.expand(2, 4) / 8, "skip"),
    # d/da of a pair's square is -2 eta (A - A') times the sum over its decisions of s - s'.
    "rebel": First(
        rebel_objective, 0.5, ADVANTAGES, (3**2 + 2.5**2) / 2, -2 * 0.5 / 2 * PAIRS.expand(3, 4)
    ),
    # d/da of a pair's loss is -(tau / 2) h (s - s').
    "d3po": First(
        d3po_objective, PairRule(2.0, 1e-12), PREFERRED, math.log(2), -PREFERRED.expand(3, 4) / 6
    ),
    "dpok": First(
        dpok_objective, 1e-12, OF_DECISIONS, -OF_DECISIONS.mean().item(), -OF_DECISIONS / 12
    ),
}


@pytest.mark.parametrize("name", FIRST)
def test_first_loss_and_gradient_are_those_by_hand(name):
    first = FIRST[name]
    schedule, gaussians, _, episode = played(3, first.last_step)
    theta = THETA.clone().requires_grad_()
    scored = judge(episode, schedule, first.advantages)
    penalty = Penalty(beta=0.0, last_step=first.last_step)
    found = first.objective(problem_of(theta), scored, schedule, first.rule, penalty)
    found.loss.backward()
    assert theta.grad.tolist() == by_hand(schedule, gaussians, episode, first.weights)
    assert found.loss.item() == pytest.approx(first.loss, abs=1e-15)  # ratios are exactly one
    assert found.divergences.abs().max().item() == 0
    assert found.clip_fraction is None if name == "rebel" else found.clip_fraction.item() == 0


@pytest.mark.parametrize("name", ["ppo", "rebel", "d3po", "dpok"])
def test_divergence_is_that_of_the_decisions_and_pulls_back(name):
    first = FIRST[name]
    schedule, _, _, episode = played()
    scored = judge(episode, schedule, torch.zeros_like(first.advantages))
    theta = (THETA * 1.1).requires_grad_()
    penalty = Penalty(beta=2.0, divergence="kl", reduction="joint")
    found = first.objective(problem_of(theta), scored, schedule, first.rule, penalty)
    torch.testing.assert_close(found.loss.detach(), 2 * found.divergences.sum(0).mean())
    torch.testing.assert_close(found.kl_nats, found.divergences.sum(0).mean())
    found.loss.backward()
    assert (theta.grad > 0).all()  # descent brings theta back down to the reference


@pytest.mark.parametrize("name", ["ppo", "d3po"])
def test_a_step_down_the_loss_makes_the_better_pictures_likelier(name):
    schedule, gaussians, _, episode = played(batch=2)
    theta = THETA.clone().requires_grad_()
    scored = judge(episode, schedule, torch.tensor([-1.0, 1.0], dtype=torch.float64))
    first = FIRST[name]
    first.objective(problem_of(theta), scored, schedule, first.rule, PENALTY).loss.backward()
    before, after = (
        log_probs_of(moved, episode, schedule, gaussians).sum(0)
        for moved in (THETA, THETA - 1e-3 * theta.grad)
    )
    assert (after - before)[1] > (after - before)[0]


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


@pytest.mark.parametrize("name", ["ppo", "dpok"])
@pytest.mark.parametrize("advantage", [2.0, -2.0])
@pytest.mark.parametrize("ratio", [0.5, 0.95, 1.05, 2.0])
def test_clipped_losses_are_written_out_and_stop_where_clipped(name, advantage, ratio):
    leaf = torch.tensor([[ratio]], dtype=torch.float64, requires_grad=True)
    function = {"ppo": clipped_loss, "dpok": clamped_loss}[name]
    loss = function(leaf, torch.tensor([advantage], dtype=torch.float64), 0.1)
    loss.backward()
    held = min(max(ratio, 0.9), 1.1)
    expected, is_stopped = -advantage * held, ratio != held
    if name == "ppo":  # the pessimistic of the two
        expected = max(-advantage * ratio, expected)
        is_stopped = (advantage > 0 and ratio > 1.1) or (advantage < 0 and ratio < 0.9)
    assert loss.item() == pytest.approx(expected)
    assert leaf.grad.item() == pytest.approx(0.0 if is_stopped else -advantage)


@pytest.mark.parametrize("function", [clipped_loss, clamped_loss])
@pytest.mark.parametrize("advantages", [ADVANTAGES, OF_DECISIONS])
def test_clipped_losses_are_means_over_decisions_and_pictures(function, advantages):
    ratio = 1 + torch.arange(12, dtype=torch.float64).view(3, 4) / 100
    own = advantages.expand(3, 4)
    terms = [-own[n, b] * ratio[n, b] for n in range(3) for b in range(4)]
    assert function(ratio, advantages, 1.0).item() == pytest.approx(sum(terms).item() / 12)


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


def test_rebels_loss_is_the_written_out_square_of_each_pair():
    log_ratio = torch.tensor([0.3, -0.1, 0.2, 0.7], dtype=torch.float64)
    pairs = [(0.5 * 0.4 - 3.0) ** 2, (0.5 * -0.5 + 2.5) ** 2]
    assert regression_loss(log_ratio, ADVANTAGES, 0.5).item() == pytest.approx(sum(pairs) / 2)


def test_rebels_log_ratios_are_to_the_drawing_policy_and_summed():
    schedule, gaussians, _, episode = played()
    moved = THETA * 1.1
    old, now = (log_probs_of(theta, episode, schedule, gaussians) for theta in (THETA, moved))
    total = (now - old).sum(0)
    expected = ((2 * (total[0] - total[1]) - 3) ** 2 + (2 * (total[2] - total[3]) + 2.5) ** 2) / 2
    scored = judge(episode, schedule, ADVANTAGES, old)
    found = rebel_objective(problem_of(moved), scored, schedule, 2.0, PENALTY)
    assert found.loss.item() == pytest.approx(expected.item())


def test_the_better_picture_is_preferred_and_a_tie_prefers_none():
    values = torch.tensor([1.0, 2.0, 5.0, -5.0, 3.0, 3.0], requires_grad=True)
    found = preferences(values)
    assert found.tolist() == [-1, 1, 1, -1, 0, 0]
    assert not found.requires_grad


def test_d3pos_loss_is_the_written_out_one():
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
def test_a_ratio_outside_d3pos_clip_range_sends_no_gradient(ratio):
    leaf = torch.tensor([[ratio, 1.0]], dtype=torch.float64, requires_grad=True)
    preference_loss(leaf, torch.tensor([1.0, -1.0]).double(), PairRule(2.0, 0.1)).backward()
    assert leaf.grad[0, 0].item() == 0
    assert leaf.grad[0, 1].item() > 0


def test_d3pos_ratio_is_to_the_reference_not_the_drawing_policy():
    schedule, gaussians, _, episode = played()
    moved = THETA * 1.05
    before, now = (log_probs_of(theta, episode, schedule, gaussians) for theta in (THETA, moved))
    # With the mover's own densities as the old ones: a ratio to them would be 1 and the loss log 2.
    scored = judge(episode, schedule, PREFERRED, now)
    found = d3po_objective(problem_of(moved), scored, schedule, WIDE, PENALTY)
    expected = preference_loss((now - before).exp(), PREFERRED, WIDE)
    assert found.loss.item() == pytest.approx(expected.item())
    assert abs(found.loss.item() - math.log(2)) > 1e-4


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


def test_value_sees_state_timestep_and_prompt():
    torch.manual_seed(0)
    value = Value(2, 3)
    torch.nn.init.normal_(value.layers[2].weight)
    state, context = torch.randn(1, 2, 8, 8), torch.randn(1, 5, 3)
    before = value([state], [999], context)
    for after in (
        value([state + 1], [999], context),
        value([state], [499], context),
        value([state], [999], context + 1),
    ):
        assert (after - before).abs().item() > 1e-3
