"""Shared parts of the published rewards: precision, micro-batches, cosines, heads.

The networks ("towers") compute in the number format of their weights, bfloat16 on CUDA; what comes
after - norms, products, scales, heads - computes in float32, where a cosine near 0.28 is not
rounded to steps of 0.002.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from rocm.rewards.base import Recordable
from rocm.rewards.preprocess import full_precision

MICRO_BATCH = 8
Network = TypeVar("Network", bound=nn.Module)


class Encoder(Protocol):
    """A picture tower and a text tower with a common space."""

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit embeddings (B, D), float32, of pictures (B, 3, H, W) in [0, 1]."""
        ...

    def embed_texts(self, prompts: Sequence[str]) -> Tensor:
        """Unit embeddings (B, D), float32, of B prompts."""
        ...


def unit(features: Tensor) -> Tensor:
    """Rows scaled to length 1, in float32 at least: (B, D) to (B, D)."""
    return F.normalize(full_precision(features), dim=1)


def score_in_micro_batches(
    score: Callable[[Tensor, Any], Tensor],
    images: Tensor,
    prompts: Sequence[str] | Tensor,
    micro_batch: int,
) -> Tensor:
    """Score pictures a few at a time; scores and gradients are those of the whole batch.

    A batch of several parts keeps only what it is given for backward and computes each part again
    there, so its memory is that of one part. `prompts` are B texts, or their features, (B, D).
    """
    assert images.ndim == 4, f"pictures are (B, 3, H, W), not {tuple(images.shape)}"
    assert images.shape[1] == 3, f"pictures have 3 channels, not {images.shape[1]}"
    assert len(prompts) == len(images), f"{len(images)} pictures, {len(prompts)} prompts"
    with torch.autocast(images.device.type, enabled=False):
        if len(images) <= micro_batch:
            return score(images, prompts)
        bounds = [*range(0, len(images), micro_batch), len(images)]
        parts = [(images[a:b], prompts[a:b]) for a, b in pairwise(bounds)]
        return torch.cat(
            [
                checkpoint(score, *part, use_reentrant=False, preserve_rng_state=False)
                for part in parts
            ]
        )


@dataclass(frozen=True)
class CosineReward(Recordable):
    r"""Scaled cosine of a picture's and its prompt's embeddings.

    .. math:: r(x, c) = s \, \langle f(x), g(c) \rangle

    Embeddings of prompts are kept, since prompts repeat and do not depend on what is trained.
    `micro_batch` is the most pictures that the towers see at once.
    """

    name: str
    encoder: Encoder
    scale: float = 1.0
    micro_batch: int = MICRO_BATCH
    _texts: dict[str, Tensor] = field(default_factory=dict)

    def texts(self, prompts: Sequence[str]) -> Tensor:
        """Unit embeddings (B, D) of B prompts, which are kept."""
        return torch.stack([self._text(prompt) for prompt in prompts])

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """As the call, against the embeddings (B, D) of the prompts."""
        return score_in_micro_batches(self._against, images, texts, self.micro_batch)

    def _against(self, images: Tensor, texts: Tensor) -> Tensor:
        return self.scale * (self.encoder.embed_images(images) * texts).sum(1)

    @torch.no_grad()
    def _text(self, prompt: str) -> Tensor:
        if prompt not in self._texts:
            self._texts[prompt] = self.encoder.embed_texts([prompt])[0]
        return self._texts[prompt]


class Head(nn.Module):
    """Five linear layers without activation, width to 1, in float32 (Aesthetic, ImageReward)."""

    def __init__(self, width: int):
        """Random weights for features of `width`."""
        super().__init__()
        # The published keys count the dropouts, which do nothing in evaluation.
        dropout = nn.Identity
        self.layers = nn.Sequential(
            nn.Linear(width, 1024),
            dropout(),
            nn.Linear(1024, 128),
            dropout(),
            nn.Linear(128, 64),
            dropout(),
            nn.Linear(64, 16),
            nn.Linear(16, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, width) to (B,)."""
        return self.layers(full_precision(features))[:, 0]


def freeze(network: Network, device: torch.device, dtype: torch.dtype) -> Network:
    """The network on the device, in evaluation mode, without gradients of its own weights."""
    return network.to(device, dtype).eval().requires_grad_(False)
