r"""Judge stage: a held-out text-image encoder that knows broken pictures. Nothing trains against it.

A ConvNeXt (no transformer) looks at the pictures. Right pictures are the
model's own of every object, and real drawings; wrong ones are damaged versions of them and the
hacked pictures of two kinds (`hacked.NEGATIVES`). For every caption the right picture has to come
first among all right, damaged and hacked pictures of the batch; and a harmless change (JPEG 90, a
shift, faint noise) must not move the score:

.. math:: L = CE(text \to picture) + CE(picture \to text) + 20\, (s(x) - s(x'))^2
"""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    CLIPTextConfig,
    CLIPTokenizer,
    ConvNextConfig,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)

from rocm.generation.draw import Sampling, draw
from rocm.models.consistency import load_model
from scripts.tiny.contrast import HELD_OUT, text_config, tokens, write_clip
from scripts.tiny.damage import damaged, harmless, jpeg
from scripts.tiny.hacked import NEGATIVES, as_bytes, read_shots
from scripts.tiny.loop import (
    Slice,
    generator,
    learning_rate,
    optimiser_step,
    save_atomically,
    train,
)
from scripts.tiny.pictures import GROUND_NAMES, Drawings, canonical_caption, on_ground
from scripts.tiny.recipe import Recipe

SEED = 404
PEAK_LR = 1e-3
STEADINESS = 20.0


def new_judge(tokenizer: CLIPTokenizer) -> VisionTextDualEncoderModel:
    """An untrained judge of about one million parameters."""
    vision = ConvNextConfig(
        hidden_sizes=[48, 96, 128, 160],
        hidden_size=160,
        depths=[2, 2, 2, 2],
        patch_size=4,
        image_size=64,
    )
    text = CLIPTextConfig(**text_config(tokenizer, 96, 2))
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        vision, text, projection_dim=96, logit_scale_init_value=2.65
    )
    torch.manual_seed(SEED)
    return VisionTextDualEncoderModel(config)


@dataclass(frozen=True)
class Examples:
    """Training pictures, uint8.

    Attributes:
        captions: n captions.
        right: a picture of each, [n, 3, 64, 64], then the same through JPEG 90.
        compressed: see `right`.
        hacked_captions: m captions.
        base: the base model's pictures of them, [m, 3, 64, 64].
        hacked: hacked pictures, same prompts and noise.
    """

    captions: list[str]
    right: Tensor
    compressed: Tensor
    hacked_captions: list[str]
    base: Tensor
    hacked: Tensor


def own_pictures(drawings: Drawings, model_folder: Path) -> tuple[list[str], Tensor]:
    """The exported model's pictures of every drawing's caption, random grounds, uint8."""
    model, rng = load_model(str(model_folder.resolve()), "cpu"), random.Random(SEED)
    captions = [
        canonical_caption(row["style"], row["name"], rng.choice(["white", *GROUND_NAMES]))
        for row in drawings.meta
    ]
    pictures = []
    for part, sampling in enumerate(
        (Sampling(4, 8.5, batch_size=36), Sampling(4, 4.0, batch_size=36))
    ):
        seeds = [50_000 + i for i in range(len(captions))]
        half = slice(part, None, 2)
        drawn = draw(model, captions[half], seeds[half], sampling)
        pictures.append((captions[half], torch.cat(list(drawn)).clamp(0, 1)))
    return [c for names, _ in pictures for c in names], torch.cat([p for _, p in pictures])


def real_drawings(drawings: Drawings) -> tuple[list[str], Tensor]:
    """Nine tenths of the real drawings (no other encoder leaves out the same tenth), in [0, 1]."""
    rng = np.random.default_rng(SEED)
    rows = rng.permutation(len(drawings.meta))[int(HELD_OUT * len(drawings.meta)) :]
    grounds = rng.integers(0, len(GROUND_NAMES), len(rows)) * (rng.random(len(rows)) > 0.3)
    named = zip(rows, grounds, strict=True)
    captions = [
        canonical_caption(drawings.meta[i]["style"], drawings.meta[i]["name"], GROUND_NAMES[g])
        for i, g in named
    ]
    return captions, on_ground(drawings.rgba[rows], grounds) / 2 + 0.5


def load_examples(drawings: Drawings, work: Path, assets: Path) -> Examples:
    """Draws the model's pictures (once) and collects the hacked ones of the two training kinds."""
    cache = work / "judge/own.pt"
    if not cache.exists():
        with torch.no_grad():
            captions, images = own_pictures(drawings, assets / "tiny-lcm")
        save_atomically({"captions": captions, "images": as_bytes(images)}, cache)
    own = torch.load(cache, weights_only=True)
    captions, images = real_drawings(drawings)
    right = torch.cat([own["images"], as_bytes(images)])
    base = torch.load(work / "hacked/base.pt", weights_only=True)["train"]
    prompts = read_shots(assets / "prompts", len(base)).train[0]
    sets = [torch.load(work / f"hacked/{kind}.pt", weights_only=True) for kind in NEGATIVES]
    hacked = [shot["train"] for one in sets for shot in one["shots"].values()]
    return Examples(
        [*own["captions"], *captions],
        right,
        as_bytes(jpeg(right.float() / 255)),
        list(prompts) * len(hacked),
        base.repeat(len(hacked), 1, 1, 1),
        torch.cat(hacked),
    )


def picture_scores(
    judge: VisionTextDualEncoderModel, images: Tensor, device: str = "cpu"
) -> Tensor:
    """Unit embeddings of pictures in [0, 1], [B, 96]."""
    values = (images * 2 - 1).to(device)
    return F.normalize(judge.get_image_features(pixel_values=values).pooler_output.float(), dim=1)


def text_scores(
    judge: VisionTextDualEncoderModel, tokenizer: CLIPTokenizer, captions: list[str], device: str
) -> Tensor:
    """Unit embeddings of captions, [B, 96]."""
    features = judge.get_text_features(**tokens(tokenizer, captions, device)).pooler_output
    return F.normalize(features.float(), dim=1)


def draw_batch(
    examples: Examples, step: int, size: int
) -> tuple[list[str], Tensor, Tensor, Tensor]:
    """Captions, right pictures, the same harmlessly changed, wrong pictures; in [0, 1].

    A quarter of the captions comes with hacked pictures of the same noise, the rest with damage.
    """
    draws = generator(SEED, step)
    num_hacked = size // 4
    rows = torch.randint(0, len(examples.captions), (size - num_hacked,), generator=draws)
    pairs = torch.randint(0, len(examples.hacked_captions), (num_hacked,), generator=draws)
    captions = [examples.captions[i] for i in rows]
    captions += [examples.hacked_captions[i] for i in pairs]
    right = torch.cat([examples.right[rows], examples.base[pairs]]).float() / 255
    changed = torch.cat([examples.compressed[rows], examples.base[pairs]]).float() / 255
    if step % 2:
        changed = harmless(right, draws)
    spoiled = damaged(right[: len(rows)], draws)
    wrong = torch.cat([spoiled, examples.hacked[pairs].float() / 255])
    is_mirrored = torch.rand(size, generator=draws) < 0.5
    for images in (right, changed, wrong):
        images[is_mirrored] = images[is_mirrored].flip(-1)
    return captions, right, changed, wrong


def train_judge(
    recipe: Recipe, examples: Examples, tokenizer: CLIPTokenizer, out: Path, part: Slice
) -> bool:
    """Trains up to `recipe.judge_updates`; writes the judge into out/model."""
    judge = new_judge(tokenizer).to(part.device)
    optimiser = torch.optim.AdamW(judge.parameters(), PEAK_LR, betas=(0.9, 0.98), weight_decay=0.05)

    def update(step: int) -> dict[str, float]:
        captions, right, changed, wrong = draw_batch(examples, step, recipe.judge_batch)
        with part.autocast():
            images = picture_scores(judge, torch.cat([right, changed, wrong]), part.device)
            texts = text_scores(judge, tokenizer, captions, part.device)
        own, other, spoiled = images.chunk(3)
        if step % 4 >= 2:  # both are right: else it learns to prefer what was not touched
            own, other = other, own
        scale = judge.logit_scale.exp().clamp(max=100)
        target = torch.arange(len(captions), device=images.device)
        # A caption may stand twice in a batch: its second picture is no wrong answer.
        same = torch.tensor([[a == b for b in captions] for a in captions], device=images.device)
        repeated = same & ~torch.eye(len(captions), dtype=torch.bool, device=images.device)
        logits = (texts @ own.T).masked_fill(repeated, -1)
        ranked = torch.cat([logits, texts @ spoiled.T], dim=1)
        loss = F.cross_entropy(scale * ranked, target) + F.cross_entropy(scale * logits.T, target)
        drift = ((own - other) * texts).sum(1)
        loss = loss + STEADINESS * drift.square().mean()
        lr = learning_rate(step, recipe.judge_updates, PEAK_LR)
        optimiser_step(optimiser, loss, judge.parameters(), lr)
        margin = ((own - spoiled) * texts).sum(1)
        return {
            "loss": loss.item(),
            "prefers_right": (margin > 0).float().mean().item(),
            "drift": drift.abs().mean().item(),
        }

    parts = {"judge": judge, "optimiser": optimiser}
    is_done = train(out, recipe.judge_updates, parts, update, part)
    write_clip(judge.eval(), tokenizer, out / "model")
    return is_done
