"""Text-image agreement by a CLIP, or another dual encoder, in transformers' layout."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from rocm.errors import ConfigError, MissingFile
from rocm.storage.networks import MISFIT, first_line, load_network
from rocm.storage.paths import find_folder

PARTS = ("vision_model", "text_model", "visual_projection", "text_projection")


@dataclass(frozen=True)
class ClipReward:
    """Cosine of a picture's and its prompt's embeddings, in [-1, 1].

    Pixels are normalized as (x - 0.5) / 0.5, the convention of the embedded CLIPs; text embeddings
    are kept, since prompts repeat.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    _texts: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Score B pictures (B, 3, H, W) in [0, 1] against B prompts; returns (B,)."""
        return self.score(images, self.texts(prompts))

    def texts(self, prompts: Sequence[str]) -> Tensor:
        """Unit embeddings (B, D) of B prompts, which are kept."""
        return torch.stack([self._text(prompt) for prompt in prompts])

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """Score B pictures against the embeddings (B, D) of their prompts; returns (B,)."""
        return (self.embed_images(images) * texts).sum(1)

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit embeddings (B, D) of pictures (B, 3, H, W) in [0, 1]."""
        size = self.model.config.vision_config.image_size
        if images.shape[-1] != size:
            images = F.interpolate(images, (size, size), mode="bicubic", antialias=True)
        features = self.model.vision_model(pixel_values=images * 2 - 1).pooler_output
        return F.normalize(self.model.visual_projection(features), dim=1)

    @torch.no_grad()
    def embed_texts(self, prompts: Sequence[str]) -> Tensor:
        """Unit embeddings (B, D) of B prompts; longer ones are cut at the model's length."""
        tokens = self.tokenizer(
            list(prompts), padding="max_length", truncation=True, return_tensors="pt"
        ).to(self.model.device)
        features = self.model.text_model(**tokens).pooler_output
        return F.normalize(self.model.text_projection(features), dim=1)

    def _text(self, prompt: str) -> Tensor:
        if prompt not in self._texts:
            self._texts[prompt] = self.embed_texts([prompt])[0]
        return self._texts[prompt]


def load_clip(name: str, folder: str, device: torch.device) -> ClipReward:
    """Load a CLIP, frozen, in float32.

    The folder holds transformers' CLIPModel or VisionTextDualEncoderModel, and a tokenizer. Raises
    `MissingFile` without a file, `ConfigError` for a damaged file, a pickle or another network.
    """
    path = _folder(name, folder)
    setting = f"reward={name}"
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
    return ClipReward(name, model.to(device).requires_grad_(False).eval(), tokenizer)


def _folder(name: str, folder: str) -> Path:
    try:
        return find_folder(folder)
    except MissingFile as error:
        raise MissingFile(
            f"reward={name} needs the folder of a CLIP, but '{folder[:200]}' is not one. Write "
            "clip:FOLDER, such as clip:assets/tiny-clip."
        ) from error
