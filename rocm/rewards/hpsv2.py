"""HPSv2 (arXiv 2306.09341): the cosine of an OpenCLIP ViT-H/14 that was trained on preferences.

The score is the plain cosine, without logit scale; benchmark tables multiply it by 100. Versions
2.0 and 2.1 are different weights, whose values cannot be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rocm.rewards.checkpoint import fit, read_state
from rocm.rewards.preprocess import pad
from rocm.rewards.tower import CosineReward, freeze, unit

ARCHITECTURE = "ViT-H-14"


@dataclass(frozen=True)
class OpenClipEncoder:
    """A CLIP of open_clip behind HPSv2's picture preparation; embeddings as in `Encoder`."""

    model: Any  # open_clip.CLIP

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit embeddings (B, D) of pictures (B, 3, H, W) in [0, 1]."""
        pixels = pad(images, self.model.visual.image_size[0])
        return unit(self.model.encode_image(pixels.to(self.model.logit_scale.dtype)))

    def embed_texts(self, prompts: Sequence[str]) -> Tensor:
        """Unit embeddings (B, D) of B prompts, cut at 77 tokens."""
        import open_clip

        tokens = open_clip.tokenize(list(prompts), self.model.context_length)
        return unit(self.model.encode_text(tokens.to(self.model.logit_scale.device)))


def load_hpsv2(
    name: str,
    paths: Sequence[Path],
    device: torch.device,
    dtype: torch.dtype,
    architecture: dict[str, Any] | None = None,
) -> CosineReward:
    """Load HPSv2, frozen; `architecture` is open_clip's configuration, None for ViT-H-14."""
    import open_clip

    (path,) = paths
    state = read_state(path, "state_dict")
    model = open_clip.CLIP(**(architecture or open_clip.get_model_config(ARCHITECTURE)))
    fit(model, state, path)
    return CosineReward(name, OpenClipEncoder(freeze(model, device, dtype)))
