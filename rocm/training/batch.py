"""The pictures of an update: prompts and noise by number, and the problem to optimize on them.

The k-th picture of a run has the same prompt and noise whatever the algorithm and the batch size,
so that a batch of 4 equals a batch of 2 accumulated twice, a resumed run equals an uninterrupted
run, and two algorithms with one seed begin with the same pictures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rocm.algorithms.policy_gradient import PolicyObjective
from rocm.algorithms.problem import Problem
from rocm.algorithms.rocm import Objective
from rocm.algorithms.trajectory import batch_noise
from rocm.prompts.split import noise_seed, training_item
from rocm.rewards.base import Mixture, limit_pixels
from rocm.training.setup import Setup

ALL = slice(None)


@dataclass(frozen=True)
class Batch:
    """Prompts and noise of the pictures numbered from `first`.

    `noise` is (N + 1, B, C, H, W): N draws for the chain, one for the last action of a policy
    gradient. `arms` are the adapters that drew the pictures, as in `Preference`; empty if the
    policy draws.
    """

    first: int
    prompts: Sequence[str]
    noise: Tensor
    arms: tuple[str, ...] = ()


def draw_batches(setup: Setup, step: int) -> list[Batch]:
    """This process's `gradient_accumulation` batches of update `step`, counted from 1."""
    num, ranks = setup.config.gradient_accumulation, setup.ranks
    first = ((step - 1) * ranks.size + ranks.rank) * num
    numbers = range(first, first + num)
    return [draw_batch(setup, number * setup.config.batch_size) for number in numbers]


def draw_batch(setup: Setup, first: int) -> Batch:
    """Prompts and noise of the `batch_size` training pictures numbered from `first`.

    With a table of preferences these are pairs of its rows, winner first: every row once per epoch,
    each epoch in its own order.
    """
    config, data = setup.config, setup.data
    numbers = range(first, first + config.batch_size)
    arms: tuple[str, ...] = ()
    if data.preferences:
        pairs = (training_item(data.preferences, config.seed, n // 2) for n in numbers[::2])
        rows = [row for pair in pairs for row in (pair, pair)]
        prompts = [row.prompt for row in rows]
        seeds = [row.loser_seed if k % 2 else row.seed for k, row in enumerate(rows)]
        arms = tuple(row.loser if k % 2 else row.winner for k, row in enumerate(rows))
    else:
        items = [number // config.pictures_per_prompt for number in numbers]
        prompts = [training_item(data.prompts.train, config.seed, item) for item in items]
        seeds = [noise_seed(config.seed, number) for number in numbers]
    noise = batch_noise(seeds, config.num_inference_steps + 1, setup.model.latent_shape)
    return Batch(first, prompts, noise.to(setup.model.device), arms)


def make_problem(
    setup: Setup, mixture: Mixture, batch: Batch, scores: dict[str, Tensor]
) -> Problem:
    """The problem of a batch; evaluating the reward fills `scores` with raw values (B,)."""

    def score(images: Tensor, rows: slice) -> dict[str, Tensor]:
        return mixture.parts(images, batch.prompts[rows])

    return problem_of(setup, mixture, text_features(setup, batch.prompts), score, scores)


def problem_of(
    setup: Setup,
    mixture: Mixture,
    context: Tensor,
    score: Callable[[Tensor, slice], dict[str, Tensor]],
    scores: dict[str, Tensor],
) -> Problem:
    """As `make_problem`, of text features (B, L, D); `score` gives raw values of some rows."""
    config, model = setup.config, setup.model

    def reward(images: Tensor, rows: slice = ALL) -> Tensor:
        parts = score(limit_pixels(images), rows)
        for name, values in parts.items():
            own = values.detach()
            # Parts of a batch come in its order; the first of them begins anew.
            scores[name] = torch.cat([scores[name], own]) if rows.start else own
        return mixture.combine(parts)

    return Problem(
        policy=model.policy(context, config.guidance_scale),
        reference=model.reference(context, config.guidance_scale),
        prediction_type=model.prediction_type,
        decode=setup.execution.decoder or model.decode,
        reward=reward,
        at_once=config.decode_batch,
    )


def text_features(setup: Setup, prompts: Sequence[str]) -> Tensor:
    """Text features (B, L, D) of B prompts, kept if the settings say so."""
    model = setup.model
    return model.encode_each(prompts) if setup.config.keep_text else model.encode(prompts)


def measurements(
    rewards: Sequence[Tensor],
    scores: Sequence[dict[str, Tensor]],
    objectives: Sequence[Objective | PolicyObjective],
    num_inference_steps: int,
) -> dict[str, float]:
    """Means over an update: `reward`, its parts, `divergence`, its N steps, `kl_nats` and `loss`.

    Of each batch: rewards (B,), raw scores (B,) by name, and the objective, whose divergences
    (K, B) are those of the first K <= N steps, the others counting as 0; none without a reference.
    """
    row = {"reward": torch.cat(list(rewards)).mean().item()}
    for name in scores[0]:
        row[f"reward/{name}"] = torch.cat([part[name] for part in scores]).mean().item()
    divergences = [one.divergences for one in objectives if one.divergences is not None]
    if divergences:
        by_step = torch.cat(divergences, dim=1).mean(1).tolist()
        row["divergence"] = sum(by_step)
        for n, value in enumerate(by_step + [0.0] * (num_inference_steps - len(by_step))):
            row[f"divergence/step_{n}"] = value
    nats = [one.kl_nats for one in objectives if one.kl_nats is not None]
    if nats:
        row["kl_nats"] = torch.stack(nats).mean().item()
    row["loss"] = torch.stack([one.loss.detach() for one in objectives]).mean().item()
    return row


def picture_generators(setup: Setup, batch: Batch) -> list[torch.Generator]:
    """The generator of each picture's draws besides its noise, anew from its number."""
    numbers = range(batch.first, batch.first + batch.noise.shape[1])
    seeds = [noise_seed(setup.config.seed, -1 - number) for number in numbers]
    return [torch.Generator().manual_seed(seed) for seed in seeds]
