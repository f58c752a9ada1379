r"""The timestep grid and coefficients of multistep latent consistency sampling.

A schedule is a tuple of `Step`, one per network call, from the noisiest to the cleanest. Its
numbers are plain floats, so the same schedule serves every device and number format. Equations
follow arXiv 2310.04378 (latent consistency models) as diffusers' `LCMScheduler` computes them; ab_t
is the cumulative product of 1 - beta_t.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SIGMA_DATA = 0.5


@dataclass(frozen=True)
class Step:
    r"""Coefficients of one step from timestep t to timestep s (the next element of the grid).

    Attributes:
        timestep: t, as the network sees it.
        alpha: sqrt(ab_t).
        sigma: sqrt(1 - ab_t).
        c_skip: weight of the noisy state in the consistency function.
        c_out: weight of the predicted clean latent in the consistency function.
        alpha_next: sqrt(ab_s); 1 in the last step.
        sigma_next: sqrt(1 - ab_s); 0 in the last step, which draws no noise.
    """

    timestep: int
    alpha: float
    sigma: float
    c_skip: float
    c_out: float
    alpha_next: float
    sigma_next: float


def timestep_grid(
    num_inference_steps: int,
    grid: str = "current",
    original_inference_steps: int = 50,
    num_train_timesteps: int = 1000,
) -> list[int]:
    """Timesteps of an N-step chain, descending.

    Args:
        num_inference_steps: N, at least 1 and at most original_inference_steps.
        grid: `current` spaces indices evenly and rounds down (diffusers >= 0.24); `rlcm` takes
            every (original_inference_steps // N)-th one (diffusers 0.23, which RLCM used).
        original_inference_steps: length of the grid that the model was distilled on.
        num_train_timesteps: length of the diffusion chain.

    Returns:
        N timesteps in [0, num_train_timesteps).
    """
    stride = num_train_timesteps // original_inference_steps
    origin = [stride * (k + 1) - 1 for k in reversed(range(original_inference_steps))]
    if grid == "rlcm":
        return origin[:: original_inference_steps // num_inference_steps][:num_inference_steps]
    return [
        origin[n * original_inference_steps // num_inference_steps]
        for n in range(num_inference_steps)
    ]


def lcm_schedule(
    alphas_cumprod: Sequence[float], timesteps: Sequence[int], timestep_scaling: float = 10.0
) -> tuple[Step, ...]:
    r"""Coefficients of the chain through `timesteps`.

    .. math:: c_{skip} = \frac{\sigma_d^2}{(10 t)^2 + \sigma_d^2}, \quad
              c_{out} = \frac{10 t}{\sqrt{(10 t)^2 + \sigma_d^2}}, \quad \sigma_d = 1/2

    Args:
        alphas_cumprod: ab_t for every training timestep.
        timesteps: descending grid, from `timestep_grid`.
        timestep_scaling: the factor 10 above.

    Returns:
        One `Step` per timestep.
    """
    steps = []
    for n, t in enumerate(timesteps):
        scaled = t * timestep_scaling
        last = n + 1 == len(timesteps)
        next_ab = 1.0 if last else alphas_cumprod[timesteps[n + 1]]
        steps.append(
            Step(
                timestep=t,
                alpha=math.sqrt(alphas_cumprod[t]),
                sigma=math.sqrt(1 - alphas_cumprod[t]),
                c_skip=SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2),
                c_out=scaled / math.sqrt(scaled**2 + SIGMA_DATA**2),
                alpha_next=math.sqrt(next_ab),
                sigma_next=math.sqrt(1 - next_ab),
            )
        )
    return tuple(steps)
