"""Text-image agreement by a CLIP, or another dual encoder, in transformers' layout."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from rocm.errors import ConfigError, MissingFile
from rocm.rewards.tower import CosineReward, freeze, unit
from rocm.storage.networks import MISFIT, first_line, load_network
from rocm.storage.paths import find_folder

PARTS = ("vision_model", "text_model", "visual_projection", "text_projection")


@dataclass(frozen=True)
class FolderEncoder:
    """A CLIP of a folder, with its tokenizer; embeddings as in `Encoder`.

    Pixels are normalized as (x - 0.5) / 0.5, the convention of the embedded CLIPs.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit embeddings (B, D) of pictures (B, 3, H, W) in [0, 1]."""
        size = self.model.config.vision_config.image_size
        if images.shape[-1] != size:
            images = F.interpolate(images, (size, size), mode="bicubic", antialias=True)
        features = self.model.vision_model(pixel_values=images * 2 - 1).pooler_output
        return unit(self.model.visual_projection(features))

    @torch.no_grad()
    def embed_texts(self, prompts: Sequence[str]) -> Tensor:
        """Unit embeddings (B, D) of B prompts; longer ones are cut at the model's length."""
        tokens = self.tokenizer(
            list(prompts), padding="max_length", truncation=True, return_tensors="pt"
        ).to(self.model.device)
        features = self.model.text_model(**tokens).pooler_output
        return unit(self.model.text_projection(features))


def load_clip(name: str, folder: str, device: torch.device) -> CosineReward:
    """Load a CLIP, frozen, in float32; it sees all pictures of a batch at once.

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
    encoder = FolderEncoder(freeze(model, device, torch.float32), tokenizer)
    return CosineReward(name, encoder, micro_batch=sys.maxsize)
