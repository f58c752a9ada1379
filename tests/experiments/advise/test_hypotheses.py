"""What base pictures suggest: Hill's index, and the reward's gradient by step."""

import numpy as np
import pytest
import torch

from rocm.algorithms.divergences import Penalty
from rocm.algorithms.trajectory import denoised_latent, next_state
from rocm.experiments.advise.hypotheses import HEAVY, NUM_PICTURES, hill, hypotheses, spent_by_step
from tests.algorithms.linear_toy import THETA, draw_noise, problem_of, schedule_of


def test_hill_finds_the_index_of_a_pareto_tail_whatever_its_scale():
    samples = np.random.default_rng(0).pareto(3.0, (2000, 640)) + 1
    inverse = np.mean([1 / hill(sample) for sample in samples])
    assert inverse == pytest.approx(1 / 3, rel=0.03)
    assert hill(-5 * samples[0]) == pytest.approx(hill(samples[0]))


def test_normal_residuals_are_called_heavy_in_one_of_twenty_samples():
    samples = np.random.default_rng(0).normal(size=(4000, NUM_PICTURES))
    share = np.mean([hill(sample) < HEAVY for sample in samples])
    assert share == pytest.approx(0.05, abs=0.01)


def test_what_steps_spend_is_that_of_finite_differences():
    num, noise, theta = 3, draw_noise(3), THETA.clone().requires_grad_()
    problem, schedule = problem_of(theta), schedule_of(num)
    spent = spent_by_step(problem, noise[:num], schedule, Penalty(beta=1.0))
    by_hand = []
    for n, step in enumerate(schedule):
        is_last = n + 1 == num
        alpha, sigma = (step.alpha, step.sigma) if is_last else (step.alpha_next, step.sigma_next)
        changes = []
        for place in range(noise[0].numel()):
            nudge = torch.zeros_like(noise[0]).flatten()
            nudge[place] = 1e-5
            nudge = nudge.view_as(noise[0])
            more, less = (reward_with(problem, noise, schedule, n, s * nudge) for s in (1, -1))
            changes.append((more - less) / 2e-5)
        by_hand.append((torch.tensor(changes) * sigma / alpha).square().sum().item())
    assert spent == pytest.approx(by_hand, rel=1e-5)


def reward_with(problem, noise, schedule, changed, nudge) -> float:
    """Sum of rewards if step `changed` lands `nudge` away."""
    state = noise[0]
    with torch.no_grad():
        for n, step in enumerate(schedule):
            output = problem.policy(state, torch.full((len(state),), step.timestep))
            denoised = denoised_latent(output, state, step, problem.prediction_type)
            denoised = denoised + nudge if n == changed else denoised
            following = noise[n + 1] if n + 1 < len(schedule) else None
            state = next_state(denoised, state, following, step)
        return problem.scored(state)[1].sum().item()


def test_a_small_model_gives_a_sentence_for_each_hypothesis(small_config):
    assert len(hypotheses(small_config(reward="saturation", judge="colorfulness"))) == 2
