r"""The timestep grid and coefficients of multistep latent consistency sampling, and of DDIM.

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
    """Coefficients of one step from timestep t to timestep s (the next element of the grid).

    alpha = sqrt(ab_t), sigma = sqrt(1 - ab_t). The consistency function f weights the noisy state
    by c_skip and the predicted clean latent by c_out. The next state is alpha_next * f + carry *
    state + sigma_next * noise: sqrt(ab_s), 0 and sqrt(1 - ab_s) in consistency sampling, and 1, 0
    and 0 in the last step, which draws no noise.
    """

    timestep: int
    alpha: float
    sigma: float
    c_skip: float
    c_out: float
    alpha_next: float
    sigma_next: float
    carry: float = 0.0


def timestep_grid(
    num_inference_steps: int,
    grid: str = "current",
    original_inference_steps: int = 50,
    num_train_timesteps: int = 1000,
) -> list[int]:
    """Timesteps of an N-step chain, descending, in [0, num_train_timesteps).

    `current` spaces indices evenly and rounds down (diffusers >= 0.24); `rlcm` takes every
    (original_inference_steps // N)-th timestep (diffusers 0.23, which RLCM used). The model was
    distilled on a grid of original_inference_steps >= N.
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
    r"""Coefficients of the chain through descending `timesteps`; ab_t for every training timestep.

    .. math:: c_{skip} = \frac{\sigma_d^2}{(10 t)^2 + \sigma_d^2}, \quad
              c_{out} = \frac{10 t}{\sqrt{(10 t)^2 + \sigma_d^2}}, \quad \sigma_d = 1/2

    `timestep_scaling` is the factor 10.
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


def ddim_schedule(alphas_cumprod: Sequence[float], timesteps: Sequence[int]) -> tuple[Step, ...]:
    r"""Coefficients of DDIM with eta = 1 (arXiv 2010.02502), as diffusers' `DDIMScheduler`.

    .. math:: \sigma^2 = \frac{1 - ab_s}{1 - ab_t}\Big(1 - \frac{ab_t}{ab_s}\Big), \quad
              \kappa = \frac{\sqrt{1 - ab_s - \sigma^2}}{\sqrt{1 - ab_t}}, \quad
              x_s = (\sqrt{ab_s} - \kappa\sqrt{ab_t})\, \hat x + \kappa\, x_t + \sigma z

    The clean estimate stands for f (c_skip = 0, c_out = 1). Departure: the last step goes to
    ab_s = 1, so that it draws no noise and ends at the clean estimate, also for a scheduler with
    `set_alpha_to_one` false, which would add noise of its smallest level.
    """
    steps = []
    for n, t in enumerate(timesteps):
        ab_t = alphas_cumprod[t]
        ab_s = 1.0 if n + 1 == len(timesteps) else alphas_cumprod[timesteps[n + 1]]
        variance = (1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s)
        carry = math.sqrt((1 - ab_s - variance) / (1 - ab_t))
        steps.append(
            Step(
                timestep=t,
                alpha=math.sqrt(ab_t),
                sigma=math.sqrt(1 - ab_t),
                c_skip=0.0,
                c_out=1.0,
                alpha_next=math.sqrt(ab_s) - carry * math.sqrt(ab_t),
                sigma_next=math.sqrt(variance),
                carry=carry,
            )
        )
    return tuple(steps)
