"""CLIP stage: small text-image encoders trained by contrast on the drawings.

Two are made that share no seed, held-out drawings or shape: `tiny-clip` (a reward, and the start of
the text encoder and of `tiny-preference`) and `tiny-eval` (only for the quality figure). A batch holds different objects in few styles and on few grounds, so
that the object has to be told apart.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from scripts.tiny.compact import compact_folder
from scripts.tiny.loop import Slice, generator, learning_rate, train
from scripts.tiny.muon import MuonAdamW
from scripts.tiny.pictures import (
    GROUND_NAMES,
    Drawings,
    canonical_caption,
    on_ground,
    placed,
    random_caption,
)
from scripts.tiny.recipe import Recipe
from scripts.tiny.rounds import add_record
from scripts.tiny.tokenizer import MAX_TOKENS

PEAK_LR = 2e-3
HELD_OUT = 0.1


@dataclass(frozen=True)
class ClipShape:
    """Seed (of weights, batches and held-out drawings) and sizes of one CLIP."""

    seed: int
    width: int = 128
    text_layers: int = 2
    image_layers: int = 4
    patch: int = 8


CLIPS = {
    "tiny-clip": ClipShape(seed=101),
    "tiny-eval": ClipShape(seed=303, width=144, image_layers=3),
}


def text_config(tokenizer: CLIPTokenizer, width: int, layers: int) -> dict:
    """Settings of a CLIP text tower for 32 tokens."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": MAX_TOKENS,
        "projection_dim": width,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def new_clip(shape: ClipShape, tokenizer: CLIPTokenizer) -> CLIPModel:
    """An untrained CLIP for 64 x 64 pictures."""
    vision = {
        "hidden_size": shape.width,
        "intermediate_size": 3 * shape.width,
        "num_hidden_layers": shape.image_layers,
        "num_attention_heads": 4,
        "image_size": 64,
        "patch_size": shape.patch,
        "projection_dim": shape.width,
    }
    text = text_config(tokenizer, shape.width, shape.text_layers)
    torch.manual_seed(shape.seed)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=shape.width)
    return CLIPModel(config)


def split_drawings(drawings: Drawings, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(training, held-out) drawing indices; an object may be met in another style."""
    order = np.random.default_rng(seed).permutation(len(drawings.meta))
    num_held_out = max(1, int(HELD_OUT * len(order)))
    return np.sort(order[num_held_out:]), np.sort(order[:num_held_out])


def different_objects(
    drawings: Drawings, rows: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Up to `size` drawings of different objects, of which three quarters share a style."""
    style = drawings.meta[rng.choice(rows)]["style"]
    order = rng.permutation(rows)
    is_other = np.array([drawings.meta[i]["style"] != style for i in order])
    late = is_other & (rng.random(len(order)) < 0.75)
    order = np.concatenate([order[~late], order[late]])
    _, first = np.unique([drawings.meta[i]["name"] for i in order], return_index=True)
    return order[np.sort(first)[:size]]


def harmless(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Noise up to 0.1 and some blur: what should not change a caption's score."""
    is_blurred = torch.from_numpy(rng.random(len(pictures)) < 0.3)
    soft = nn.functional.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
    pictures = torch.where(is_blurred[:, None, None, None], soft, pictures)
    draws = generator(int(rng.integers(2**31)), 0)
    level = 0.1 * torch.rand(len(pictures), 1, 1, 1, generator=draws)
    return (pictures + level * torch.randn(pictures.shape, generator=draws)).clamp(-1, 1)


def tokens(tokenizer: CLIPTokenizer, captions: list[str], device: str) -> dict[str, Tensor]:
    """Padded ids and mask, [B, 32] each."""
    padded = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
    return {name: padded[name].to(device) for name in ("input_ids", "attention_mask")}


def contrast(logits: Tensor) -> Tensor:
    """Mean of the two cross entropies of a square matrix of logits, right pairs on the diagonal."""
    right = torch.arange(len(logits), device=logits.device)
    pairs = (
        nn.functional.cross_entropy(logits, right),
        nn.functional.cross_entropy(logits.T, right),
    )
    return (pairs[0] + pairs[1]) / 2


def train_clip(
    name: str, recipe: Recipe, data: tuple[Drawings, CLIPTokenizer], out: Path, part: Slice
) -> bool:
    """Trains the CLIP `name` up to `recipe.clip_updates`; writes it into out/model."""
    (drawings, tokenizer), shape = data, CLIPS[name]
    clip = new_clip(shape, tokenizer).to(part.device)
    optimizer = MuonAdamW([clip], ("embedding", "projection"))
    rows, held_out = split_drawings(drawings, shape.seed)

    def update(step: int) -> dict[str, float]:
        rng, words = (
            np.random.default_rng((shape.seed, step)),
            random.Random(f"{shape.seed} {step}"),
        )
        chosen = different_objects(drawings, rows, recipe.clip_batch, rng)
        grounds = rng.choice(rng.integers(0, len(GROUND_NAMES), 2), len(chosen))
        drawn = placed(drawings.rgba[chosen], [drawings.meta[i] for i in chosen], rng)
        pictures = harmless(on_ground(drawn, grounds), rng).to(part.device)
        captions = [
            random_caption(drawings.meta[i], GROUND_NAMES[g], words)
            for i, g in zip(chosen, grounds, strict=True)
        ]
        with part.autocast():
            result = clip(pixel_values=pictures, **tokens(tokenizer, captions, part.device))
        logits = (result.image_embeds @ result.text_embeds.T).float()
        loss = contrast(clip.logit_scale.exp().clamp(max=100) * logits)
        lr = learning_rate(step, recipe.clip_updates, PEAK_LR)
        optimizer.step(loss, lr)
        right = (logits.argmax(1).cpu() == torch.arange(len(chosen))).float().mean().item()
        return {"loss": loss.item(), "right": right}

    is_done = train(out, recipe.clip_updates, {"clip": clip, "optimizer": optimizer}, update, part)
    write_clip(clip.eval(), tokenizer, out / "model")
    accuracy = held_out_accuracy(clip, tokenizer, drawings, held_out)
    add_record(out, held_out=len(held_out), right_first=accuracy)
    print(f"{name}: right caption first of {len(held_out)} held-out drawings {accuracy:.3f}")
    return is_done


@torch.no_grad()
def held_out_accuracy(
    clip: CLIPModel, tokenizer: CLIPTokenizer, drawings: Drawings, rows: np.ndarray
) -> float:
    """Share of held-out drawings whose own caption, ground white, comes first among all theirs."""
    captions = [canonical_caption(m["style"], m["name"], "white") for m in drawings.meta]
    pictures = on_ground(drawings.rgba[rows], np.zeros(len(rows), int)).to(clip.device)
    texts = tokens(tokenizer, [captions[i] for i in rows], str(clip.device))
    result = clip(pixel_values=pictures, **texts)
    first = (result.image_embeds @ result.text_embeds.T).argmax(1).cpu()
    return (first == torch.arange(len(rows))).float().mean().item()


def write_clip(model: nn.Module, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Saves compact weights with tokenizer and preprocessing (mean and deviation 0.5)."""
    model.save_pretrained(folder)
    compact_folder(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": 64, "width": 64}
    CLIPImageProcessor(
        size=size, crop_size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(folder)
