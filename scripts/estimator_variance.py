"""Variance of the hybrid gradient on a toy: `python -m scripts.estimator_variance`.

N = 2, latents of D elements, x_0 drawn once. The network predicts the sample, f = a x, with factor
a_0 in the first step and a fixed one in the second. The reward is R = sum(y + y^2 / D) over the
picture's elements y; a share of it has a gradient, the rest is only a number. Estimated is
d E[R] / d a_0, known in closed form; each estimate is that of one pair of pictures.
"""

import torch
from diffusers import LCMScheduler
from torch import Tensor

from rocm.algorithms.divergences import Penalty
from rocm.algorithms.hybrid import hybrid_objective
from rocm.algorithms.problem import Problem
from rocm.algorithms.rocm import rocm_objective
from rocm.algorithms.schedule import Step, lcm_schedule, timestep_grid
from rocm.algorithms.trajectory import gradient_path

NUM_ESTIMATES = 10_000
FACTORS = torch.tensor([0.9, 0.7], dtype=torch.float64)


def estimates(share: float, num_elements: int, schedule: tuple[Step, ...]) -> tuple[Tensor, float]:
    """Estimates of the derivative, one a pair (NUM_ESTIMATES,), and its true value."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(num_elements, dtype=torch.float64, generator=generator)
    size = (2 * NUM_ESTIMATES, 1, 1, num_elements)
    draws = torch.randn(size, dtype=torch.float64, generator=generator)
    noise = torch.stack([start.expand(size), draws])
    # A factor for each pair, so that one backward pass gives an estimate for each.
    factors = FACTORS[0].repeat(NUM_ESTIMATES).requires_grad_()

    def network(state: Tensor, timesteps: Tensor) -> Tensor:
        own = factors.repeat_interleave(2)[:, None, None, None]
        return torch.where((timesteps == 999)[:, None, None, None], own, FACTORS[1]) * state

    def value(images: Tensor) -> Tensor:
        return (images + images.square() / num_elements).flatten(1).sum(1)

    def reward(images: Tensor) -> Tensor:
        return share * value(images) + (1 - share) * value(images.detach())

    problem = Problem(network, lambda state, _: state, "sample", lambda latents: latents, reward)
    path, penalty = gradient_path("full", 2, 1), Penalty(0.0, last_step="skip")
    first_order = rocm_objective(problem, noise, schedule, path, penalty)
    blind = (1 - share) * value(first_order.images)
    hybrid_objective(problem, first_order, schedule, blind, 2).loss.backward()
    return -factors.grad * NUM_ESTIMATES, _truth(start, schedule)


def _truth(start: Tensor, schedule: tuple[Step, ...]) -> float:
    """d/da_0 of E[R]: the picture is y = k (mean + sigma z), with mean = alpha f(x_0)."""
    first, last = schedule
    k = last.c_out * FACTORS[1] + last.c_skip
    mean = first.alpha_next * (first.c_out * FACTORS[0] + first.c_skip) * start
    slope = first.alpha_next * first.c_out * start
    return (k * slope * (1 + 2 * k * mean / len(start))).sum().item()


def main() -> None:
    """Print a row of docs/math.md's table for each number of elements."""
    schedule = lcm_schedule(LCMScheduler().alphas_cumprod.double().tolist(), timestep_grid(2))
    print("| D | true derivative | pathwise | mixture, half and half | policy gradient |")
    print("|---|---|---|---|---|")
    for num_elements in (1, 8, 64):
        cells = []
        for share in (1.0, 0.5, 0.0):
            values, truth = estimates(share, num_elements, schedule)
            cells.append(f"{values.mean():.3f}, variance {values.var():.2g}")
        print(f"| {num_elements} | {truth:.3f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
