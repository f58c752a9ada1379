"""Rewards by a CLIP of transformers: of a folder, and those that others have published.

Published are PickScore (arXiv 2305.01569), CLIPScore and LAION's aesthetic predictor. They take the
center of a picture and OpenAI's tokens, which open_clip carries, so no tokenizer is needed from the
hub. A folder's CLIP takes the whole picture, normalized as (x - 0.5) / 0.5, and its own tokenizer.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer, CLIPConfig, CLIPModel

from rocm.errors import ConfigError, MissingFile
from rocm.rewards.base import Recordable
from rocm.rewards.checkpoint import fit, read_state
from rocm.rewards.preprocess import crop
from rocm.rewards.tower import MICRO_BATCH, CosineReward, Head, freeze, score_in_micro_batches, unit
from rocm.storage.networks import MISFIT, first_line, load_network
from rocm.storage.paths import find_folder

PARTS = ("vision_model", "text_model", "visual_projection", "text_projection")
# CLIPScore and Aesthetic stand on one tower, which is loaded once while either lives.
_LOADED: WeakValueDictionary[tuple[Path, torch.device, torch.dtype], CLIPModel] = (
    WeakValueDictionary()
)
# Constants of each attention, stored by older releases of transformers.
_STALE = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")


@dataclass(frozen=True)
class ClipEncoder:
    """A CLIP, or another dual encoder with its layout; embeddings as in `Encoder`.

    `prepare` gives pixels for the tower of pictures, of pictures and its size; `tokenize` the
    arguments of the tower of texts, of prompts, which it cuts at the model's length.
    """

    model: CLIPModel
    prepare: Callable[[Tensor, int], Tensor]
    tokenize: Callable[[list[str]], Mapping[str, Tensor]]

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit embeddings (B, D) of pictures (B, 3, H, W) in [0, 1]."""
        pixels = self.prepare(images, self.model.config.vision_config.image_size)
        features = self.model.vision_model(pixel_values=pixels.to(self.model.dtype)).pooler_output
        return unit(self.model.visual_projection(features))

    def embed_texts(self, prompts: Sequence[str]) -> Tensor:
        """Unit embeddings (B, D) of B prompts."""
        tokens = self.tokenize(list(prompts)).items()
        there = {name: value.to(self.model.device) for name, value in tokens}
        return unit(self.model.text_projection(self.model.text_model(**there).pooler_output))


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


def load_clip(name: str, folder: str, device: torch.device) -> CosineReward:
    """Load a folder's CLIP, frozen, in float32; it sees all pictures of a batch at once.

    The folder holds transformers' CLIPModel or VisionTextDualEncoderModel, and a tokenizer. Raises
    `MissingFile` without a file, `ConfigError` for a damaged file, a pickle or another network.
    """
    setting = f"reward={name}"
    try:
        path = find_folder(folder)
    except MissingFile as error:
        raise MissingFile(
            f"{setting} needs the folder of a CLIP, but '{folder[:200]}' is not one. Write "
            "clip:FOLDER, such as clip:assets/tiny-clip."
        ) from error
    model = load_network(AutoModel, path, setting, torch.float32)
    if not all(hasattr(model, part) for part in PARTS):
        raise ConfigError(
            f"{setting}: {path} holds a {type(model).__name__} and no CLIP. Give a folder of "
            "transformers' CLIPModel or VisionTextDualEncoderModel."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, *MISFIT) as error:
        raise MissingFile(f"{setting}: no tokenizer in {path}: {first_line(error)}.") from error
    tokenize = partial(tokenizer, padding="max_length", truncation=True, return_tensors="pt")
    encoder = ClipEncoder(freeze(model, device, torch.float32), _whole, tokenize)
    return CosineReward(name, encoder, micro_batch=sys.maxsize)


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
    length = model.config.text_config.max_position_embeddings
    return ClipEncoder(model, crop, partial(_openai_tokens, length=length))


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


def _openai_tokens(prompts: list[str], length: int) -> dict[str, Tensor]:
    import open_clip

    return {"input_ids": open_clip.tokenize(prompts, length)}


def _whole(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] != size:
        images = F.interpolate(images, (size, size), mode="bicubic", antialias=True)
    return images * 2 - 1
