"""Other projects' updates beside ours: what is timed, and what is said when it cannot be."""

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
from torch.utils.checkpoint import checkpoint

def pipeline_step_with_grad(
    pipeline, prompt_embeds, negative_prompt_embeds, latents, num_inference_steps, guidance_scale,
    truncated_backprop, eta, output_type, gradient_checkpoint=True, **options,
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
    def network(state):
        return pipeline.unet(state, t, encoder_hidden_states=prompt_embeds).sample
    if gradient_checkpoint:
        output = checkpoint(network, latents, use_reentrant=False)
    else:
        output = network(latents)
    if LEARNS:
        latents = pipeline.scheduler.step(output, t, latents).prev_sample
    else:
        latents = latents.clone().requires_grad_()
    images = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    shown = pipeline.image_processor.postprocess(images, output_type, [True] * len(images))
    return SimpleNamespace(images=shown)
"""


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


@pytest.mark.slow
def test_trl_is_timed_in_the_same_rounds_as_our_update_without_a_reference(tmp_path):
    peers = load_peers([trl(tmp_path)], base(), own_work=True)
    rows = bench_steps(Work(base(), SMALL, 1), [PLAIN, *peers], ["none"], [2]).rows
    names = ["plain", "reward alone", "TRL", "TRL, recomputation off", "TRL own"]
    assert [row["variant"] for row in rows] == names
    plain, alone, peer, kept, own = rows
    assert kept["peak MiB"] > peer["peak MiB"]
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


@pytest.mark.parametrize(
    ("files", "settings", "error", "sentence"),
    [
        ({}, {}, MissingFile, "pip download trl==0.23.1 --no-deps, or git clone"),
        ({"trl/__init__.py": ""}, {}, ConfigError, "it trained pictures up to 0.23"),
        ({TRL_FILE: "import no_such_package"}, {}, MissingDependency, "No module named 'no_such"),
        ({TRL_FILE: ""}, {}, ConfigError, "has no pipeline_step_with_grad"),
        ({TRL_FILE: TRL}, {"preset": "tiny-rlcm"}, ConfigError, "with algorithm=rocm"),
    ],
)
def test_a_peer_that_cannot_be_run_is_one_sentence(tmp_path, files, settings, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        load_peers([package(tmp_path, files)], base(**settings), own_work=False)
    assert str(tmp_path) in str(caught.value)
