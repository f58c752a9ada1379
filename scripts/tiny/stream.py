"""The diffusion models' training set: drawings placed, encoded and captioned anew for every batch."""

import random
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTokenizer

from scripts.tiny.contrast import tokens
from scripts.tiny.pictures import GROUND_NAMES, Drawings, on_ground, placed, random_caption

WHITE_SHARE = 0.35


@dataclass(frozen=True)
class Stream:
    """Samples without end; no sample comes twice, since position, size and words are drawn.

    Attributes:
        drawings: the data set.
        tokenizer: of the captions.
        vae: the autoencoder, on the device of the batches.
        bf16: whether it encodes in bfloat16.
    """

    drawings: Drawings
    tokenizer: CLIPTokenizer
    vae: AutoencoderKL
    bf16: bool = False

    @property
    def no_text(self) -> Tensor:
        """Token ids of the empty caption, [32]."""
        return self.token_ids([""])[0]

    def token_ids(self, captions: list[str]) -> Tensor:
        """Padded token ids int64 [B, 32]."""
        return tokens(self.tokenizer, captions, str(self.vae.device))["input_ids"]

    @torch.no_grad()
    def batch(self, size: int, seed: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Scaled latents float32 [size, 4, 16, 16] and token ids int64 [size, 32].

        A third of the pictures is on white; the rest is spread evenly over the other grounds.
        """
        rng, words = np.random.default_rng(seed), random.Random(str(seed))
        rows = rng.integers(0, len(self.drawings.meta), size)
        others = rng.integers(1, len(GROUND_NAMES), size)
        grounds = np.where(rng.random(size) < WHITE_SHARE, 0, others)
        meta = [self.drawings.meta[row] for row in rows]
        pictures = on_ground(placed(self.drawings.rgba[rows], meta, rng), grounds)
        device = self.vae.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            latents = self.vae.encode(pictures.to(device)).latent_dist.mean.float()
        captions = [
            random_caption(row, GROUND_NAMES[ground], words)
            for row, ground in zip(meta, grounds, strict=True)
        ]
        return latents * self.vae.config.scaling_factor, self.token_ids(captions)
