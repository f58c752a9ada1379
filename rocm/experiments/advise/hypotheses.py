r"""What the base model's pictures suggest about divergences; hypotheses, which a pilot tests.

1. With e the residuals of the reward's regression on the judge, and the k largest of their sizes,
   Hill's index is :math:`1 / \mathrm{mean}_{i \le k} \ln(|e|_{(i)} / |e|_{(k+1)})`: small if a few
   pictures deceive the reward. KL does not stop such a reward (arXiv 2407.14503); chi-square lets
   outliers cost most.
2. Along the reward's gradient g_n at step n's denoised latent, a KL penalty spends
   :math:`(|g_n| \sigma_n / \alpha_n)^2` on that step. Fisher weighs steps by :math:`1 / \sigma^2`
   besides, and so holds the late ones.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rocm.algorithms.divergences import Penalty, transition
from rocm.algorithms.problem import Problem
from rocm.algorithms.schedule import Step
from rocm.algorithms.trajectory import rollout
from rocm.config import RunConfig
from rocm.experiments.advise.verdict import Floats
from rocm.prompts.split import noise_seed, training_item
from rocm.training.batch import draw_batch, make_problem
from rocm.training.setup import Setup, set_up

NUM_PICTURES, NUM_LARGEST = 64, 8
HEAVY = 2.7  # 5 % of normal samples of this size have a smaller index
LATE = 0.5  # share of the last step


def hypotheses(config: RunConfig) -> list[str]:
    """One sentence each, from `NUM_PICTURES` pictures of training prompts."""
    setup = set_up(config)
    sentences = [_tail(hill(_residuals(setup)))]
    if config.method.is_backprop:
        sentences.append(_steps(_gradient_shares(setup)))
    return sentences


def hill(residuals: Floats) -> float:
    """Hill's index of the `NUM_LARGEST` largest sizes."""
    sizes = np.sort(np.abs(residuals))[::-1]
    logs = np.log(sizes[:NUM_LARGEST] / sizes[NUM_LARGEST])
    return float(1 / logs.mean())


def spent_by_step(
    problem: Problem, noise: Tensor, schedule: Sequence[Step], penalty: Penalty
) -> Floats:
    """KL (N,) that a small step along the reward's gradient spends on each step, up to a factor.

    `noise` is (N, B, C, H, W), as in `rollout`; a step that the penalty leaves out spends 0.
    """
    drawn = rollout(problem.policy, noise, schedule, problem.prediction_type)
    _, rewards = problem.scored(drawn.latents)
    gradients = torch.autograd.grad(rewards.sum(), drawn.denoised)
    spent = []
    for n, (step, gradient) in enumerate(zip(schedule, gradients, strict=True)):
        is_last = n + 1 == len(schedule)
        gaussian = transition(step, is_last, penalty.last_step, penalty.sigma_floor)
        alpha, sigma = gaussian or (1.0, 0.0)
        spent.append((gradient * (sigma / alpha)).square().sum().item())
    return np.array(spent)


def _gradient_shares(setup: Setup) -> Floats:
    mixture, total = setup.rewards.mixture(), np.zeros(len(setup.schedule))
    for first in range(0, NUM_PICTURES, setup.config.batch_size):
        batch = draw_batch(setup, first)
        problem = make_problem(setup, mixture, batch, {})
        noise = batch.noise[: len(setup.schedule)]
        total += spent_by_step(problem, noise, setup.schedule, setup.penalty)
    return np.asarray(total / total.sum())


def _residuals(setup: Setup) -> Floats:
    config, numbers = setup.config, range(NUM_PICTURES)
    prompts = [training_item(setup.data.prompts.train, config.seed, number) for number in numbers]
    seeds = [noise_seed(config.seed, number) for number in numbers]
    names = [*setup.rewards.weights, config.judge]
    by_name = {name: setup.rewards.by_name[name] for name in names}
    parts = setup.scored(prompts, seeds, by_name)
    scores = {name: torch.cat([part.scores[name] for part in parts]) for name in names}
    reward = setup.rewards.mixture().combine(scores).double().numpy()
    judge = scores[config.judge].double().numpy()
    slope, height = np.polyfit(judge, reward, 1)
    return np.asarray(reward - slope * judge - height)


def _tail(index: float) -> str:
    words = "a heavy tail suggests chi_square or kl" if index < HEAVY else "no heavy tail"
    return (
        f"Hill index of the reward's residual on the judge: {index:.1f} ({NUM_LARGEST} of "
        f"{NUM_PICTURES} pictures; below {HEAVY} in 5 % of normal samples); {words}."
    )


def _steps(shares: Floats) -> str:
    words = "mostly late, which suggests fisher" if shares[-1] > LATE else "not mostly late"
    listed = ", ".join(f"{100 * share:.0f} %" for share in shares)
    return f"KL that the reward's gradient would spend, by step: {listed}; {words}."
