"""BLIP written out by hand on the keys of its own checkpoint: what ours is compared with.

One picture and one prompt at a time, without padding, so no mask is needed where ours masks.
"""

import torch
from torch.nn import functional as F


def linear(x, state, name):
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def norm(x, state, name, epsilon):
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, correction=0, keepdim=True)
    normal = (x - mean) / (variance + epsilon).sqrt()
    return normal * state[f"{name}.weight"] + state[f"{name}.bias"]


def attend(query, key, value, num_heads):
    """Every head by itself: (T, D), (S, D), (S, D) to (T, D)."""
    heads = zip(*(x.chunk(num_heads, 1) for x in (query, key, value)), strict=True)
    return torch.cat([(q @ k.T / q.shape[1] ** 0.5).softmax(1) @ v for q, k, v in heads], 1)


def see(pixels, state, sizes):
    """Features (1 + patches, D) of prepared pixels (3, H, W)."""
    name = "visual_encoder"
    weight, bias = (state[f"{name}.patch_embed.proj.{kind}"] for kind in ("weight", "bias"))
    patches = F.unfold(pixels[None], sizes.patch_size, stride=sizes.patch_size)[0].T
    x = torch.cat([state[f"{name}.cls_token"][0], patches @ weight.flatten(1).T + bias])
    x = x + state[f"{name}.pos_embed"][0]
    for number in range(sizes.vision_layers):
        block = f"{name}.blocks.{number}"
        before = norm(x, state, f"{block}.norm1", 1e-6)
        q, k, v = linear(before, state, f"{block}.attn.qkv").chunk(3, 1)
        x = x + linear(attend(q, k, v, sizes.vision_heads), state, f"{block}.attn.proj")
        inner = linear(norm(x, state, f"{block}.norm2", 1e-6), state, f"{block}.mlp.fc1")
        x = x + linear(F.gelu(inner), state, f"{block}.mlp.fc2")
    return norm(x, state, f"{name}.norm", 1e-6)


def read(ids, state, sizes, seen=None):
    """Feature (D,) of the first of the tokens (T,), which may look at a picture's features."""
    name = "text_encoder.embeddings"
    x = state[f"{name}.word_embeddings.weight"][ids]
    x = x + state[f"{name}.position_embeddings.weight"][: len(ids)]
    x = norm(x, state, f"{name}.LayerNorm", 1e-12)
    for number in range(sizes.text_layers):
        layer = f"text_encoder.encoder.layer.{number}"
        x = look(x, x, state, f"{layer}.attention")
        if seen is not None:
            x = look(x, seen, state, f"{layer}.crossattention")
        inner = F.gelu(linear(x, state, f"{layer}.intermediate.dense"))
        x = x + linear(inner, state, f"{layer}.output.dense")
        x = norm(x, state, f"{layer}.output.LayerNorm", 1e-12)
    return x[0]


def look(x, at, state, name):
    q = linear(x, state, f"{name}.self.query")
    k, v = (linear(at, state, f"{name}.self.{kind}") for kind in ("key", "value"))
    attended = linear(attend(q, k, v, 12), state, f"{name}.output.dense")  # BERT-base: 12 heads
    return norm(attended + x, state, f"{name}.output.LayerNorm", 1e-12)


def imagereward(pixels, ids, state, sizes):
    blip = {key.removeprefix("blip."): value for key, value in state.items()}
    x = read(ids, blip, sizes, see(pixels, blip, sizes))
    for number in (0, 2, 4, 6, 7):
        x = linear(x, state, f"mlp.layers.{number}")
    return (x - 0.16717362830052426) / 1.0333394966054072


def blipscore(pixels, ids, state, sizes):
    picture = linear(see(pixels, state, sizes)[:1], state, "vision_proj")
    text = linear(read(ids, state, sizes)[None], state, "text_proj")
    return F.cosine_similarity(picture, text)
