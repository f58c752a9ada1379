"""Our pictures against stock diffusers', and the reference under gradient checkpointing."""

from dataclasses import replace

import numpy
import pytest
import torch
from diffusers import LatentConsistencyModelPipeline
from PIL import Image

from rocm.algorithms.divergences import Penalty
from rocm.algorithms.problem import Problem
from rocm.algorithms.rocm import rocm_objective
from rocm.algorithms.schedule import lcm_schedule
from rocm.algorithms.trajectory import batch_noise, gradient_path
from rocm.generation.draw import Sampling, draw
from rocm.models.consistency import load_model
from rocm.models.lora import save_adapter
from rocm.rewards.preprocess import to_pil
from rocm.storage.paths import ROOT
from tests.families import levels_apart, random_adapter, stock_picture

PROMPTS = ["a red apple", "?", "a very long wish " * 600]  # the last is cut


@pytest.fixture
def model(tiny_pipeline_dir):
    return load_model(str(tiny_pipeline_dir), "cpu")


@pytest.fixture
def stock(tiny_pipeline_dir):
    return LatentConsistencyModelPipeline.from_pretrained(tiny_pipeline_dir)


def our_pictures(model, prompts, seeds, **settings):
    batches = draw(model, prompts, seeds, Sampling(**settings))
    return [to_pil(image) for batch in batches for image in batch]


@pytest.mark.parametrize(
    ("num", "guidance_scale", "seed"), [(1, 8.5, 0), (2, 1.0, 1), (4, 8.5, 2), (8, 3.0, 2**40)]
)
def test_picture_is_that_of_the_stock_pipeline(stock, model, num, guidance_scale, seed):
    settings = {"num_inference_steps": num, "guidance_scale": guidance_scale}
    (ours,) = our_pictures(model, PROMPTS[:1], [seed], **settings)
    theirs = stock_picture(stock, guidance_scale, PROMPTS[0], seed, num)
    assert levels_apart(ours, theirs) <= 1
    assert numpy.asarray(ours).std() > 20


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_pictures_of_a_batch_are_those_of_the_stock_pipeline_one_by_one(stock, model, batch_size):
    seeds = [4, 5, 6]
    ours = our_pictures(model, PROMPTS, seeds, num_inference_steps=4, batch_size=batch_size)
    for picture, prompt, seed in zip(ours, PROMPTS, seeds, strict=True):
        assert levels_apart(picture, stock_picture(stock, 8.5, prompt, seed)) <= 1


def test_pictures_with_an_adapter_are_those_of_the_stock_pipeline(stock, model, tmp_path):
    (before,) = our_pictures(model, PROMPTS[:1], [7])
    random_adapter(model.pipeline.unet)
    save_adapter(model.pipeline.unet, tmp_path)
    stock.load_lora_weights(str(tmp_path))
    ours = our_pictures(model, PROMPTS, [7, 8, 9], batch_size=3)
    for picture, prompt, seed in zip(ours, PROMPTS, [7, 8, 9], strict=True):
        assert levels_apart(picture, stock_picture(stock, 8.5, prompt, seed)) <= 1
    assert levels_apart(ours[0], before) > 20


@pytest.mark.parametrize("is_embedded", [False, True])
def test_the_script_of_the_docs_draws_our_picture(tiny_pipeline_dir, tmp_path, is_embedded):
    folder = ROOT / "assets/tiny-lcm" if is_embedded else tiny_pipeline_dir
    page = (ROOT / "docs" / "math.md").read_text()
    script = page.split("```python\n")[1].split("```")[0]
    script = script.replace("assets/tiny-lcm", str(folder))
    exec(script.replace("apple.png", str(tmp_path / "theirs.png")))
    prompt = "a glossy emoji of a red apple"
    (ours,) = our_pictures(load_model(str(folder), "cpu"), [prompt], [0])
    assert prompt in script
    assert levels_apart(ours, Image.open(tmp_path / "theirs.png")) <= 1


def test_gradient_in_bfloat16_points_the_same_way(tiny_pipeline_dir):
    exact, rough = (
        gradient_of(load_model(str(tiny_pipeline_dir), "cpu", precision))
        for precision in ("fp32", "bf16")
    )
    flat = [torch.cat([part.flatten() for part in parts]) for parts in (exact, rough)]
    assert flat[1].dtype == torch.float32
    assert torch.cosine_similarity(*flat, dim=0) > 0.95


@pytest.mark.parametrize(("precision", "is_autocast"), [("bf16", False), ("fp16", True)])
def test_only_float16_is_autocast_and_has_its_decoder_in_float32(
    tiny_pipeline_dir, precision, is_autocast
):
    model, seen = load_model(str(tiny_pipeline_dir), "cpu", precision), []
    model.pipeline.unet.conv_norm_out.register_forward_hook(
        lambda *passed: seen.append((torch.is_autocast_enabled("cpu"), passed[2].dtype))
    )
    network = model.policy(model.encode(PROMPTS[:1]), 8.5)
    output = network(torch.ones(1, 4, 8, 8), torch.tensor([999]))
    assert output.dtype == torch.float32
    assert seen[0][0] is is_autocast
    if precision == "bf16":
        assert seen[0][1] == torch.bfloat16
    decoder = model.pipeline.vae.dtype
    assert decoder == {"bf16": torch.bfloat16, "fp16": torch.float32}[precision]


def test_networks_see_guidance_and_repeat_their_context_for_each_step(model):
    state = torch.randn(2, 4, 8, 8)
    context = model.encode(PROMPTS[:2])
    network = model.policy(context, 8.5)
    both = network(torch.cat([state, state]), torch.tensor([999, 999, 259, 259]))
    torch.testing.assert_close(both[:2], network(state, torch.tensor([999, 999])))
    torch.testing.assert_close(both[2:], network(state, torch.tensor([259, 259])))
    weaker = model.policy(context, 2.0)(state, torch.tensor([999, 999]))
    assert (weaker - both[:2]).abs().max() > 1e-3


def objective_of(model, ref_grad="exact", num=3):
    context = model.encode(PROMPTS[:2])
    problem = Problem(
        policy=model.policy(context, 8.5),
        reference=model.reference(context, 8.5),
        prediction_type=model.prediction_type,
        decode=model.decode,
        reward=lambda images: (images - 0.2).square().flatten(1).mean(1),
    )
    noise = batch_noise([1, 2], num, model.latent_shape)
    path, penalty = gradient_path("full", num, 1), Penalty(beta=0.5, ref_grad=ref_grad)
    return rocm_objective(problem, noise, model.schedule(num), path, penalty)


def gradient_of(model, ref_grad="exact"):
    parameters = random_adapter(model.pipeline.unet)
    objective_of(model, ref_grad).loss.backward()
    return [parameter.grad for parameter in parameters]


@pytest.mark.parametrize("ref_grad", ["exact", "detach", "none"])
def test_gradient_with_checkpointing_is_that_without(tiny_pipeline_dir, ref_grad):
    models = [load_model(str(tiny_pipeline_dir), "cpu") for _ in range(2)]
    models[1] = replace(models[1], use_checkpointing=True)
    plain, checkpointed = (gradient_of(model, ref_grad) for model in models)
    for kept, recomputed in zip(plain, checkpointed, strict=True):
        # Sums in another order: the reference's steps are recomputed one at a time.
        assert (recomputed - kept).norm() < 1e-4 * kept.norm()


def test_recomputed_reference_has_its_adapter_off_and_recomputed_policy_on(model):
    model = replace(model, use_checkpointing=True)
    random_adapter(model.pipeline.unet)
    unet, calls = model.pipeline.unet, []
    layer = unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q
    layer.register_forward_pre_hook(
        lambda module, inputs: calls.append((len(inputs[0]), module.disable_adapters))
    )
    loss = objective_of(model, num=3).loss
    assert calls == [(2, False)] * 3 + [(2, True)] * 3
    loss.backward()
    assert sorted(calls[6:]) == sorted([(2, False)] * 3 + [(2, True)] * 2)  # not at the noise


def test_schedule_is_the_one_of_the_models_own_scheduler(model):
    scheduler = model.pipeline.scheduler
    for num in (1, 4, 8, 16):
        scheduler.set_timesteps(num)
        alphas_cumprod = scheduler.alphas_cumprod.double().tolist()
        assert model.schedule(num) == lcm_schedule(alphas_cumprod, scheduler.timesteps.tolist())
    scheduler.register_to_config(original_inference_steps=100)
    scheduler.set_timesteps(8)
    assert [step.timestep for step in model.schedule(8)] == scheduler.timesteps.tolist()
    assert [step.timestep for step in model.schedule(8, "rlcm")] != scheduler.timesteps.tolist()
