"""The timestep grid and the coefficients, against written-out values and diffusers' scheduler."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers import LCMScheduler

from rocm.algorithms.schedule import lcm_schedule, timestep_grid

STEP_COUNTS = [*range(1, 9), 16]
CURRENT = {
    1: [999],
    2: [999, 499],
    3: [999, 679, 339],
    4: [999, 759, 499, 259],
    5: [999, 799, 599, 399, 199],
    6: [999, 839, 679, 499, 339, 179],
    7: [999, 859, 719, 579, 439, 299, 159],
    8: [999, 879, 759, 639, 499, 379, 259, 139],
}
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
# Of the 8-step chain: s, sqrt(ab_s), sigma_s, ab_s / (1 - ab_s), ab_s / (1 - ab_s)^2, 4 digits.
TRANSITIONS = [
    (879, 0.1324, 0.9912, 0.0178, 0.0182),
    (759, 0.2285, 0.9735, 0.0551, 0.0581),
    (639, 0.3548, 0.9349, 0.1440, 0.1648),
    (499, 0.5269, 0.8499, 0.3844, 0.5322),
    (379, 0.6771, 0.7359, 0.8468, 1.564),
    (259, 0.8118, 0.5840, 1.932, 5.667),
    (139, 0.9182, 0.3961, 5.375, 34.27),
]


@pytest.fixture(scope="module")
def scheduler():
    return LCMScheduler(original_inference_steps=50)


def schedule_of(scheduler, num, grid="current"):
    return lcm_schedule(scheduler.alphas_cumprod.double().tolist(), timestep_grid(num, grid))


@pytest.mark.parametrize(("grid", "expected"), [("current", CURRENT), ("rlcm", RLCM)])
def test_grids_are_the_written_out_ones(grid, expected):
    assert {num: timestep_grid(num, grid) for num in expected} == expected


def test_sixteen_steps_end_at_79_today_and_at_99_in_rlcm():
    assert timestep_grid(16)[-1] == 79
    assert timestep_grid(16, "rlcm")[-1] == 99


@pytest.mark.parametrize("num", range(1, 51))
def test_current_grid_is_that_of_diffusers(scheduler, num):
    scheduler.set_timesteps(num)
    assert timestep_grid(num) == scheduler.timesteps.tolist()


def test_grid_follows_the_length_that_the_model_was_distilled_on():
    scheduler = LCMScheduler(original_inference_steps=100, num_train_timesteps=500)
    scheduler.set_timesteps(8)
    grid = timestep_grid(8, original_inference_steps=100, num_train_timesteps=500)
    assert grid == scheduler.timesteps.tolist()


@pytest.mark.parametrize("num", STEP_COUNTS)
def test_boundary_scalings_are_those_of_diffusers(scheduler, num):
    for step in schedule_of(scheduler, num):
        c_skip, c_out = scheduler.get_scalings_for_boundary_condition_discrete(step.timestep)
        assert (step.c_skip, step.c_out) == pytest.approx((c_skip, c_out), rel=1e-12)


def test_boundary_scalings_make_the_consistency_function_nearly_the_clean_estimate(scheduler):
    for num in STEP_COUNTS:
        for step in schedule_of(scheduler, num):
            assert step.c_skip < 4.1e-7
            assert 1 - 4.1e-7 / 2 < step.c_out < 1


def test_boundary_condition_at_time_zero_returns_the_state():
    (step,) = lcm_schedule([0.9], [0])
    assert (step.c_skip, step.c_out) == (1, 0)


def test_transitions_of_eight_steps_are_the_tabulated_ones(scheduler):
    steps = schedule_of(scheduler, 8)
    for (step, following), row in zip(pairwise(steps), TRANSITIONS, strict=True):
        signal = step.alpha_next**2
        noise = step.sigma_next**2
        computed = (step.alpha_next, step.sigma_next, signal / noise, signal / noise**2)
        assert following.timestep == row[0]
        assert computed == pytest.approx(row[1:], rel=5e-3, abs=6e-5)


@pytest.mark.parametrize("grid", ["current", "rlcm"])
@pytest.mark.parametrize("num", STEP_COUNTS)
def test_each_step_ends_at_the_noise_level_where_the_next_begins(scheduler, num, grid):
    steps = schedule_of(scheduler, num, grid)
    for step, following in pairwise(steps):
        assert (step.alpha_next, step.sigma_next) == (following.alpha, following.sigma)
    assert (steps[-1].alpha_next, steps[-1].sigma_next) == (1, 0)


def test_noise_levels_are_those_of_the_variance_preserving_chain(scheduler):
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    for step in schedule_of(scheduler, 8):
        kept = math.prod((1 - betas[: step.timestep + 1]).tolist())
        assert step.alpha**2 == pytest.approx(kept, rel=1e-4)
        assert step.alpha**2 + step.sigma**2 == pytest.approx(1, abs=1e-12)
