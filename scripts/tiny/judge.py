r"""Judge stage: a held-out text-image encoder that knows broken pictures. Nothing trains against it.

It stands to `tiny-preference` as PickScore to HPSv2: another architecture (a ConvNeXt, no
transformer), trained from nothing on other pictures and on comparisons that other simulated raters
decided, whose palates scatter more widely.

Right pictures are the model's own of every object, and real drawings; wrong ones are damaged versions
of them and the hacked pictures of two kinds (`hacked.NEGATIVES`). For every caption the right picture
has to come first among all right, damaged and hacked pictures of the batch; a harmless change (JPEG
90, a shift, faint noise) must not move the score; and of two compared pictures the preferred one has
to score higher, by the loss of `preference`:

.. math:: L = CE(text \to picture) + CE(picture \to text) + 40\, (s(x) - s(x'))^2 + L_{votes}
"""

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

from rocm.rewards.raters import palates
from scripts.tiny.comparisons import PER_CAPTION, Pool, as_bytes, decide, draw_pairs
from scripts.tiny.contrast import HELD_OUT, text_config, tokens, write_clip
from scripts.tiny.damage import damaged, harmless, jpeg
from scripts.tiny.hacked import NEGATIVES, read_shots
from scripts.tiny.loop import (
    Slice,
    generator,
    learning_rate,
    train,
)
from scripts.tiny.muon import MuonAdamW
from scripts.tiny.pictures import GROUND_NAMES, Drawings, canonical_caption, on_ground
from scripts.tiny.preference import agreement, vote_loss
from scripts.tiny.recipe import Recipe

SEED = 404
PEAK_LR = 1e-3
STEADINESS = 40.0
NUM_RATERS = 64
SPREAD = 0.6
NO_MUON = ("embed", "projection")


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
        pool: pictures to compare.
    """

    captions: list[str]
    right: Tensor
    compressed: Tensor
    hacked_captions: list[str]
    base: Tensor
    hacked: Tensor
    pool: Pool


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


def load_examples(drawings: Drawings, pool: Pool, work: Path, assets: Path) -> Examples:
    """Collects right pictures, hacked pictures of the two training kinds, and comparisons.

    Args:
        drawings: the data set.
        pool: of the model's pictures, other ones than `tiny-preference` has learned from.
        work: of the stages; holds the hacked pictures.
        assets: the exported prompt lists.

    Returns:
        The examples.
    """
    captions, images = real_drawings(drawings)
    own = [caption for caption in pool.captions for _ in range(PER_CAPTION)]
    right = torch.cat([pool.pictures.flatten(0, 1), as_bytes(images)])
    base = torch.load(work / "hacked/base.pt", weights_only=True)["train"]
    prompts = read_shots(assets / "prompts", len(base)).train[0]
    sets = [torch.load(work / f"hacked/{kind}.pt", weights_only=True) for kind in NEGATIVES]
    hacked = [shot["train"] for kind in sets for shot in kind["shots"].values()]
    return Examples(
        [*own, *captions],
        right,
        as_bytes(jpeg(right.float() / 255)),
        list(prompts) * len(hacked),
        base.repeat(len(hacked), 1, 1, 1),
        torch.cat(hacked),
        pool,
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
    optimizer = MuonAdamW([judge], NO_MUON)
    raters = palates(NUM_RATERS, SEED, SPREAD)

    def update(step: int) -> dict[str, float]:
        captions, *seen = draw_batch(examples, step, recipe.judge_batch)
        draws, size = generator(SEED + 1, step), len(captions)
        pairs = draw_pairs(examples.pool, size // 2, draws)
        votes = decide(pairs, raters, draws)
        shown = torch.cat([*seen, pairs.first, pairs.second])
        with part.autocast():
            images = picture_scores(judge, shown, part.device)
            texts = text_scores(judge, tokenizer, [*captions, *pairs.captions], part.device)
        (own, other, spoiled), compared = images[: 3 * size].chunk(3), images[3 * size :]
        asked, texts = texts[size:], texts[:size]
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
        pair_logits = scale * (compared.unflatten(0, (2, -1)) * asked).sum(-1).T
        loss = loss + STEADINESS * drift.square().mean() + vote_loss(pair_logits, votes)
        optimizer.step(loss, learning_rate(step, recipe.judge_updates, PEAK_LR))
        margin = ((own - spoiled) * texts).sum(1)
        return {
            "loss": loss.item(),
            "prefers_right": (margin > 0).float().mean().item(),
            "votes": agreement(pair_logits, votes),
            "drift": drift.abs().mean().item(),
        }

    parts = {"judge": judge, "optimizer": optimizer}
    is_done = train(out, recipe.judge_updates, parts, update, part)
    write_clip(judge.eval(), tokenizer, out / "model")
    return is_done
