"""LCM Dreamshaper's shapes with random weights, as a folder that the trainer loads.

`python -m scripts.random_model FOLDER [--size real|small] [--precision fp32|bf16]` writes a latent
consistency model in diffusers' layout: U-Net and autoencoder of
`rocm.experiments.bench.random_model`, a text encoder of CLIP ViT-L/14's shape (real size), and the
embedded model's tokenizer, padded to the text encoder's length. What training costs does not depend
on the weights; what it draws means nothing.
"""

import argparse
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from rocm.experiments.bench.random_model import BETAS, NUM_TOKENS, SIZES
from rocm.models.pipelines import DTYPES, NO_CHECKER
from rocm.storage.paths import ROOT

TOKENIZER = ROOT / "assets" / "tiny-lcm" / "tokenizer"
# Hidden width, layers, heads, vocabulary; the width is the U-Net's cross_attention_dim.
TEXT_ENCODERS = {"real": (768, 12, 12, 49_408), "small": (32, 1, 4, 8_192)}


def random_text_encoder(size: str, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A text encoder for prompts of `NUM_TOKENS` tokens.

    Args:
        size: of `TEXT_ENCODERS`.
        tokenizer: whose words it must know.

    Returns:
        The network on the CPU.
    """
    width, layers, heads, vocabulary = TEXT_ENCODERS[size]
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=NUM_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return CLIPTextModel(config)


def random_pipeline(size: str) -> LatentConsistencyModelPipeline:
    """The stock pipeline with the same random weights every time; `size` as in `SIZES`."""
    parts = SIZES[size]
    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER, model_max_length=NUM_TOKENS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LatentConsistencyModelPipeline(
            vae=AutoencoderKL(**parts.vae),
            text_encoder=random_text_encoder(size, tokenizer),
            tokenizer=tokenizer,
            unet=UNet2DConditionModel(**parts.unet),
            scheduler=LCMScheduler(**BETAS, original_inference_steps=50, clip_sample=False),
            feature_extractor=None,
            **NO_CHECKER,
        )


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(prog="python -m scripts.random_model", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=sorted(SIZES), default="real")
    parser.add_argument("--precision", choices=sorted(DTYPES), default="bf16")
    options = parser.parse_args()
    pipeline = random_pipeline(options.size)
    networks = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    for network in networks:
        torch.nn.Module.to(network, DTYPES[options.precision])  # diffusers' own warns needlessly
    pipeline.save_pretrained(options.folder)
    count = sum(parameter.numel() for network in networks for parameter in network.parameters())
    print(f"{count:,} random weights in {options.folder}")


if __name__ == "__main__":
    main()
