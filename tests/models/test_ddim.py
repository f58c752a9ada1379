"""The DDIM sampler against diffusers' on a random-weight diffusion model, with the same noise."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler

from rocm.algorithms.mdp import decisions, log_probs, play
from rocm.algorithms.schedule import ddim_schedule
from rocm.algorithms.trajectory import batch_noise, denoised_along, rollout
from rocm.errors import ConfigError
from rocm.models.consistency import load_model
from rocm.models.ddim import load_diffusion
from rocm.training.loop import train
from tests.families import random_adapter
from tests.tiny_pipeline import BETAS, random_diffusion

PROMPTS = ["a red apple", "a whale"]


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def diffusion_dir(request, tmp_path_factory):
    """A Stable Diffusion folder with random weights and the scheduler of DDIM."""
    settings = {**BETAS, "clip_sample": False, "steps_offset": 1}
    pipeline = random_diffusion(seed=0)
    pipeline.scheduler = DDIMScheduler(**settings, prediction_type=request.param)
    folder = tmp_path_factory.mktemp("diffusion")
    pipeline.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
@pytest.mark.parametrize("num", [1, 3, 10])
def test_chain_is_that_of_diffusers_ddim_with_eta_one_and_the_same_noise(
    diffusion_dir, num, guidance_scale
):
    model = load_diffusion(str(diffusion_dir), "cpu")
    noise = batch_noise([0, 1], num, model.latent_shape)
    context = model.encode(PROMPTS)
    network = model.policy(context, guidance_scale)
    scheduler = DDIMScheduler.from_config(model.pipeline.scheduler.config, set_alpha_to_one=True)
    scheduler.set_timesteps(num)
    with torch.no_grad():
        ours = rollout(network, noise, model.schedule(num), model.prediction_type)
        state, empty = noise[0], model.encode(["", ""])
        for n, t in enumerate(scheduler.timesteps):
            torch.testing.assert_close(ours.states[n], state, rtol=1e-3, atol=1e-4)
            plain, prompted = (
                model.pipeline.unet(state, t, text, return_dict=False)[0]
                for text in (empty, context)
            )
            output = plain + guidance_scale * (prompted - plain)
            drawn = noise[n + 1] if n + 1 < num else torch.zeros_like(state)
            state = scheduler.step(output, t, state, eta=1.0, variance_noise=drawn).prev_sample
    torch.testing.assert_close(ours.latents, state, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("num", [2, 10, 50])
def test_coefficients_keep_the_diffusions_marginals(num):
    """x_s from clean data and fresh noise has level sqrt(1 - ab_s): kappa^2 sigma_t^2 + sigma^2."""
    scheduler = DDIMScheduler(beta_schedule="scaled_linear")
    scheduler.set_timesteps(num)
    alphas_cumprod = scheduler.alphas_cumprod.double().tolist()
    schedule = ddim_schedule(alphas_cumprod, scheduler.timesteps.tolist())
    for step, following in pairwise(schedule):
        assert step.alpha_next + step.carry * step.alpha == pytest.approx(following.alpha)
        level = step.carry**2 * step.sigma**2 + step.sigma_next**2
        assert level == pytest.approx(following.sigma**2)
        assert step.sigma_next > 0
    assert (schedule[-1].alpha_next, schedule[-1].sigma_next, schedule[-1].carry) == (1, 0, 0)


def test_log_density_is_that_of_the_step_that_diffusers_takes(diffusion_dir):
    model = load_diffusion(str(diffusion_dir), "cpu")
    schedule = model.schedule(4)
    noise = batch_noise([0, 1], 5, model.latent_shape)
    gaussians = decisions(schedule, "skip", 0.1)
    network = model.policy(model.encode(PROMPTS), 5.0)
    with torch.no_grad():
        episode = play(network, noise, schedule, model.prediction_type, gaussians)
        denoised = denoised_along(network, episode.states, schedule[:3], model.prediction_type)
    found = log_probs(denoised, episode, gaussians)
    # The draw itself has that density: -z^2 / 2 - log sigma - log(2 pi) / 2.
    for n, (_, sigma) in enumerate(gaussians):
        z = noise[n + 1].flatten(1)
        expected = -z.square().mean(1) / 2 - math.log(sigma) - math.log(2 * math.pi) / 2
        torch.testing.assert_close(found[n], expected, rtol=1e-3, atol=1e-3)


def test_reference_is_the_model_without_its_adapter_and_passes_count_both_prompts(diffusion_dir):
    model = load_diffusion(str(diffusion_dir), "cpu")
    context, state = model.encode(PROMPTS), torch.randn(2, *model.latent_shape)
    timesteps = torch.tensor([501, 501])
    with torch.no_grad():
        before = model.policy(context, 5.0)(state, timesteps)
    random_adapter(model.pipeline.unet)
    started = model.passes.forward
    with torch.no_grad():
        assert torch.equal(model.reference(context, 5.0)(state, timesteps), before)
        assert not torch.allclose(model.policy(context, 5.0)(state, timesteps), before)
        assert model.passes.forward - started == 8
        model.policy(context, 1.0)(state, timesteps)
    assert model.passes.forward - started == 10


def test_a_model_of_the_other_kind_is_refused(diffusion_dir, tiny_pipeline_dir):
    with pytest.raises(ConfigError, match="or set sampler=ddim"):
        load_model(str(diffusion_dir), "cpu")
    with pytest.raises(ConfigError, match="Set sampler=lcm, or give a Stable Diffusion folder"):
        load_diffusion(str(tiny_pipeline_dir), "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["rlcm", "d3po", "dpok", "rocm"])
def test_every_algorithm_trains_with_the_ddim_sampler(algorithm, diffusion_dir, new_run):
    settings = {"sampler": "ddim", "model": str(diffusion_dir), "num_inference_steps": 10}
    settings |= {"guidance_scale": 5, "num_steps": 2, "pictures_per_prompt": 2}
    run = new_run("run", algorithm=algorithm, **settings)
    rows = [progress.row for progress in train(run)]
    assert rows[-1]["grad_norm"] > 0
    assert rows[1]["kl_nats"] == pytest.approx(0, abs=1e-6)
    assert rows[2]["kl_nats"] > 0
