"""Other projects' updates beside ours: what is timed, and what is said when it cannot be."""

import sys
from pathlib import Path

import pytest
import torch

from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingDependency, MissingFile
from rocm.experiments.bench.random_model import SMALL
from rocm.experiments.bench.step import Work, bench_steps, make_arm
from rocm.experiments.bench.variants import FLAT, PLAIN, Variant, settings_of
from scripts.peers.load import load_peers, start_reward_alone

TRL_FILE = "trl/models/modeling_sd_base.py"
# The interface of TRL 0.23, on any sampler; it says what it was asked for.
TRL = """
from types import SimpleNamespace
import torch

def pipeline_step_with_grad(
    pipeline, prompt_embeds, negative_prompt_embeds, latents, num_inference_steps, guidance_scale,
    truncated_backprop, eta, output_type, **options,
):
    guided = guidance_scale > 1
    texts = pipeline._encode_prompt(
        None, latents.device, 1, guided, None, prompt_embeds=prompt_embeds,
        negative_prompt_embeds=negative_prompt_embeds, lora_scale=None,
    )
    assert len(texts) == len(latents) * (1 + guided)
    assert truncated_backprop == guided and num_inference_steps == (50 if guided else 2)
    pipeline.scheduler.set_timesteps(num_inference_steps)
    with torch.no_grad():
        for t in pipeline.scheduler.timesteps[-2:-1]:
            output = pipeline.unet(latents, t, encoder_hidden_states=prompt_embeds).sample
            latents = pipeline.scheduler.step(output, t, latents, eta=eta).prev_sample
    t = pipeline.scheduler.timesteps[-1]
    output = pipeline.unet(latents, t, encoder_hidden_states=prompt_embeds).sample
    if LEARNS:
        latents = pipeline.scheduler.step(output, t, latents).prev_sample
    else:
        latents = latents.clone().requires_grad_()
    images = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    shown = pipeline.image_processor.postprocess(images, output_type, [True] * len(images))
    return SimpleNamespace(images=shown)
"""
RLCM_FILES = {
    "lcm_rl_pytorch/diffusers_patch/pipeline.py": """
from diffusers import LatentConsistencyModelPipeline
""",
    "lcm_rl_pytorch/diffusers_patch/lcm_scheduler.py": """
from diffusers import LCMScheduler
""",
    "lcm_rl_pytorch/core/ppo_training_loop.py": """
import torch
import wandb

def ppo_training_loop(accelerator, cfg, training_config, pipeline, reward_fn, dataset):
    prompts = dataset.sample()
    optimizer = torch.optim.Adam(pipeline.unet.parameters(), lr=training_config.lr)
    optimizer, pipeline.unet = accelerator.prepare(optimizer, pipeline.unet)
    assert not (cfg.wandb.log or accelerator.is_local_main_process)
    images = pipeline(
        prompt=prompts, num_inference_steps=training_config.num_inference_steps,
        guidance_scale=cfg.training.guidance_scale, output_type="pt",
    ).images
    rewards = reward_fn(images, prompts)
    w = torch.tensor(cfg.training.guidance_scale - 1).repeat(len(prompts))
    guidance = pipeline.get_guidance_scale_embedding(w, embedding_dim=256)
    texts = pipeline.encode_prompt(prompts, "cpu", 1, False)[0]
    states = torch.randn(len(prompts), 4, 8, 8)
    num = training_config.gradient_accumulation_steps * training_config.num_inference_steps
    for number in range(num):
        with accelerator.accumulate(pipeline.unet):
            output = pipeline.unet(
                states, 99, encoder_hidden_states=texts, timestep_cond=guidance
            ).sample
            accelerator.backward((output.mean((1, 2, 3)) * rewards).mean())
            assert accelerator.sync_gradients == (number == num - 1)
            optimizer.step()
            optimizer.zero_grad()
    accelerator.save_state()
""",
}


def base(**settings) -> RunConfig:
    settings = {"num_inference_steps": 2, "device": "cpu"} | settings
    return RunConfig.load(settings.pop("preset", "tiny-rocm-kl"), **settings)


def package(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def trl(folder: Path, learns: bool = True) -> Path:
    return package(folder, {"trl/__init__.py": "", TRL_FILE: f"LEARNS = {learns}\n{TRL}"})


def test_trl_is_timed_in_the_same_rounds_as_our_update_without_a_reference(tmp_path):
    peers = load_peers([trl(tmp_path)], base(), own_work=True)
    rows = bench_steps(Work(base(), SMALL, 1), [PLAIN, *peers], ["none"], [2]).rows
    assert [row["variant"] for row in rows] == ["plain", "reward alone", "TRL", "TRL own"]
    plain, alone, peer, own = rows
    assert peer["x TRL"] == own["x TRL own"] == alone["x reward alone"] == 1
    # Useful FLOPs are those of the same work, which has no reference; of other work none are known.
    assert peer["TFLOP/s"] * peer["ms"] == pytest.approx(alone["TFLOP/s"] * alone["ms"])
    assert alone["TFLOP/s"] * alone["ms"] < 0.9 * plain["TFLOP/s"] * plain["ms"]
    assert own["TFLOP/s"] is None
    assert peer["gradient error"] is None


def test_our_update_without_a_reference_is_rocms_at_beta_0():
    settings = settings_of(Variant("", FLAT, ""), base(beta=0), "none", 2)
    whole, alone = (make_arm(Work(base(), SMALL, 1), settings) for _ in range(2))
    alone.change = start_reward_alone(alone.setup)
    for arm in (whole, alone):
        arm.advance()
        arm.advance()
    for one, other in zip(
        whole.setup.learner.parameters, alone.setup.learner.parameters, strict=True
    ):
        torch.testing.assert_close(other, one)


def test_an_update_that_does_not_train_is_not_timed(tmp_path):
    peers = load_peers([trl(tmp_path, learns=False)], base(), own_work=False)
    with pytest.raises(ConfigError, match="TRL leaves the adapter as it is"):
        bench_steps(Work(base(), SMALL, 1), [PLAIN, *peers], ["none"], [1])


def test_rlcms_loop_is_timed_beside_ours(tmp_path, tiny_pipeline_dir):
    config = base(
        preset="tiny-rlcm", model=str(tiny_pipeline_dir), batch_size=4, pictures_per_prompt=2
    )
    peers = load_peers([package(tmp_path, RLCM_FILES)], config, own_work=False)
    assert "wandb" not in sys.modules
    rows = bench_steps(Work(config, None, 1), [PLAIN, *peers], ["none"], [4]).rows
    assert [row["variant"] for row in rows] == ["plain", "RLCM"]
    assert rows[1]["x RLCM"] == 1
    without_encoder = make_arm(Work(config, SMALL, 1), config).setup
    with pytest.raises(ConfigError, match="Give --size embedded"):
        peers[0].start(without_encoder)


@pytest.mark.parametrize(
    ("files", "settings", "error", "sentence"),
    [
        ({}, {}, MissingFile, "pip download trl==0.23.1 --no-deps, or git clone"),
        ({"trl/__init__.py": ""}, {}, ConfigError, "it trained pictures up to 0.23"),
        ({TRL_FILE: "import no_such_package"}, {}, MissingDependency, "No module named 'no_such"),
        ({TRL_FILE: ""}, {}, ConfigError, "has no pipeline_step_with_grad"),
        ({TRL_FILE: TRL}, {"preset": "tiny-rlcm"}, ConfigError, "with algorithm=rocm"),
        (RLCM_FILES, {}, ConfigError, "as --preset tiny-rlcm"),
    ],
)
def test_a_peer_that_cannot_be_run_is_one_sentence(tmp_path, files, settings, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        load_peers([package(tmp_path, files)], base(**settings), own_work=False)
    assert str(tmp_path) in str(caught.value)
