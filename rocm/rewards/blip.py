"""ImageReward (arXiv 2304.05977) and BLIPScore, on transformers' BLIP.

The original code is not importable with today's transformers; its checkpoints' keys are renamed to
theirs. The text tower has 12 heads, where transformers' default of 8 has the same shapes and gives
wrong scores without a word.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    BertTokenizer,
    BlipTextConfig,
    BlipTextModel,
    BlipVisionConfig,
    BlipVisionModel,
)

from rocm.errors import ConfigError
from rocm.rewards.checkpoint import fit, read_state
from rocm.rewards.preprocess import crop
from rocm.rewards.tower import MICRO_BATCH, CosineReward, Head, freeze, score_in_micro_batches, unit

NUM_TOKENS = 35
# Mean and deviation of the raw score over ImageReward's training data.
MEAN, DEVIATION = 0.16717362830052426, 1.0333394966054072

_KEYS_IN_FILE = (
    (r"\bvision\.embeddings\.patch_embedding\.", "visual_encoder.patch_embed.proj."),
    (r"\bvision\.embeddings\.class_embedding$", "visual_encoder.cls_token"),
    (r"\bvision\.embeddings\.position_embedding$", "visual_encoder.pos_embed"),
    (r"\bvision\.post_layernorm\.", "visual_encoder.norm."),
    (r"\bvision\.encoder\.layers\.(\d+)\.", r"visual_encoder.blocks.\1."),
    (r"(blocks\.\d+)\.layer_norm([12])\.", r"\1.norm\2."),
    (r"(blocks\.\d+)\.self_attn\.qkv\.", r"\1.attn.qkv."),
    (r"(blocks\.\d+)\.self_attn\.projection\.", r"\1.attn.proj."),
    (r"\btext\.", "text_encoder."),
)
# Others in a BLIP checkpoint: copies with momentum, queues, decoder, matching head.
_USED = ("visual_encoder.", "text_encoder.", "vision_proj.", "text_proj.")
_STALE = "text_encoder.embeddings.position_ids"  # a constant that older releases stored


@dataclass(frozen=True)
class BlipSizes:
    """Sizes of a BLIP; the defaults are BLIP-large at 224 pixels, with BERT-base."""

    image_size: int = 224
    patch_size: int = 16
    vision_width: int = 1024
    vision_layers: int = 24
    vision_heads: int = 16
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    vocabulary: int = 30524
    embedding: int = 256


LARGE = BlipSizes()


class BlipTowers(nn.Module):
    """BLIP's picture tower, text tower and projections into the common space."""

    def __init__(self, sizes: BlipSizes):
        """Random weights in towers of these sizes."""
        super().__init__()
        self.vision = BlipVisionModel(
            BlipVisionConfig(
                hidden_size=sizes.vision_width,
                intermediate_size=4 * sizes.vision_width,
                num_hidden_layers=sizes.vision_layers,
                num_attention_heads=sizes.vision_heads,
                image_size=sizes.image_size,
                patch_size=sizes.patch_size,
                layer_norm_eps=1e-6,
            )
        )
        # is_decoder builds the attention to the picture; forward(is_decoder=False) leaves the
        # attention between words bidirectional.
        config = BlipTextConfig(
            hidden_size=sizes.text_width,
            encoder_hidden_size=sizes.vision_width,
            intermediate_size=4 * sizes.text_width,
            num_hidden_layers=sizes.text_layers,
            num_attention_heads=sizes.text_heads,
            vocab_size=sizes.vocabulary,
            layer_norm_eps=1e-12,
            is_decoder=True,
        )
        self.text = BlipTextModel(config, add_pooling_layer=False)
        self.vision_proj = nn.Linear(sizes.vision_width, sizes.embedding)
        self.text_proj = nn.Linear(sizes.text_width, sizes.embedding)


@dataclass(frozen=True)
class BlipEncoder:
    """A BLIP with its tokenizer; embeddings as in `Encoder`."""

    towers: BlipTowers
    tokenizer: BertTokenizer

    def see(self, images: Tensor) -> Tensor:
        """Features (B, 1 + patches, D) of pictures (B, 3, H, W) in [0, 1]."""
        vision = self.towers.vision
        pixels = crop(images, vision.config.image_size)
        # Not pooler_output, which passes the last norm twice.
        return vision(pixel_values=pixels.to(vision.dtype)).last_hidden_state

    def read(self, prompts: Sequence[str], seen: Tensor | None = None) -> Tensor:
        """Features (B, D) of B prompts, looking at the pictures' features where given."""
        tokens = self.tokenizer(
            list(prompts),
            padding="max_length",
            truncation=True,
            max_length=NUM_TOKENS,
            return_tensors="pt",
        ).to(self.towers.text.device)
        answer = self.towers.text(
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            encoder_hidden_states=seen,
            is_decoder=False,
        )
        return answer.last_hidden_state[:, 0]

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit embeddings (B, D) of pictures (B, 3, H, W) in [0, 1]."""
        return unit(self.towers.vision_proj(self.see(images)[:, 0]))

    def embed_texts(self, prompts: Sequence[str]) -> Tensor:
        """Unit embeddings (B, D) of B prompts, cut at 35 tokens."""
        return unit(self.towers.text_proj(self.read(prompts)))


@dataclass(frozen=True)
class ImageReward:
    r"""ImageReward: how much people like a picture of its prompt, standardized, about -2.3 to 2.

    .. math:: r(x, c) = (\mathrm{head}(h(x, c)) - 0.1672) / 1.0333

    h is the first token's feature of the text tower, which looks at the picture; so nothing about a
    prompt can be kept. `micro_batch` is the most pictures that the towers see at once.
    """

    name: str
    encoder: BlipEncoder
    head: Head
    micro_batch: int = MICRO_BATCH

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Score B pictures (B, 3, H, W) in [0, 1] against B prompts; returns (B,), float32."""
        return score_in_micro_batches(self._score, images, prompts, self.micro_batch)

    def _score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        features = self.encoder.read(prompts, self.encoder.see(images))
        return (self.head(features) - MEAN) / DEVIATION


def load_imagereward(
    name: str,
    paths: Sequence[Path],
    device: torch.device,
    dtype: torch.dtype,
    sizes: BlipSizes = LARGE,
) -> ImageReward:
    """Load ImageReward from `ImageReward.pt` and `vocab.txt`; the head is float32. See `Loader`."""
    path, vocabulary = paths
    state = read_state(path)
    state.pop(f"blip.{_STALE}", None)
    towers, head = BlipTowers(sizes), Head(sizes.text_width)
    fit(nn.ModuleDict({"blip": towers, "mlp": head}), state, path, _key_in_file)
    encoder = BlipEncoder(freeze(towers, device, dtype), _tokenizer(vocabulary, sizes))
    return ImageReward(name, encoder, freeze(head, device, torch.float32))


def load_blipscore(
    name: str,
    paths: Sequence[Path],
    device: torch.device,
    dtype: torch.dtype,
    sizes: BlipSizes = LARGE,
) -> CosineReward:
    """Load BLIPScore, the cosine of BLIP's embeddings, from `model_large.pth` and `vocab.txt`."""
    path, vocabulary = paths
    state = read_state(path, "model")
    towers = BlipTowers(sizes)
    state = {key: state[key] for key in state if key.startswith(_USED) and key != _STALE}
    fit(towers, state, path, _key_in_file)
    encoder = BlipEncoder(freeze(towers, device, dtype), _tokenizer(vocabulary, sizes))
    return CosineReward(name, encoder)


def _key_in_file(key: str) -> str:
    for pattern, replacement in _KEYS_IN_FILE:
        key = re.sub(pattern, replacement, key)
    return key


def _tokenizer(vocabulary: Path, sizes: BlipSizes) -> BertTokenizer:
    tokenizer = BertTokenizer.from_pretrained(vocabulary.parent, local_files_only=True)
    # BLIP adds two tokens of its own, which no prompt needs.
    if len(tokenizer) != sizes.vocabulary - 2:
        raise ConfigError(
            f"{vocabulary} has {len(tokenizer):,} words, expected {sizes.vocabulary - 2:,}. "
            "Delete it and download it again."
        )
    return tokenizer
