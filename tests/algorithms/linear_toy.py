"""A policy whose gradients are known by hand, and an episode that it played.

The network is linear and predicts the sample: f = a x with a = theta[0] at the first step and
theta[1] at later ones.
"""

from itertools import product

import pytest
import torch
from diffusers import LCMScheduler

from rocm.algorithms.mdp import decisions, log_probs, play
from rocm.algorithms.policy_gradient import ScoredEpisode
from rocm.algorithms.problem import Problem
from rocm.algorithms.schedule import lcm_schedule, timestep_grid
from rocm.algorithms.trajectory import denoised_along

THETA = torch.tensor([0.9, 0.7], dtype=torch.float64)


def schedule_of(num, grid="current"):
    alphas_cumprod = LCMScheduler().alphas_cumprod.double().tolist()
    return lcm_schedule(alphas_cumprod, timestep_grid(num, grid))


def linear_terms(step, prediction_type):
    """p and q of f = p * state + q * output."""
    state, output = {
        "epsilon": (1 / step.alpha, -step.sigma / step.alpha),
        "v_prediction": (step.alpha, -step.sigma),
        "sample": (0.0, 1.0),
    }[prediction_type]
    return step.c_out * state + step.c_skip, step.c_out * output


def draw_noise(num, batch=4, shape=(2, 2, 2), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((num + 1, batch, *shape), dtype=torch.float64, generator=generator)


def linear(theta):
    def network(state, timesteps):
        factor = torch.where(timesteps == 999, theta[0], theta[1])
        return factor[:, None, None, None] * state

    return network


def problem_of(theta, reference=THETA):
    return Problem(
        policy=linear(theta),
        reference=linear(reference),
        prediction_type="sample",
        decode=lambda latents: latents,
        reward=lambda images: images.flatten(1).sum(1),
    )


def played(num=3, last_step="smooth", batch=4, shape=(2, 2, 2)):
    schedule = schedule_of(num)
    gaussians = decisions(schedule, last_step, 0.1)
    noise = draw_noise(num, batch, shape)
    episode = play(linear(THETA), noise, schedule, "sample", gaussians)
    return schedule, gaussians, noise, episode


def judge(episode, schedule, advantages, old=None):
    steps = schedule[: len(episode.states)]
    reference = denoised_along(linear(THETA), episode.states, steps, "sample")
    return ScoredEpisode(episode, advantages, reference, old)


def log_probs_of(theta, episode, schedule, gaussians):
    denoised = denoised_along(linear(theta), episode.states, schedule, "sample")
    return log_probs(denoised, episode, gaussians)


def score(schedule, gaussians, episode, n, b):
    """By hand: derivative of the mean log-density of action n of picture b by its own factor."""
    (alpha, sigma), step = gaussians[n], schedule[n]
    state, action = episode.states[n][b], episode.actions[n][b]
    slope = step.c_out * state  # of f = c_out a x + c_skip x
    mean = alpha * (THETA[min(n, 1)] * slope + step.c_skip * state)
    return ((action - mean) * alpha * slope).mean().item() / sigma**2


def by_hand(schedule, gaussians, episode, weights):
    """By hand: the gradient by theta of the sum of weights [n, b] times the log-densities."""
    gradient = [0.0, 0.0]
    for n, b in product(range(len(gaussians)), range(weights.shape[1])):
        gradient[min(n, 1)] += weights[n, b].item() * score(schedule, gaussians, episode, n, b)
    return pytest.approx(gradient, rel=1e-9)
