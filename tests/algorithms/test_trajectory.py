"""The chain against diffusers' scheduler and pipeline; where its gradient goes."""

from itertools import pairwise

import pytest
import torch
from diffusers import LCMScheduler

from rocm.algorithms.schedule import timestep_grid
from rocm.algorithms.trajectory import (
    batch_noise,
    clean_estimate,
    denoised_along,
    denoised_latent,
    gradient_path,
    picture_noise,
    rollout,
)
from tests.algorithms.linear_toy import linear_terms, schedule_of

STEP_COUNTS = [*range(1, 9), 16]
PREDICTION_TYPES = ["epsilon", "v_prediction", "sample"]
SHAPE = (4, 8, 8)


def fake_network(state, timesteps):
    """Mixes neighbors and depends on the timestep; as large as a real output."""
    shift = torch.sin(timesteps.to(state.dtype) / 100)[:, None, None, None]
    return torch.tanh(0.3 * state + 0.5 * state.roll(1, -1) - 0.2 * state.flip(1) + shift)


def diffusers_chain(seed, num, grid, prediction_type):
    """The clean latent of one picture as the stock pipeline's loop computes it."""
    scheduler = LCMScheduler(original_inference_steps=50, prediction_type=prediction_type)
    if grid == "current":
        scheduler.set_timesteps(num)
    else:
        scheduler.set_timesteps(timesteps=timestep_grid(num, grid))
    generator = torch.Generator().manual_seed(seed)
    state = torch.randn((1, *SHAPE), generator=generator)
    for timestep in scheduler.timesteps:
        output = fake_network(state, timestep[None])
        state, denoised = scheduler.step(
            output, timestep, state, generator=generator, return_dict=False
        )
    torch.testing.assert_close(state, denoised, rtol=0, atol=0)
    return denoised[0]


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize(("num", "grid"), [*((n, "current") for n in STEP_COUNTS), (8, "rlcm")])
def test_rollout_equals_the_scheduler_of_diffusers_on_the_same_noise(num, grid, prediction_type):
    seeds = [3, 11]
    noise = batch_noise(seeds, num, SHAPE)
    ours = rollout(fake_network, noise, schedule_of(num, grid), prediction_type).latents
    theirs = torch.stack([diffusers_chain(seed, num, grid, prediction_type) for seed in seeds])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_noise_of_a_picture_does_not_depend_on_its_neighbors_or_the_number_of_steps():
    state = torch.get_rng_state()
    alone = picture_noise(6, 4, SHAPE)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(batch_noise([6], 4, SHAPE)[:, 0], alone)
    assert torch.equal(batch_noise([5, 6, 7], 4, SHAPE)[:, 1], alone)
    assert torch.equal(picture_noise(6, 8, SHAPE)[:4], alone)
    assert not torch.equal(picture_noise(7, 4, SHAPE), alone)


@pytest.mark.parametrize("num", STEP_COUNTS)
def test_last_step_adds_no_noise(num):
    schedule = schedule_of(num)
    trajectory = rollout(fake_network, batch_noise([0, 1], num, SHAPE), schedule, "epsilon")
    state = trajectory.states[-1]
    output = fake_network(state, torch.full((2,), schedule[-1].timestep))
    expected = denoised_latent(output, state, schedule[-1], "epsilon")
    torch.testing.assert_close(trajectory.latents, expected, rtol=0, atol=0)
    torch.testing.assert_close(trajectory.latents, trajectory.denoised[-1], rtol=0, atol=0)


def test_clean_estimate_inverts_the_diffusion():
    step = schedule_of(4)[2]
    clean, noise = torch.randn(2, 2, *SHAPE, dtype=torch.float64)
    state = step.alpha * clean + step.sigma * noise
    outputs = noise, step.alpha * noise - step.sigma * clean, clean
    for prediction_type, output in zip(PREDICTION_TYPES, outputs, strict=True):
        estimate = clean_estimate(output, state, step, prediction_type)
        torch.testing.assert_close(estimate, clean)


def test_trained_steps_of_each_gradient_path():
    def trained(backprop, num, num_trained):
        path = gradient_path(backprop, num, num_trained)
        assert len(path.trained) == num
        assert path.detach_input == (backprop == "drtune")
        return [n for n in range(num) if path.trained[n]]

    assert trained("full", 4, 1) == [0, 1, 2, 3]
    assert trained("last_k", 8, 1) == trained("random_k", 8, 1) == [7]
    assert trained("last_k", 8, 3) == trained("random_k", 8, 3) == [5, 6, 7]
    assert trained("last_k", 4, 4) == trained("drtune", 4, 4) == [0, 1, 2, 3]
    assert trained("drtune", 8, 2) == [3, 7]
    assert trained("drtune", 8, 4) == [1, 3, 5, 7]


@pytest.mark.parametrize("num", STEP_COUNTS)
def test_drtune_trains_as_many_evenly_spaced_steps_as_asked(num):
    for num_trained in range(1, num + 1):
        path = gradient_path("drtune", num, num_trained)
        chosen = [n for n in range(num) if path.trained[n]]
        gaps = [later - earlier for earlier, later in pairwise(chosen)]
        assert len(chosen) == num_trained
        assert chosen[-1] == num - 1
        assert not gaps or max(gaps) - min(gaps) <= 1


class LinearPolicy(torch.nn.Module):
    """output = weight_n * state, one weight per step."""

    def __init__(self, schedule):
        super().__init__()
        self.timesteps = [step.timestep for step in schedule]
        weights = torch.linspace(0.2, 0.9, len(schedule), dtype=torch.float64)
        self.weights = torch.nn.Parameter(weights)

    def forward(self, state, timesteps):
        chosen = [self.timesteps.index(t) for t in timesteps.tolist()]
        return self.weights[chosen][:, None, None, None] * state


@pytest.mark.parametrize("backprop", ["full", "last_k", "drtune"])
def test_values_do_not_depend_on_the_gradient_path_or_mode(backprop):
    schedule = schedule_of(5)
    policy = LinearPolicy(schedule)
    noise = torch.randn(5, 2, 1, 2, 2, dtype=torch.float64, generator=torch.Generator())
    plain = rollout(policy, noise, schedule, "epsilon")
    other = rollout(policy, noise, schedule, "epsilon", gradient_path(backprop, 5, 2))
    with torch.no_grad():
        without = rollout(policy, noise, schedule, "epsilon", gradient_path(backprop, 5, 2))
    assert torch.equal(plain.latents, other.latents)
    assert torch.equal(plain.latents, without.latents)
    assert other.latents.requires_grad
    assert not any(tensor.requires_grad for tensor in (*without.states, *without.denoised))


def test_last_k_keeps_no_graph_before_its_steps():
    schedule = schedule_of(4)
    noise = torch.randn(4, 1, 1, 2, 2, dtype=torch.float64, generator=torch.Generator())
    path = gradient_path("last_k", 4, 2)
    trajectory = rollout(LinearPolicy(schedule), noise, schedule, "epsilon", path)
    assert [state.requires_grad for state in trajectory.states] == [False, False, False, True]
    assert [f.requires_grad for f in trajectory.denoised] == [False, False, True, True]


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_one_batched_call_equals_a_call_per_step(prediction_type):
    schedule = schedule_of(4)
    states = torch.randn(4, 2, *SHAPE, dtype=torch.float64, generator=torch.Generator())
    sizes = []

    def network(state, timesteps):
        sizes.append(len(state))
        return fake_network(state, timesteps)

    batched = denoised_along(network, list(states), schedule, prediction_type)
    assert sizes == [8]
    for f, state, step in zip(batched, states, schedule, strict=True):
        output = fake_network(state, torch.full((2,), step.timestep))
        expected = denoised_latent(output, state, step, prediction_type)
        torch.testing.assert_close(f, expected)


@pytest.mark.parametrize("detach_input", [False, True])
def test_gradient_into_known_states_passes_the_network_unless_detached(detach_input):
    schedule = schedule_of(3)
    policy = LinearPolicy(schedule)
    states = [torch.ones(1, 1, 1, 1, dtype=torch.float64, requires_grad=True) for _ in schedule]
    for f in denoised_along(policy, states, schedule, "epsilon", detach_input):
        f.sum().backward(retain_graph=True)
    for state, step, weight in zip(states, schedule, policy.weights.tolist(), strict=True):
        p, q = linear_terms(step, "epsilon")
        expected = p if detach_input else p + q * weight
        assert state.grad.item() == pytest.approx(expected, rel=1e-12)
