r"""A reward that was learned from votes: linear in other rewards and in frozen embeddings.

With f = (rewards, their squares, e_I, e_I * e_T) of a picture and its prompt, m the mean of f over
the study's pictures and w_1, ..., w_16 the refits on resampled prompts and raters,

.. math:: \phi = (f - m) P, \qquad
   r = \mathrm{mean}_k\, w_k^T \phi - \lambda\, \mathrm{sd}_k\, w_k^T \phi
       - \max(0, \lVert \phi\, \Sigma^{-1/2} \rVert / \sqrt{D} - q)

The last term is the gate: q is the 99 % quantile of that distance over the study's pictures.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from rocm.errors import ConfigError
from rocm.rewards.base import Reward
from rocm.rewards.checkpoint import read_state
from rocm.rewards.preference_files import RECORD, TENSORS, read_preference
from rocm.rewards.tower import CosineReward
from rocm.storage.files import replace_folder

CAUTION = 1.0
"""lambda, in deviations of the refits."""
BATCH = 32
TOLERANCE = 1e-3
SHAPES = {"mean": 1, "projection": 2, "weights": 2, "whitener": 2, "gate": 0, "probe": 1}


@dataclass(frozen=True)
class Features:
    """f: values of rewards, and the picture's embedding alone and times its prompt's.

    With squares a learned reward may like a middle value best; rewards that were learned before
    0.2 have none.
    """

    rewards: Sequence[Reward]
    embedding: CosineReward
    has_squares: bool = True

    @classmethod
    def of(cls, loaded: Mapping[str, Reward], rewards: Sequence[str], embedding: str) -> "Features":
        """Features from loaded rewards; ConfigError if `embedding` is no CLIP."""
        model = loaded[embedding]
        if not isinstance(model, CosineReward):
            raise ConfigError(
                f"embedding={embedding} is no CLIP. Give a CLIP, such as tiny-clip, hpsv2, "
                "pickscore or clipscore."
            )
        return cls([loaded[name] for name in rewards], model)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """f (B, 2 K + 2 E) of B pictures (B, 3, H, W) in [0, 1] and their prompts."""
        seen = self.embedding.encoder.embed_images(images)
        values = [reward(images, prompts)[:, None] for reward in self.rewards]
        squares = [value.square() for value in values if self.has_squares]
        return torch.cat([*values, *squares, seen, seen * self.embedding.texts(prompts)], 1)

    @torch.no_grad()
    def probe(self, device: torch.device, size: int = 64) -> Tensor:
        """f (2 K + 2 E,) of a fixed picture, which tells whether a network was replaced."""
        x = torch.linspace(0, 1, size, device=device)
        picture = torch.stack([x.expand(size, size), x.expand(size, size).T, x.outer(x)])
        return self(picture[None], ["a red apple"])[0]

    @torch.no_grad()
    def table(self, pictures: Iterator[tuple[Tensor, str]], device: torch.device) -> Tensor:
        """f (M, 2 K + 2 E) of pictures (3, H, W) with their prompts, on the CPU."""
        rows = []
        while some := list(islice(pictures, BATCH)):
            images, prompts = zip(*some, strict=True)
            rows.append(self(torch.stack(images).to(device), prompts).cpu())
        return torch.cat(rows)


@dataclass(frozen=True)
class PreferenceReward:
    """The lower bound of a learned reward, in logits of a vote, minus its gate."""

    name: str
    features: Features
    tensors: Mapping[str, Tensor]
    caution: float = CAUTION

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Score B pictures (B, 3, H, W) in [0, 1] with their B prompts; returns (B,)."""
        part = self.tensors
        phi = (self.features(images, prompts) - part["mean"]) @ part["projection"]
        refits = phi @ part["weights"].T
        # Without 1e-12 a root has no slope where all refits agree, or at the mean picture.
        deviation = (refits.var(1) + 1e-12).sqrt()
        distance = ((phi @ part["whitener"]).square().mean(1) + 1e-12).sqrt()
        return refits.mean(1) - self.caution * deviation - (distance - part["gate"]).relu()


def save_preference(
    folder: Path, tensors: Mapping[str, Tensor], record: dict[str, Any], card: Mapping[str, str]
) -> None:
    """Write a reward with its record and its card's texts by file; TrainingError on a full disk."""
    content = save({name: value.float().contiguous() for name, value in tensors.items()})
    record = record | {"sha256": hashlib.sha256(content).hexdigest()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replace_folder(folder) as new:
        (new / TENSORS).write_bytes(content)
        (new / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        write_card(new, card)


def write_card(folder: Path, card: Mapping[str, str]) -> None:
    """Write a card's texts by file, of a reward or of a refused one."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in card.items():
        (folder / name).write_text(text, encoding="utf-8")


def load_preference(name: str, loaded: Mapping[str, Reward], device: torch.device) -> Reward:
    """A learned reward over its loaded parts; raises as `read_preference`.

    ConfigError too if a part gives other values than when the reward was learned.
    """
    file, record = read_preference(name)
    tensors = {key: value.to(device) for key, value in read_state(file).items()}
    if {key: value.ndim for key, value in tensors.items()} != SHAPES:
        raise ConfigError(f"reward={name}: {file} holds other tensors. Learn the reward anew.")
    features = Features.of(loaded, record["rewards"], record["embedding"])
    features = replace(features, has_squares=record.get("has_squares", False))
    probe = features.probe(device)
    if probe.shape != tensors["probe"].shape or not torch.allclose(
        probe, tensors["probe"], rtol=TOLERANCE, atol=TOLERANCE
    ):
        raise ConfigError(
            f"reward={name} was learned with other weights of {record['embedding']} or "
            f"{', '.join(record['rewards'])}. Restore those weights, or learn the reward anew."
        )
    return PreferenceReward(name, features, tensors)
