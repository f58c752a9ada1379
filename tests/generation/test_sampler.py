"""Pictures depend on their settings alone, whatever was drawn before them or beside them."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from rocm.algorithms.trajectory import batch_noise, denoised_latent
from rocm.errors import ConfigError, MissingFile
from rocm.generation.picture import Picture
from rocm.generation.sampler import SMALL_BATCH, Sampler
from rocm.models.consistency import load_model
from rocm.models.lora import load_adapter
from tests.generation.conftest import write_adapter
from tests.training.threads import pair


@pytest.fixture(scope="module")
def sampler():
    return Sampler("cpu")


@pytest.fixture
def plain(tiny_pipeline_dir):
    return Picture("an apple", 3, num_inference_steps=2, model=str(tiny_pipeline_dir))


def drawn(sampler, *pictures):
    found = {one.index: np.asarray(one.image, int) for one in sampler.draw(pictures)}
    return [found[index] for index in range(len(pictures))]


def distance(left, right):
    return np.abs(left - right).max()


def test_neighbors_adapters_and_earlier_requests_change_nothing(sampler, plain, tiny_adapters):
    first, second = (replace(plain, adapter=str(folder)) for folder in tiny_adapters)
    alone = [drawn(Sampler("cpu"), picture)[0] for picture in (plain, first, second)]
    mixed = drawn(sampler, second, plain, first, replace(plain, seed=9), plain)
    for picture, expected in zip((1, 2, 0), alone, strict=True):
        assert distance(mixed[picture], expected) <= 1
    assert distance(mixed[4], alone[0]) <= 1
    assert min(distance(alone[0], alone[1]), distance(alone[1], alone[2])) > 10
    assert distance(drawn(sampler, plain)[0], alone[0]) <= 1


def test_strength_leads_from_the_base_to_the_adapter(sampler, plain, tiny_adapters):
    adapted = replace(plain, adapter=str(tiny_adapters[0]))
    weaker = (replace(adapted, adapter_strength=strength) for strength in (0.0, 0.5))
    none, half, whole, base = drawn(sampler, *weaker, adapted, plain)
    assert distance(none, base) <= 1
    assert distance(half, base) > 1
    assert distance(half, whole) > 1


def test_an_adapter_that_a_run_has_replaced_is_read_again(sampler, plain, tiny_adapters, tmp_path):
    folder = shutil.copytree(tiny_adapters[0], tmp_path / "adapter")
    picture = replace(plain, adapter=str(folder))
    before = drawn(sampler, picture)[0]
    for file in tiny_adapters[1].iterdir():
        shutil.copyfile(file, folder / file.name)
        os.utime(folder / file.name)
    expected = drawn(sampler, replace(plain, adapter=str(tiny_adapters[1])))[0]
    after = drawn(sampler, picture)[0]
    assert distance(after, expected) <= 1
    assert distance(after, before) > 1


def test_an_adapter_of_another_model_is_refused_and_leaves_no_trace(
    sampler, plain, tmp_path, tiny_adapters
):
    expected = drawn(sampler, plain)[0]
    misfit = write_adapter("assets/tiny-lcm", tmp_path / "misfit")
    with pytest.raises(ConfigError, match="does not fit this model"):
        drawn(sampler, replace(plain, adapter=str(misfit)))
    with pytest.raises(MissingFile, match="No adapter at"):
        drawn(sampler, replace(plain, adapter=str(tmp_path / "none")))
    assert distance(drawn(sampler, plain)[0], expected) <= 1
    drawn(sampler, replace(plain, adapter=str(tiny_adapters[0])))


def test_two_processes_draw_the_pictures_of_one_bit_for_bit_and_half_of_them_each(
    plain, tiny_adapters, monkeypatch
):
    """Threads stand for processes; of the four batches two have one picture."""
    arms = (plain, replace(plain, adapter=str(tiny_adapters[0])))
    order = [replace(arm, seed=seed) for arm in arms for seed in range(1 + SMALL_BATCH)]
    samplers, batches = (Sampler("cpu"), Sampler("cpu")), [0, 0]

    def content(sampler, pictures, *ranks):
        found = sampler.draw(pictures, ("saturation", "kl_nats"), *ranks)
        return [(one.index, one.image.tobytes(), one.scores) for one in found]

    for rank, sampler in enumerate(samplers):
        # Loading changes what a whole process shares, so it comes before the threads.
        content(sampler, order[:: 1 + SMALL_BATCH])
        alone = content(sampler, order)

        def counted(*arguments, rank=rank, real=sampler._draw_batch):
            batches[rank] += 1
            return real(*arguments)

        monkeypatch.setattr(sampler, "_draw_batch", counted)
    with ThreadPoolExecutor(2) as pool:
        shared = pool.map(lambda ranks: content(samplers[ranks.rank], order, ranks), pair())
        assert list(shared) == [alone, alone]
    assert batches == [2, 2]


def test_the_divergence_of_a_picture_is_the_kl_at_its_own_states(sampler, plain, tiny_adapters):
    adapted = replace(plain, adapter=str(tiny_adapters[0]))
    nothing = replace(adapted, adapter_strength=0.0)
    pictures = [adapted, replace(adapted, seed=4), nothing, plain]
    found = {one.index: one for one in sampler.draw(pictures, ["kl_nats", "color_entropy"])}
    expected = [kl_by_hand(tiny_adapters[0], one) for one in pictures[:2]]
    assert [found[k].scores["kl_nats"] for k in range(2)] == pytest.approx(expected, rel=1e-3)
    assert min(expected) > 0.1
    assert found[2].scores["kl_nats"] == pytest.approx(0, abs=1e-4)
    assert found[3].scores["kl_nats"] == 0
    assert all(0 < one.scores["color_entropy"] <= 9 for one in found.values())
    assert distance(np.asarray(found[0].image, int), drawn(sampler, adapted)[0]) <= 1


@torch.no_grad()
def kl_by_hand(adapter, picture):
    """Of two Gaussians with one sigma at every step of the policy's chain, summed."""
    model = load_model(picture.model, "cpu")
    load_adapter(model.pipeline, adapter)
    schedule = model.schedule(picture.num_inference_steps)
    noise = batch_noise([picture.seed], picture.num_inference_steps, model.latent_shape)
    context = model.encode([picture.prompt])
    policy = model.policy(context, picture.guidance_scale)
    reference = model.reference(context, picture.guidance_scale)
    state, total = noise[0], 0.0
    for n, step in enumerate(schedule):
        time = torch.tensor([step.timestep])
        mine, other = (
            denoised_latent(network(state, time), state, step, model.prediction_type)
            for network in (policy, reference)
        )
        is_last = n + 1 == len(schedule)
        alpha, sigma = (step.alpha, step.sigma) if is_last else (step.alpha_next, step.sigma_next)
        total += (alpha * (mine - other)).square().sum().item() / (2 * sigma**2)
        state = mine if is_last else step.alpha_next * mine + step.sigma_next * noise[n + 1]
    return total
