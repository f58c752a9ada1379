"""Latents and captions that the teacher and the consistency model train on, made once."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTokenizer

from scripts.tiny.loop import save_atomically
from scripts.tiny.pictures import GROUND_NAMES, Drawings, on_ground, random_caption, shifted
from scripts.tiny.recipe import Recipe

WHITE_SHARE = 0.35


@dataclass(frozen=True)
class Latents:
    """Every drawing on every ground.

    Attributes:
        values: scaled latents (unit variance), float16 [n, K, 4, 16, 16], one K per ground.
        ids: token ids of random captions, int16 [n, K, M, 32].
        no_text: token ids of the empty caption, [32].
    """

    values: Tensor
    ids: Tensor
    no_text: Tensor

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Random latents float32 [size, 4, 16, 16] and captions int64 [size, 32].

        A third of the pictures is on white; the rest is spread evenly over the other grounds.
        """
        num, num_grounds, num_captions = self.ids.shape[:3]
        rows = torch.from_numpy(rng.integers(0, num, size))
        others = rng.integers(1, num_grounds, size)
        grounds = torch.from_numpy(np.where(rng.random(size) < WHITE_SHARE, 0, others))
        captions = torch.from_numpy(rng.integers(0, num_captions, size))
        return self.values[rows, grounds].float(), self.ids[rows, grounds, captions].long()


@torch.no_grad()
def encode_drawings(vae: AutoencoderKL, drawings: Drawings, seed: int, max_shift: int) -> Tensor:
    """Scaled posterior means, float16 [n, grounds, 4, 16, 16]; every ground has its own shift."""
    rng = np.random.default_rng((seed, 2))
    chunks = []
    for ground in range(len(GROUND_NAMES)):
        for start in range(0, len(drawings.meta), 64):
            rgba = drawings.rgba[start : start + 64]
            pictures = on_ground(rgba, np.full(len(rgba), ground))
            shifts = rng.integers(-max_shift, max_shift + 1, (len(rgba), 2))
            pictures = shifted(pictures, shifts).to(vae.device)
            scaled = vae.encode(pictures).latent_dist.mean * vae.config.scaling_factor
            chunks.append(scaled.half().cpu())
    stacked = torch.cat(chunks)
    return stacked.unflatten(0, (len(GROUND_NAMES), -1)).transpose(0, 1).contiguous()


def caption_ids(
    tokenizer: CLIPTokenizer, drawings: Drawings, num_captions: int, seed: int
) -> Tensor:
    """Token ids of `num_captions` random captions per drawing and ground, int16 [n, K, M, 32]."""
    rng = random.Random(seed)
    captions = [
        random_caption(row, ground, rng)
        for row in drawings.meta
        for ground in GROUND_NAMES
        for _ in range(num_captions)
    ]
    ids = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return ids.short().unflatten(0, (len(drawings.meta), len(GROUND_NAMES), num_captions))


def load_latents(
    recipe: Recipe, drawings: Drawings, tokenizer: CLIPTokenizer, vae: AutoencoderKL, path: Path
) -> Latents:
    """The training set, from `path` if it was made with this very autoencoder."""
    scale = vae.config.scaling_factor
    if path.exists():
        saved = torch.load(path, weights_only=True)
        if saved["scaling_factor"] == scale:
            return Latents(saved["values"], saved["ids"], saved["no_text"])
    values = encode_drawings(vae, drawings, recipe.seed, recipe.max_shift)
    ids = caption_ids(tokenizer, drawings, recipe.captions, recipe.seed)
    empty = tokenizer("", padding="max_length", truncation=True, return_tensors="pt").input_ids[0]
    made = {"scaling_factor": scale, "values": values, "ids": ids, "no_text": empty}
    save_atomically(made, path)
    print(f"latents: {tuple(values.shape)}, deviation {values.float().std():.3f}", flush=True)
    return Latents(values, ids, empty)
