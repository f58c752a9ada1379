"""Pipelines of every family at the smallest size, with random weights, built on the spot."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    PNDMScheduler,
    SchedulerMixin,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.utils import convert_state_dict_to_kohya
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

NUM_TOKENS = 16
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
# Settings of Stable Diffusion XL's U-Net, and of an LCM U-Net in its place.
XL = {
    "cross_attention_dim": 64,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 24 + 6 * 8,
}
NO_CHECKER = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def random_pipeline(seed: int) -> LatentConsistencyModelPipeline:
    scheduler = LCMScheduler(original_inference_steps=50, clip_sample=False)
    return _assembled(LatentConsistencyModelPipeline, seed, scheduler)


def random_diffusion(seed: int, is_turbo: bool = False) -> StableDiffusionPipeline:
    """As Stable Diffusion 1.5, or as SD-Turbo: no guidance embedding."""
    scheduler = PNDMScheduler(**BETAS, steps_offset=1, skip_prk_steps=True)
    if is_turbo:
        scheduler = EulerDiscreteScheduler(**BETAS, timestep_spacing="trailing")
    return _assembled(StableDiffusionPipeline, seed, scheduler, time_cond_proj_dim=None)


def random_xl(seed: int) -> StableDiffusionXLPipeline:
    """As Stable Diffusion XL: two text encoders, pooled features, sizes as conditions."""
    scheduler = EulerDiscreteScheduler(**BETAS)
    return _assembled(StableDiffusionXLPipeline, seed, scheduler, **XL, time_cond_proj_dim=None)


def save_lcm_lora(unet: UNet2DConditionModel, folder: Path, seed: int) -> None:
    """Random weights in the format that the published LCM-LoRAs have: kohya's, with alpha."""
    targets = ["to_q", "to_v", "ff.net.0.proj", "conv1", "time_emb_proj"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=targets))
        for name, parameter in unet.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(std=0.1)
    state = {f"unet.{name}": value for name, value in get_peft_model_state_dict(unet).items()}
    unet.delete_adapters("default")
    folder.mkdir(parents=True)
    save_file(convert_state_dict_to_kohya(state), folder / "pytorch_lora_weights.safetensors")


def byte_tokenizer() -> CLIPTokenizer:
    """One token for each byte, and one for each byte that ends a word; no merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(byte + "</w>" for byte in alphabet), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=NUM_TOKENS)


def _text_encoder(
    tokenizer: CLIPTokenizer, kind: type[CLIPTextModel] = CLIPTextModel
) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        projection_dim=24,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=NUM_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return kind(config)


def random_unet(**options: Any) -> UNet2DConditionModel:
    settings = {
        "sample_size": 8,
        "layers_per_block": 1,
        "block_out_channels": (16, 32),
        "norm_num_groups": 8,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 2,
        "cross_attention_dim": 32,
        "time_cond_proj_dim": 32,
    }
    return UNet2DConditionModel(**{**settings, **options})


def _assembled(
    kind: type[DiffusionPipeline], seed: int, scheduler: SchedulerMixin, **unet: Any
) -> DiffusionPipeline:
    """A pipeline with random weights; `unet` are settings of its U-Net."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = byte_tokenizer()
        parts = {"vae": _autoencoder(), "text_encoder": _text_encoder(tokenizer)}
        if kind is StableDiffusionXLPipeline:
            parts["text_encoder_2"] = _text_encoder(tokenizer, CLIPTextModelWithProjection)
            parts["tokenizer_2"] = tokenizer
        else:
            parts |= NO_CHECKER
        return kind(**parts, tokenizer=tokenizer, unet=random_unet(**unet), scheduler=scheduler)


def _autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        sample_size=16,
        latent_channels=4,
        layers_per_block=1,
        block_out_channels=(16, 16),
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
