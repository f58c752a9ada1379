"""Random weights in the layout of the published checkpoints, at any size: to test what reads them.

Keys and shapes are written out here from the original code, not derived from our networks.
"""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from rocm.rewards.blip import BlipSizes

Shape = tuple[str, tuple[int, ...]]
HEAD_LAYERS = {0: 1024, 2: 128, 4: 64, 6: 16, 7: 1}


def write_hpsv2(path: Path, architecture: dict[str, Any], seed: int) -> None:
    """Write HPSv2's file: float16 under `state_dict`, as the compressed checkpoints.

    Args:
        path: of the file.
        architecture: open_clip's model configuration.
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = open_clip.CLIP(**architecture).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {key: value.half() for key, value in state.items()}}, path)


def write_clip(folder: Path, config: CLIPConfig, seed: int, prefix: str = "") -> None:
    """Write `model.safetensors` and `config.json`, with the constants that older files hold.

    Args:
        folder: of the files.
        config: of the CLIP.
        seed: of the weights.
        prefix: in front of every key, to make a file of another model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config)
    state = {prefix + key: value.contiguous() for key, value in model.state_dict().items()}
    for tower in ("text", "vision"):
        module = getattr(model, f"{tower}_model")
        state[f"{prefix}{tower}_model.embeddings.position_ids"] = module.embeddings.position_ids
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config.to_dict()))


def write_head(path: Path, width: int, seed: int) -> None:
    """Write the aesthetic head's file: keys `layers.0.weight` to `layers.7.bias`, float32.

    Args:
        path: of the file.
        width: of the features.
        seed: of the weights.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(random_state(_head("", width), seed), path)


def write_imagereward(path: Path, sizes: BlipSizes, seed: int) -> None:
    """Write ImageReward's file: a bare state with `blip.` and `mlp.` keys, float32.

    Args:
        path: of the file.
        sizes: of the towers.
        seed: of the weights.
    """
    shapes = [("blip." + key, shape) for key, shape in _blip(sizes)]
    state = random_state([*shapes, *_head("mlp.", sizes.text_width)], seed)
    state["blip.text_encoder.embeddings.position_ids"] = torch.arange(512)[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)


def write_blip(path: Path, sizes: BlipSizes, seed: int) -> None:
    """Write BLIP's file: under `model`, beside a copy with momentum and a queue.

    Args:
        path: of the file.
        sizes: of the towers.
        seed: of the weights.
    """
    state = random_state(_blip(sizes), seed)
    state["text_encoder.embeddings.position_ids"] = torch.arange(512)[None]
    state["vision_proj_m.weight"] = state["vision_proj.weight"].clone()
    state["image_queue"] = torch.zeros(sizes.embedding, 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": state}, path)


def write_vocabulary(path: Path, length: int) -> None:
    """Write a BERT vocabulary of single characters: BERT's special ids, but not its words' ids.

    Args:
        path: of `vocab.txt`.
        length: lines, 200 at least.
    """
    characters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
    words = ["[PAD]", *(f"[unused{number}]" for number in range(99))]
    words += ["[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *("##" + c for c in characters)]
    words += [f"[unused{number}]" for number in range(99, 99 + length - len(words))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(words) + "\n")


def random_state(shapes: Iterable[Shape], seed: int) -> dict[str, Tensor]:
    """Normal weights that neither blow up nor die out on the way; those of norms lie around 1.

    Args:
        shapes: by key.
        seed: of the draw.

    Returns:
        Tensor by key.
    """
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes:
        value = torch.randn(shape, generator=generator)
        is_matrix = key.endswith("weight") and len(shape) > 1 and "embeddings" not in key
        gain = 1.5 if is_matrix else 0.3
        if "query" in key or "key" in key:
            gain *= 4  # attention that prefers some words; an even one would hide the prompt
        value *= gain / math.sqrt(math.prod(shape[1:]) if is_matrix else 1)
        is_norm = "norm" in key.lower() and key.endswith("weight")
        state[key] = value + 1 if is_norm else value
    return state


def _head(prefix: str, width: int) -> Iterator[Shape]:
    for number, rows in HEAD_LAYERS.items():
        yield from _linear(f"{prefix}layers.{number}", rows, width)
        width = rows


def _blip(sizes: BlipSizes) -> Iterator[Shape]:
    yield from _vision(sizes)
    yield from _text(sizes)
    yield from _linear("vision_proj", sizes.embedding, sizes.vision_width)
    yield from _linear("text_proj", sizes.embedding, sizes.text_width)


def _vision(sizes: BlipSizes) -> Iterator[Shape]:
    name, width, patch = "visual_encoder", sizes.vision_width, sizes.patch_size
    yield f"{name}.cls_token", (1, 1, width)
    yield f"{name}.pos_embed", (1, 1 + (sizes.image_size // patch) ** 2, width)
    yield f"{name}.patch_embed.proj.weight", (width, 3, patch, patch)
    yield f"{name}.patch_embed.proj.bias", (width,)
    for number in range(sizes.vision_layers):
        block = f"{name}.blocks.{number}"
        yield from _norm(f"{block}.norm1", width)
        yield from _linear(f"{block}.attn.qkv", 3 * width, width)
        yield from _linear(f"{block}.attn.proj", width, width)
        yield from _norm(f"{block}.norm2", width)
        yield from _linear(f"{block}.mlp.fc1", 4 * width, width)
        yield from _linear(f"{block}.mlp.fc2", width, 4 * width)
    yield from _norm(f"{name}.norm", width)


def _text(sizes: BlipSizes) -> Iterator[Shape]:
    name, width = "text_encoder", sizes.text_width
    yield f"{name}.embeddings.word_embeddings.weight", (sizes.vocabulary, width)
    yield f"{name}.embeddings.position_embeddings.weight", (512, width)
    yield from _norm(f"{name}.embeddings.LayerNorm", width)
    for number in range(sizes.text_layers):
        layer = f"{name}.encoder.layer.{number}"
        yield from _attention(f"{layer}.attention", width, width)
        yield from _attention(f"{layer}.crossattention", width, sizes.vision_width)
        yield from _linear(f"{layer}.intermediate.dense", 4 * width, width)
        yield from _linear(f"{layer}.output.dense", width, 4 * width)
        yield from _norm(f"{layer}.output.LayerNorm", width)


def _attention(name: str, width: int, seen_width: int) -> Iterator[Shape]:
    yield from _linear(f"{name}.self.query", width, width)
    yield from _linear(f"{name}.self.key", width, seen_width)
    yield from _linear(f"{name}.self.value", width, seen_width)
    yield from _linear(f"{name}.output.dense", width, width)
    yield from _norm(f"{name}.output.LayerNorm", width)


def _linear(name: str, rows: int, columns: int) -> Iterator[Shape]:
    yield f"{name}.weight", (rows, columns)
    yield f"{name}.bias", (rows,)


def _norm(name: str, width: int) -> Iterator[Shape]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
