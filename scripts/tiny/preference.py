r"""Preference stage: `tiny-preference`, a small CLIP that has learned what simulated raters prefer.

It stands to the embedded model as HPSv2 to Stable Diffusion: a CLIP (here `tiny-clip`) fine-tuned
by HPSv2's loss (arXiv 2306.09341, eq. 1-3), the cross entropy of the vote y over the scores of both
pictures for their caption,

.. math:: L = -\sum_i y_i \log \operatorname{softmax}_i(s \cos(E_I(x_i), E_T(c)))

A tie is y = (1/2, 1/2). It sees captions of training objects only, and its errors on other objects
are what training against it can exploit.
"""

import json
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer

from rocm.rewards.raters import palates
from rocm.rewards.taste import GOLD, TasteReward, load_taste, retouched
from scripts.tiny.comparisons import PER_CAPTION, Pairs, Pool, decide, draw_pairs
from scripts.tiny.contrast import tokens, write_clip
from scripts.tiny.damage import DAMAGES
from scripts.tiny.loop import Slice, generator, learning_rate, train
from scripts.tiny.muon import MuonAdamW
from scripts.tiny.recipe import Recipe
from scripts.tiny.rounds import add_record

SEED = 505
NUM_RATERS = 64
PEAK_LR = 5e-4
START_SCALE = 20.0


def embed(clip: CLIPModel, images: Tensor) -> Tensor:
    """Unit embeddings [B, D] of pictures [B, 3, 64, 64] in [0, 1]."""
    values = (images * 2 - 1).to(clip.device)
    return F.normalize(clip.get_image_features(pixel_values=values).pooler_output.float(), dim=1)


def embed_captions(clip: CLIPModel, tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Unit embeddings [B, D] of captions."""
    features = clip.get_text_features(**tokens(tokenizer, captions, str(clip.device)))
    return F.normalize(features.pooler_output.float(), dim=1)


def pair_logits(clip: CLIPModel, tokenizer: CLIPTokenizer, pairs: Pairs) -> Tensor:
    """Scaled cosines of both pictures with their caption, [B, 2]."""
    images = embed(clip, torch.cat([pairs.first, pairs.second]))
    texts = embed_captions(clip, tokenizer, pairs.captions)
    cosines = (images.unflatten(0, (2, -1)) * texts).sum(-1).T
    return clip.logit_scale.exp().clamp(max=100) * cosines


def vote_loss(logits: Tensor, votes: Tensor) -> Tensor:
    """HPSv2's cross entropy of logits [B, 2] and votes [B], 1 for the first picture."""
    votes = votes.to(logits.device)
    return F.cross_entropy(logits, torch.stack([votes, 1 - votes], 1))


def agreement(logits: Tensor, votes: Tensor) -> float:
    """Share of decided votes [B] in which the preferred picture has the higher logit [B, 2]."""
    is_decided = votes != 0.5
    first = (logits[:, 0] > logits[:, 1]).cpu()
    return (first == (votes > 0.5))[is_decided].float().mean().item()


def train_preference(
    recipe: Recipe, pools: tuple[Pool, Pool], folders: tuple[Path, Path, Path], part: Slice
) -> bool:
    """Fine-tunes up to `recipe.preference_updates`; writes the CLIP into the folder's model.

    Args:
        recipe: batch and budget.
        pools: of training objects, and of the others to examine it on.
        folders: of this stage, the CLIP to begin at, the drawings of taste.
        part: slice of this call.

    Returns:
        Whether the stage is complete.
    """
    out, start, book = folders
    clip = CLIPModel.from_pretrained(start, dtype=torch.float32).to(part.device).train()
    tokenizer = CLIPTokenizer.from_pretrained(start)
    torch.nn.init.constant_(clip.logit_scale, torch.tensor(START_SCALE).log().item())
    optimizer = MuonAdamW([clip], ("embedding", "projection"))
    raters = palates(NUM_RATERS, SEED)

    def update(step: int) -> dict[str, float]:
        draws = generator(SEED, step)
        pairs = draw_pairs(pools[0], recipe.preference_batch, draws)
        votes = decide(pairs, raters, draws)
        with part.autocast():
            logits = pair_logits(clip, tokenizer, pairs)
        loss = vote_loss(logits, votes)
        optimizer.step(loss, learning_rate(step, recipe.preference_updates, PEAK_LR))
        return {"loss": loss.item(), "right": agreement(logits, votes)}

    parts = {"clip": clip, "optimizer": optimizer}
    is_done = train(out, recipe.preference_updates, parts, update, part)
    write_clip(clip.eval(), tokenizer, out / "model")
    stored = CLIPModel.from_pretrained(out / "model", dtype=torch.float32).to(part.device)
    figures = examine(
        (stored, tokenizer), pools[1], load_taste(book.resolve()), recipe.num_examined
    )
    add_record(out, **figures)
    print(f"tiny-preference: {json.dumps(figures)}")
    return is_done


@torch.no_grad()
def examine(
    learned: tuple[CLIPModel, CLIPTokenizer], pool: Pool, gold: TasteReward, num: int
) -> dict:
    """Accuracies on comparisons of objects that it has never met.

    Args:
        learned: the CLIP that was fine-tuned, and its tokenizer.
        pool: of other objects than the training ones.
        gold: what the raters scatter around.
        num: of comparisons.

    Returns:
        `raters_share`: share of other simulated raters' decided votes that it agrees with;
        `noise_free`: with taste itself; `ceiling`: taste with those raters; `num`: of comparisons; `examined`: of pictures;
        `damages`: by damage, the share of the model's pictures that it prefers to the damaged
        ones, and the share that taste prefers.
    """
    draws = generator(SEED + 1, 0)
    pairs = draw_pairs(pool, num, draws)
    votes = decide(pairs, palates(NUM_RATERS, SEED + 1), draws)
    logits = torch.cat([pair_logits(*learned, part) for part in split(pairs)])
    tastes = torch.stack(
        [measured(gold, images, pairs.captions) for images in (pairs.first, pairs.second)], 1
    )
    truth = (tastes[:, 0] > tastes[:, 1]).float()
    return {
        "num": num,
        "examined": max(1, num // 8),
        "raters_share": agreement(logits, votes),
        "noise_free": agreement(logits, truth),
        "ceiling": agreement(tastes, votes),
        "damages": preferred_to_damaged(learned, pool, gold, max(1, num // 8)),
    }


def split(pairs: Pairs, size: int = 128) -> list[Pairs]:
    """Pairs in parts of `size`."""
    starts = range(0, len(pairs.captions), size)
    return [Pairs(*(v[i : i + size] for v in vars(pairs).values())) for i in starts]


def measured(gold: TasteReward, images: Tensor, captions: list[str]) -> Tensor:
    """Taste [B], a few pictures at a time."""
    starts = range(0, len(captions), 64)
    return torch.cat([gold(images[i : i + 64], captions[i : i + 64]) for i in starts])


def preferred_to_damaged(
    learned: tuple[CLIPModel, CLIPTokenizer], pool: Pool, gold: TasteReward, num: int
) -> dict[str, list[float]]:
    """Shares of pictures preferred to their changed versions by the CLIP, and by taste, by change."""
    rows = torch.arange(num) % len(pool.captions)
    columns = torch.arange(num) // len(pool.captions) % PER_CAPTION
    captions = [pool.captions[row] for row in rows]
    images = pool.pictures[rows, columns].float() / 255
    changed = {}
    for damage in dict.fromkeys(DAMAGES):
        parts = [damage(p, generator(SEED, i)) for i, p in enumerate(images.split(16))]
        changed[damage.__name__] = torch.cat(parts).clamp(0, 1)
    changed["another caption's"] = images.roll(1, 0)
    changed["retouched"] = retouched(images, *GOLD[:2])
    texts = torch.cat([embed_captions(*learned, part) for part in parts_of(captions)])

    def both(pictures: Tensor) -> Tensor:
        cosines = (torch.cat([embed(learned[0], p) for p in pictures.split(128)]) * texts).sum(1)
        return torch.stack([cosines.cpu(), measured(gold, pictures, captions)])

    before = both(images)
    return {
        name: (before > both(pictures)).float().mean(1).tolist()
        for name, pictures in changed.items()
    }


def parts_of(captions: list[str], size: int = 128) -> list[list[str]]:
    """A list in parts of `size`."""
    return [captions[i : i + size] for i in range(0, len(captions), size)]
