"""The timestep grid and the coefficients, against written-out values and diffusers' scheduler."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers import LCMScheduler

from rocm.algorithms.schedule import lcm_schedule, timestep_grid
from tests.algorithms.linear_toy import schedule_of

SCHEDULER = LCMScheduler(original_inference_steps=50)
STEP_COUNTS = [*range(1, 9), 16]
RLCM = {
    1: [999],
    2: [999, 499],
    3: [999, 679, 359],
    4: [999, 759, 519, 279],
    5: [999, 799, 599, 399, 199],
    6: [999, 839, 679, 519, 359, 199],
    7: [999, 859, 719, 579, 439, 299, 159],
    8: [999, 879, 759, 639, 519, 399, 279, 159],
}


def test_rlcms_grid_is_the_written_out_one():
    assert {num: timestep_grid(num, "rlcm") for num in RLCM} == RLCM
    assert timestep_grid(16, "rlcm")[-1] == 99


@pytest.mark.parametrize("num", range(1, 51))
def test_current_grid_is_that_of_diffusers(num):
    SCHEDULER.set_timesteps(num)
    assert timestep_grid(num) == SCHEDULER.timesteps.tolist()


def test_grid_follows_the_length_that_the_model_was_distilled_on():
    scheduler = LCMScheduler(original_inference_steps=100, num_train_timesteps=500)
    scheduler.set_timesteps(8)
    grid = timestep_grid(8, original_inference_steps=100, num_train_timesteps=500)
    assert grid == scheduler.timesteps.tolist()


@pytest.mark.parametrize("num", STEP_COUNTS)
def test_boundary_scalings_are_those_of_diffusers(num):
    for step in schedule_of(num):
        c_skip, c_out = SCHEDULER.get_scalings_for_boundary_condition_discrete(step.timestep)
        assert (step.c_skip, step.c_out) == pytest.approx((c_skip, c_out), rel=1e-12)


def test_boundary_condition_at_time_zero_returns_the_state():
    (step,) = lcm_schedule([0.9], [0])
    assert (step.c_skip, step.c_out) == (1, 0)


@pytest.mark.parametrize("grid", ["current", "rlcm"])
@pytest.mark.parametrize("num", STEP_COUNTS)
def test_each_step_ends_at_the_noise_level_where_the_next_begins(num, grid):
    steps = schedule_of(num, grid)
    for step, following in pairwise(steps):
        assert (step.alpha_next, step.sigma_next) == (following.alpha, following.sigma)
    assert (steps[-1].alpha_next, steps[-1].sigma_next) == (1, 0)


def test_noise_levels_are_those_of_the_variance_preserving_chain():
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    for step in schedule_of(8):
        kept = math.prod((1 - betas[: step.timestep + 1]).tolist())
        assert step.alpha**2 == pytest.approx(kept, rel=1e-4)
        assert step.alpha**2 + step.sigma**2 == pytest.approx(1, abs=1e-12)
