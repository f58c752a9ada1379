"""Autoencoder stage: a small AutoencoderKL that halves the picture twice (f4, four channels).

The latent is the posterior's mean; its deviation is the constant `NOISE`, which is also the noise
that the decoder is trained to withstand. Loss: mean |error| + 0.5 mean |error of differences
between neighbors| + mean error^2 + 0.02 (latent mean^2 + (latent variance - 1)^2). Most updates
see 32 x 32 crops (more variety for the same work), the last ones whole pictures, because group
normalization takes its statistics over the whole field. At the end `scaling_factor` is set to
1 / std of the latents, so that scaled latents have unit variance.
"""

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from scripts.tiny.loop import Average, Slice, generator, learning_rate, train
from scripts.tiny.muon import MuonAdamW
from scripts.tiny.pictures import GROUND_NAMES, Drawings, on_ground, placed
from scripts.tiny.recipe import Recipe
from scripts.tiny.rounds import add_record

NOISE = 0.1
PEAK_LR = 3e-3
CROPPED_SHARE = 0.6


def new_autoencoder(recipe: Recipe) -> AutoencoderKL:
    """An untrained autoencoder; latents are [B, 4, H / 4, W / 4]."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=recipe.vae_channels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
    )
    vae.quant_conv.weight.data[4:] = 0
    vae.quant_conv.bias.data[4:] = 2 * math.log(NOISE)
    return vae


def batch(drawings: Drawings, size: int, rng: np.random.Generator) -> Tensor:
    """Random drawings, placed at random on random grounds, [B, 3, 64, 64] in [-1, 1].

    A quarter has its color channels exchanged, so that every hue is met with every shape.
    """
    rows = rng.integers(0, len(drawings.meta), size)
    grounds = rng.integers(0, len(GROUND_NAMES), size) * (rng.random(size) > 0.3)
    pictures = on_ground(
        placed(drawings.rgba[rows], [drawings.meta[i] for i in rows], rng), grounds
    )
    is_recolored = torch.from_numpy(rng.random(size) < 0.25)
    pictures[is_recolored] = pictures[is_recolored][:, rng.permutation(3).tolist()]
    return pictures


def cropped(pictures: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """A random square of each picture [B, C, H, W], [B, C, side, side]."""
    corners = rng.integers(0, pictures.shape[-1] - side + 1, (len(pictures), 2)).tolist()
    squares = zip(pictures, corners, strict=True)
    return torch.stack([p[:, r : r + side, c : c + side] for p, (r, c) in squares])


def spread_penalty(latents: Tensor) -> Tensor:
    """Mean over channels of mean^2 + (variance - 1)^2 of latents [B, C, H, W]."""
    mean, variance = latents.mean((0, 2, 3)), latents.var((0, 2, 3))
    return (mean.square() + (variance - 1).square()).mean()


def edge_error(error: Tensor) -> Tensor:
    """Mean absolute difference between neighbors of an error picture [B, C, H, W]."""
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def train_autoencoder(recipe: Recipe, drawings: Drawings, folder: Path, part: Slice) -> bool:
    """Trains up to `recipe.vae_updates`; at the end writes the model into folder/model."""
    torch.manual_seed(recipe.seed)
    vae = new_autoencoder(recipe).to(part.device)
    average = Average(vae, new_autoencoder(recipe).to(part.device), 0.995)
    vae.quant_conv.requires_grad_(False)
    optimizer = MuonAdamW([vae], ("conv_in", "conv_out", "quant_conv"))

    def update(step: int) -> dict[str, float]:
        rng = np.random.default_rng((recipe.seed, step))
        if step < CROPPED_SHARE * recipe.vae_updates:
            pictures = cropped(batch(drawings, 4 * recipe.vae_batch, rng), 32, rng)
        else:
            pictures = batch(drawings, recipe.vae_batch, rng)
        pictures = pictures.to(part.device)
        with part.autocast():
            latents = vae.encode(pictures).latent_dist.mean
            noise = torch.randn(latents.shape, generator=generator(recipe.seed, step))
            decoded = vae.decode(latents + NOISE * noise.to(part.device)).sample
        error = decoded.float() - pictures
        reconstruction = error.abs().mean() + 0.5 * edge_error(error) + error.square().mean()
        loss = reconstruction + 0.02 * spread_penalty(latents.float())
        lr = learning_rate(step, recipe.vae_updates, PEAK_LR)
        optimizer.step(loss, lr)
        average.update(vae, step)
        return {
            "l1": error.abs().mean().item(),
            "mse": error.square().mean().item(),
            "latent_std": latents.std().item(),
        }

    parts = {"vae": vae, "average": average, "optimizer": optimizer}
    is_done = train(folder, recipe.vae_updates, parts, update, part)
    write_model(average.model, drawings, folder / "model", recipe.seed)
    return is_done


@torch.no_grad()
def write_model(vae: AutoencoderKL, drawings: Drawings, folder: Path, seed: int) -> None:
    """Measures the latents' scale and the PSNR on 256 unshifted pictures, then saves."""
    rng = np.random.default_rng((seed, 1))
    rows = rng.integers(0, len(drawings.meta), 256)
    grounds = rng.integers(0, len(GROUND_NAMES), 256)
    pictures = on_ground(drawings.rgba[rows], grounds).to(vae.device)
    latents = torch.cat([vae.encode(p).latent_dist.mean for p in pictures.split(32)])
    decoded = torch.cat([vae.decode(z).sample for z in latents.split(32)]).clamp(-1, 1)
    psnr = -10 * (decoded - pictures).square().mean((1, 2, 3)).div(4).log10().mean().item()
    vae.register_to_config(scaling_factor=float(1 / latents.std()))
    vae.save_pretrained(folder)
    add_record(folder.parent, psnr_db=round(psnr, 2))
    print(f"autoencoder: PSNR {psnr:.2f} dB, scaling_factor {vae.config.scaling_factor:.4f}")
