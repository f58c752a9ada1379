"""Quality of a model on fixed prompts with fixed noise: rewards, diversity, image statistics."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rocm.generation.draw import Sampling, draw
from rocm.models.consistency import ConsistencyModel
from rocm.rewards.base import Reward, Scale
from rocm.rewards.color import at_limit, contrast, edge_density, saturation

STATISTICS = {"saturation": saturation, "contrast": contrast, "edge_density": edge_density}


@dataclass(frozen=True)
class Evaluation:
    """Measurements over P prompts."""

    images: Tensor  # (P, 3, H, W) in [0, 1]
    scores: dict[str, Tensor]  # (P,) values of each reward
    statistics: dict[str, float]  # mean of each image statistic, `diversity` and `at_limit`

    def mean(self, name: str) -> float:
        """Mean over prompts of a reward."""
        return self.scores[name].mean().item()

    def scale(self, name: str) -> Scale:
        """Mean and standard deviation over prompts of a reward, to standardize it."""
        values = self.scores[name]
        return Scale(values.mean().item(), max(values.std().item(), 1e-6))

    def scales(self) -> dict[str, Scale]:
        """`scale` of every reward by name."""
        return {name: self.scale(name) for name in self.scores}


@dataclass(frozen=True)
class Scored:
    """Pictures and scores before any average."""

    images: Tensor  # (P, 3, H, W) in [0, 1]
    scores: dict[str, Tensor]  # (P,) values of each reward
    limits: Tensor  # (P,), share of channel values at or beyond the ends of [0, 1] before clamping


@torch.no_grad()
def draw_and_score(
    model: ConsistencyModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    rewards: dict[str, Reward],
    sampling: Sampling,
) -> Scored:
    """Draw and score one picture for each of P prompts and noise seeds."""
    scores: dict[str, list[Tensor]] = {name: [] for name in rewards}
    batches, limits = [], []
    for start, raw in zip(
        range(0, len(prompts), sampling.batch_size),
        draw(model, prompts, seeds, sampling),
        strict=True,
    ):
        images = raw.to(model.device)
        limits.append(at_limit(images).cpu())
        images = images.clamp(0, 1)
        for name, reward in rewards.items():
            scores[name].append(reward(images, prompts[start : start + len(images)]).cpu())
        batches.append(images.cpu())
    joined = {name: torch.cat(values) for name, values in scores.items()}
    return Scored(torch.cat(batches), joined, torch.cat(limits))


def summarize(parts: Sequence[Scored]) -> Evaluation:
    """The measurements of consecutive parts, taken together."""
    images = torch.cat([part.images for part in parts])
    scores = {name: torch.cat([part.scores[name] for part in parts]) for name in parts[0].scores}
    statistics = {name: function(images).mean().item() for name, function in STATISTICS.items()}
    statistics["at_limit"] = torch.cat([part.limits for part in parts]).mean().item()
    statistics["diversity"] = diversity(images)
    return Evaluation(images, scores, statistics)


def diversity(images: Tensor) -> float:
    r"""Mean root-mean-square difference between two prompts' pictures (P, 3, H, W), in [0, 1].

    .. math:: \frac{2}{P (P - 1)} \sum_{i < j} \sqrt{\mathrm{mean}\,(y_i - y_j)^2}

    Pictures in [0, 1] are compared at 16 x 16 pixels; P >= 2.
    """
    small = F.interpolate(images, (16, 16), mode="area").flatten(1)
    return (torch.pdist(small) / math.sqrt(small.shape[1])).mean().item()
