r"""Divergences between the Gaussian steps of policy and reference.

At one step both are N(mu, sigma^2 I) with the same sigma, so every divergence is a function of the
squared separation d2 = (mu_policy - mu_ref)^2 / sigma^2 alone: of one latent element, of their
mean, or of their sum (see `reduce_divergence`). All closed forms hold for one dimension and for any
number. Training starts where policy == reference, so values and slopes at d2 = 0 matter: 1/2 for
KL, 1/8 for Jensen-Shannon and squared Hellinger, 1/sigma^2 for Fisher, 1 for chi-square.

Departure: the paper describes Jensen-Shannon as sampled; with equal covariances the density ratio
depends on the projection on mu_policy - mu_ref only, so one-dimensional quadrature will do (the
value's relative error is at most 1.1e-6, the slope's error 4e-6). `js_sampled` is the paper's way.
Not given in the paper: the reduction over latent elements, the noise level of the last step.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.nn import functional as F

from rocm.algorithms.schedule import Step

Generators = Sequence[torch.Generator]
"""One for each picture of a batch, so that its draws do not depend on its neighbors."""
Divergence = Callable[[Tensor, float], Tensor]
"""(d2 of any shape, sigma) -> divergence of that shape."""

CHI_SQUARE_LIMIT = 30.0


def kl(d2: Tensor, sigma: float) -> Tensor:
    """Kullback-Leibler divergence in nats, d^2 / 2, in [0, inf); both directions coincide."""
    return d2 / 2


def hellinger(d2: Tensor, sigma: float) -> Tensor:
    """Squared Hellinger distance, 1 - exp(-d^2 / 8), in [0, 1]."""
    return -torch.expm1(-d2 / 8)


def fisher(d2: Tensor, sigma: float) -> Tensor:
    """Fisher divergence E_p ||grad log p - grad log q||^2 = d^2 / sigma^2, in [0, inf).

    It is KL times 2 / sigma^2, and no f-divergence.
    """
    return d2 / sigma**2


def chi_square(d2: Tensor, sigma: float) -> Tensor:
    """Chi-square divergence E_q (p / q)^2 - 1 = exp(d^2) - 1, in [0, inf).

    Departure: d2 is clipped to `CHI_SQUARE_LIMIT`, beyond which the tangent there goes on. The
    exponential leaves the range of float32, and a flat end would no longer pull the policy back.
    """
    near = d2.clamp(max=CHI_SQUARE_LIMIT)
    # Not d2 - near, whose slopes of exp(30) cancel only up to rounding.
    return torch.expm1(near) + math.exp(CHI_SQUARE_LIMIT) * F.relu(d2 - CHI_SQUARE_LIMIT)


def total_variation(d2: Tensor, sigma: float) -> Tensor:
    """Total variation distance, erf(d / (2 sqrt 2)), in [0, 1].

    It has a kink where policy == reference; the slope there is set to 0.
    """
    apart = d2 > 0
    # Both selections are needed: the root's infinite slope at 0 times 0 would be NaN.
    d = d2.masked_fill(~apart, 1).sqrt().masked_fill(~apart, 0)
    return torch.erf(d / (2 * math.sqrt(2)))


class _JensenShannon(torch.autograd.Function):
    # The slope in closed form: nothing of the 64-fold size is kept for backward, and no root is
    # differentiated at 0, which is where training starts.
    @staticmethod
    def forward(ctx: Any, d2: Tensor) -> Tensor:
        nodes, weights = _gauss_hermite(d2.device, d2.dtype)
        log_ratio = d2.sqrt()[..., None] * nodes - d2[..., None] / 2
        ctx.save_for_backward((torch.sigmoid(log_ratio).square() * weights).sum(-1) / 2)
        log_cosh = torch.log1p(2 * torch.sinh(log_ratio / 4).square())
        near = d2[..., None] / 4 - log_cosh
        far = math.log(2) - F.softplus(log_ratio)
        return (torch.where(d2[..., None] < 1, near, far) * weights).sum(-1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return gradient * slope


def jensen_shannon(d2: Tensor, sigma: float) -> Tensor:
    r"""Jensen-Shannon divergence in nats, in [0, log 2], by 64-node Gauss-Hermite quadrature.

    .. math:: \mathrm{JS} = \log 2 - E_{z \sim N(0,1)} \operatorname{softplus}(u), \quad
              \frac{d\,\mathrm{JS}}{d\,d^2} = \frac12 E_z \operatorname{sigmoid}(u)^2, \quad
              u = d z - \frac{d^2}{2}

    Below d = 1 the value is computed as d^2/4 - E log cosh(u/2), equal because E z = 0, which does
    not cancel there. The slope is that of the exact divergence (Stein's lemma).
    """
    return _JensenShannon.apply(d2)


def js_sampled(d2: Tensor, draws: Tensor) -> Tensor:
    r"""Unbiased sampled Jensen-Shannon divergence in nats (the paper's way).

    .. math:: \log 2 - \frac1S \sum_s \operatorname{softplus}(d z_s - d^2/2)

    `draws` are standard normal, the shape of d2 with S draws in one more dimension; single values
    can be negative.
    """
    # sqrt has an infinite slope at 0, which is where training starts.
    d = (d2 + torch.finfo(d2.dtype).eps).sqrt()
    log_ratio = d[..., None] * draws - d2[..., None] / 2
    return math.log(2) - F.softplus(log_ratio).mean(-1)


DIVERGENCES: dict[str, Divergence] = {
    "kl": kl,
    "js": jensen_shannon,
    "hellinger": hellinger,
    "fisher": fisher,
    "tv": total_variation,
    "chi_square": chi_square,
}


@dataclass(frozen=True)
class Penalty:
    """The comparison of policy and reference; the fields are the settings of the same names."""

    beta: float
    divergence: str = "kl"
    reduction: str = "mean"
    last_step: str = "smooth"
    sigma_floor: float = 0.1
    ref_grad: str = "exact"
    js_samples: int = 0
    """Draws per latent element of the sampled Jensen-Shannon estimator; 0 for quadrature."""
    live_beta: Tensor | float | None = None
    """In the place of beta > 0 in the loss: a controller or a recorded update gives another."""

    @property
    def weight(self) -> float | Tensor:
        """The factor of the divergence in the loss."""
        return self.beta if self.live_beta is None else self.live_beta


def squared_separation(policy: Tensor, reference: Tensor, alpha: float, sigma: float) -> Tensor:
    """d2 of every latent element, (alpha * (f_policy - f_ref) / sigma)^2, (B, C, H, W), >= 0.

    `policy` and `reference` are denoised latents (B, C, H, W) at the same states, alpha =
    sqrt(ab_s) leads from them to the transition's mean, sigma = sqrt(1 - ab_s) > 0 is its noise
    level.
    """
    return ((policy - reference) * (alpha / sigma)).square()


def reduce_divergence(divergence: Callable[[Tensor], Tensor], d2: Tensor, reduction: str) -> Tensor:
    """One number per picture, (B,), from the squared separations (B, C, H, W) of its latents.

    `mean` averages the divergence of each element; `joint` is the divergence of the whole latent,
    at the summed d2; `tempered` is the formula at the mean d2. For KL and Fisher, `mean` and
    `tempered` equal `joint` / (C H W).
    """
    flat = d2.flatten(1)
    if reduction == "mean":
        return divergence(flat).mean(1)
    if reduction == "joint":
        return divergence(flat.sum(1))
    return divergence(flat.mean(1))


def transition(
    step: Step, is_last: bool, last_step: str, sigma_floor: float
) -> tuple[float, float] | None:
    """(alpha, sigma) of the Gaussian that a step's divergence compares, or None to leave it out.

    The last step draws no noise; with sigma = 0 KL would be infinite and the bounded divergences
    stuck at their maximum. `smooth` uses the noise level of the last timestep itself (as RLCM's
    scheduler does), `floor` alpha = 1 and sigma_floor > 0, `skip` leaves the step out.
    """
    if not is_last:
        return step.alpha_next, step.sigma_next
    if last_step == "smooth":
        return step.alpha, step.sigma
    return None if last_step == "skip" else (1.0, sigma_floor)


def step_divergences(
    policy: Sequence[Tensor],
    reference: Sequence[Tensor],
    schedule: Sequence[Step],
    penalty: Penalty,
    generators: Generators = (),
) -> tuple[Tensor, Tensor]:
    """Divergence of every step and picture, (K, B), and the KL in nats.

    `policy` and `reference` are denoised latents (B, C, H, W) of the first K <= N steps at the same
    states. The KL is summed over elements and steps, and averaged over pictures. `generators` serve
    the sampled Jensen-Shannon estimator only.
    """
    divergences, kl_nats = [], policy[0].new_zeros(())
    for n in range(len(policy)):
        is_last = n + 1 == len(schedule)
        gaussian = transition(schedule[n], is_last, penalty.last_step, penalty.sigma_floor)
        if gaussian is None:
            divergences.append(policy[n].new_zeros(len(policy[n])))
            continue
        alpha, sigma = gaussian
        d2 = squared_separation(policy[n], reference[n], alpha, sigma)
        divergence = _divergence(penalty, sigma, generators)
        divergences.append(reduce_divergence(divergence, d2, penalty.reduction))
        kl_nats = kl_nats + kl(d2.detach(), sigma).flatten(1).sum(1).mean()
    return torch.stack(divergences), kl_nats


def _divergence(
    penalty: Penalty, sigma: float, generators: Generators
) -> Callable[[Tensor], Tensor]:
    if penalty.divergence != "js" or not penalty.js_samples:
        return lambda d2: DIVERGENCES[penalty.divergence](d2, sigma)

    def sampled(d2: Tensor) -> Tensor:
        shape = (*d2.shape[1:], penalty.js_samples)
        return js_sampled(d2, picture_draws(generators, shape).to(d2))

    return sampled


def picture_draws(generators: Generators, shape: Sequence[int]) -> Tensor:
    """Standard normal draws (B, *shape), on the CPU, of each picture's own generator."""
    return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators])


@cache
def _gauss_hermite(
    device: torch.device, dtype: torch.dtype, num: int = 64
) -> tuple[Tensor, Tensor]:
    nodes, weights = numpy.polynomial.hermite_e.hermegauss(num)
    scaled = weights / math.sqrt(2 * math.pi)
    return torch.from_numpy(nodes).to(device, dtype), torch.from_numpy(scaled).to(device, dtype)
