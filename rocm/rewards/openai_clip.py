"""PickScore (arXiv 2305.01569), CLIPScore and LAION's aesthetic predictor, on transformers' CLIP.

All take the center of a picture and OpenAI's tokens, which open_clip carries, so no tokenizer is
needed from the hub.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import safe_open
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from rocm.errors import ConfigError
from rocm.rewards.base import Recordable
from rocm.rewards.checkpoint import fit, read_state
from rocm.rewards.preprocess import crop
from rocm.rewards.tower import MICRO_BATCH, CosineReward, Head, freeze, score_in_micro_batches, unit

# CLIPScore and Aesthetic stand on one tower, which is loaded once while either lives.
_LOADED: WeakValueDictionary[tuple[Path, torch.device, torch.dtype], CLIPModel] = (
    WeakValueDictionary()
)
# Constants of each attention, stored by older releases of transformers.
_STALE = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")


@dataclass(frozen=True)
class ClipEncoder:
    """A CLIP of transformers behind CLIP's own picture preparation; embeddings as in `Encoder`."""

    model: CLIPModel

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit embeddings (B, D) of pictures (B, 3, H, W) in [0, 1]."""
        pixels = crop(images, self.model.config.vision_config.image_size)
        features = self.model.vision_model(pixel_values=pixels.to(self.model.dtype)).pooler_output
        return unit(self.model.visual_projection(features))

    def embed_texts(self, prompts: Sequence[str]) -> Tensor:
        """Unit embeddings (B, D) of B prompts, cut at the model's length."""
        import open_clip

        length = self.model.config.text_config.max_position_embeddings
        tokens = open_clip.tokenize(list(prompts), length).to(self.model.device)
        return unit(self.model.text_projection(self.model.text_model(tokens).pooler_output))


@dataclass(frozen=True)
class AestheticReward(Recordable):
    """LAION's predictor of a 1 to 10 rating, from the picture alone.

    An affine function of the unit CLIP embedding, so a picture's rating can leave 1 to 10.
    """

    name: str
    encoder: ClipEncoder
    head: Head
    micro_batch: int = MICRO_BATCH

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """Score B pictures (B, 3, H, W) in [0, 1]; returns (B,)."""
        return score_in_micro_batches(self._score, images, texts, self.micro_batch)

    def _score(self, images: Tensor, texts: Tensor) -> Tensor:
        return self.head(self.encoder.embed_images(images))


def load_clip_encoder(
    paths: Sequence[Path], device: torch.device, dtype: torch.dtype
) -> ClipEncoder:
    """A frozen CLIP of `model.safetensors` and `config.json`; the same file is loaded once only."""
    weights, config = paths
    key = (weights, device, dtype)
    model = _LOADED.get(key)
    if model is None:
        model, state = CLIPModel(_read_config(config)), read_state(weights)
        fit(model, {name: state[name] for name in state if name not in _STALE}, weights)
        _LOADED[key] = freeze(model, device, dtype)
    return ClipEncoder(model)


def load_cosine(
    name: str, paths: Sequence[Path], device: torch.device, dtype: torch.dtype
) -> CosineReward:
    """Load CLIPScore as ImageReward's package has it: the plain cosine."""
    return CosineReward(name, load_clip_encoder(paths, device, dtype))


def load_pickscore(
    name: str, paths: Sequence[Path], device: torch.device, dtype: torch.dtype
) -> CosineReward:
    """Load PickScore: the cosine times exp(logit scale), about 100."""
    encoder = load_clip_encoder(paths, device, dtype)
    # From the file: in bfloat16 the scale itself would be off by up to 0.4 %.
    with safe_open(paths[0], "pt") as file:
        scale = file.get_tensor("logit_scale").float().exp().item()
    return CosineReward(name, encoder, scale)


def load_aesthetic(
    name: str, paths: Sequence[Path], device: torch.device, dtype: torch.dtype
) -> AestheticReward:
    """Load the aesthetic predictor from its head, in float32, and a CLIP's files."""
    encoder = load_clip_encoder(paths[1:], device, dtype)
    head = Head(encoder.model.config.projection_dim)
    fit(head, read_state(paths[0]), paths[0])
    return AestheticReward(name, encoder, freeze(head, device, torch.float32))


def _read_config(path: Path) -> CLIPConfig:
    try:
        return CLIPConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, StrictDataclassError) as error:
        raise ConfigError(
            f"{path} is not the configuration of a CLIP. Delete it and download it again."
        ) from error
