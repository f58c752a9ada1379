"""How wrong the gradient of each `ref_grad` is, on a toy: `python -m scripts.ref_grad_toy`.

The policy is a network with three parameters that predicts noise for latents of 2 x 2 x 2 elements;
the reference is the same network with other parameters. The truth is the central difference of the
objective (divergence kl, reduction mean, beta 1) in float64.
"""

import torch
from diffusers import LCMScheduler
from torch import Tensor

from rocm.algorithms.divergences import Penalty
from rocm.algorithms.problem import Problem
from rocm.algorithms.rocm import rocm_objective
from rocm.algorithms.schedule import Step, lcm_schedule, timestep_grid
from rocm.algorithms.trajectory import gradient_path

REFERENCE = torch.tensor([0.80, 0.30, -0.20], dtype=torch.float64)
POLICY = torch.tensor([0.95, 0.38, -0.05], dtype=torch.float64)
STEP_SIZE = 1e-5


def predicted_noise(parameters: Tensor, state: Tensor, timesteps: Tensor) -> Tensor:
    """The toy network, on states (B, 2, 2, 2)."""
    shift = (timesteps.double() / 1000)[:, None, None, None]
    mixed = parameters[0] * state + parameters[1] * state.roll(1, -1) + shift
    return torch.tanh(mixed) + parameters[2] * state.flip(1)


def loss(parameters: Tensor, noise: Tensor, schedule: tuple[Step, ...], ref_grad: str) -> Tensor:
    """The objective of a batch with noise (N, B, 2, 2, 2)."""
    problem = Problem(
        policy=lambda state, timesteps: predicted_noise(parameters, state, timesteps),
        reference=lambda state, timesteps: predicted_noise(REFERENCE, state, timesteps),
        prediction_type="epsilon",
        decode=torch.sin,
        reward=lambda images: -(images - 0.3).square().flatten(1).mean(1),
    )
    path = gradient_path("full", len(schedule), 1)
    return rocm_objective(problem, noise, schedule, path, Penalty(1.0, ref_grad=ref_grad)).loss


def gradients(num_inference_steps: int) -> dict[str, Tensor]:
    """The central difference, and the gradient of each `ref_grad`."""
    alphas_cumprod = LCMScheduler().alphas_cumprod.double().tolist()
    schedule = lcm_schedule(alphas_cumprod, timestep_grid(num_inference_steps))
    generator = torch.Generator().manual_seed(0)
    shape = (num_inference_steps, 64, 2, 2, 2)
    noise = torch.randn(shape, dtype=torch.float64, generator=generator)
    slopes = []
    for direction in torch.eye(3, dtype=torch.float64) * STEP_SIZE:
        ahead = loss(POLICY + direction, noise, schedule, "exact")
        behind = loss(POLICY - direction, noise, schedule, "exact")
        slopes.append((ahead - behind) / (2 * STEP_SIZE))
    slopes_of = {"difference": torch.stack(slopes)}
    for ref_grad in ("exact", "detach", "none"):
        parameters = POLICY.clone().requires_grad_()
        loss(parameters, noise, schedule, ref_grad).backward()
        slopes_of[ref_grad] = parameters.grad
    return slopes_of


def main() -> None:
    """Print one line per number of steps and gradient."""
    for num_inference_steps in (2, 4, 8):
        by_method = gradients(num_inference_steps)
        truth = by_method["difference"]
        for name, gradient in by_method.items():
            error = ((gradient - truth).norm() / truth.norm()).item()
            values = "  ".join(f"{value:9.3f}" for value in gradient.tolist())
            print(f"N = {num_inference_steps}  {name:10}  {values}  error {100 * error:8.4f} %")


if __name__ == "__main__":
    main()
