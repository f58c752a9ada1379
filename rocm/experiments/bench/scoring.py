"""Rewards: scores alone, and scores with the gradient that reaches the pixels."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rocm.experiments.bench.counter import Counter
from rocm.experiments.bench.random_model import random_reward
from rocm.experiments.bench.step import Work
from rocm.experiments.bench.table import Report, Row
from rocm.experiments.bench.timing import interleaved, rates, summary
from rocm.models.pipelines import DTYPES
from rocm.rewards.base import Reward
from rocm.rewards.load import load_rewards
from rocm.rewards.names import WITHOUT_GRADIENT

SIDE = {"small": 16, "real": 512, "": 64}


def bench_scoring(work: Work, names: Sequence[str], batches: Sequence[int]) -> Report:
    """Time rewards on random pictures; text features are cached, as in training.

    With random weights the reward is HPSv2's network, else those named.
    """
    facts = work.facts
    if work.size:
        tower = random_reward(work.size, work.device, DTYPES[work.base.precision])
        loaded: dict[str, Reward] = {"hpsv2.1": tower}
    else:
        loaded = load_rewards(names, work.device)
    side = SIDE[work.size.name if work.size else ""]
    rows = []
    for batch in batches:
        images = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0))
        rows += _rows(loaded, images.to(work.device), work)
    return Report("Rewards", rows, facts | {"pixels": side})


def _rows(loaded: dict[str, Reward], images: Tensor, work: Work) -> list[Row]:
    calls: dict[str, Callable[[], object]] = {}
    flops: dict[str, int] = {}
    for name, reward in loaded.items():
        kinds = ["score"] if name in WITHOUT_GRADIENT else ["score", "gradient"]
        for kind in kinds:
            call = _scored(reward, images, kind == "gradient")
            call()
            with Counter() as counter:
                call()
            calls[f"{name}/{kind}"], flops[f"{name}/{kind}"] = call, counter.counts.flops
    rows: list[Row] = []
    for key, spent in interleaved(calls, images.device, work.num_rounds).items():
        name, kind = key.split("/")
        row: Row = {"reward": name, "what": kind, "batch": len(images)}
        rows.append(row | summary(spent, len(images)) | rates(flops[key], spent, work.rate))
    return rows


def _scored(reward: Reward, images: Tensor, with_gradient: bool) -> Callable[[], None]:
    prompts = ["a picture"] * len(images)

    def call() -> None:
        with torch.set_grad_enabled(with_gradient):
            pictures = images.clone().requires_grad_(with_gradient)
            scores = reward(pictures, prompts)
            if with_gradient:
                scores.sum().backward()

    return call
