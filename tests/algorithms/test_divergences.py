"""Closed forms against integration and sampling, values and slopes at policy == reference."""

import math
from functools import partial

import numpy
import pytest
import torch
from torch.distributions import Independent, Normal
from torch.nn import functional as F

from rocm.algorithms.divergences import (
    DIVERGENCES,
    js_sampled,
    reduce_divergence,
    squared_separation,
)
from rocm.algorithms.schedule import Step

SIGMA = 0.6
SEPARATIONS = [0.03, 0.1, 0.5, 1.0, 2.0, 3.0, 5.0]
BOUNDED = {"js": math.log(2), "hellinger": 1.0, "tv": 1.0}
STEP = Step(759, alpha=0.6, sigma=0.8, c_skip=0, c_out=1, alpha_next=0.8, sigma_next=0.6)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def integrals(m: float, sigma: float) -> dict[str, float]:
    """Every divergence from its definition, by the trapezoid rule on the two densities."""
    x = numpy.linspace(-14 * sigma, (m + 14) * sigma, 200_001)
    log_p = -(x**2) / (2 * sigma**2) - math.log(sigma * math.sqrt(2 * math.pi))
    log_q = -((x - m * sigma) ** 2) / (2 * sigma**2) - math.log(sigma * math.sqrt(2 * math.pi))
    p, q = numpy.exp(log_p), numpy.exp(log_q)
    log_mixture = numpy.logaddexp(log_p, log_q) - math.log(2)
    score_difference = numpy.gradient(log_p - log_q, x)
    integral = partial(numpy.trapezoid, x=x)
    return {
        "kl": integral(p * (log_p - log_q)),
        "js": integral(p * (log_p - log_mixture) + q * (log_q - log_mixture)) / 2,
        "hellinger": integral((numpy.sqrt(p) - numpy.sqrt(q)) ** 2) / 2,
        "fisher": integral(p * score_difference**2),
        "tv": integral(abs(p - q)) / 2,
        "chi_square": integral(numpy.exp(2 * log_p - log_q)) - 1,
    }


def separated(dimension: int, m: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Denoised latents (1, dimension) whose transition means lie m sigmas apart in all."""
    generator = torch.Generator().manual_seed(dimension)
    policy, direction = torch.randn(2, 1, dimension, dtype=torch.float64, generator=generator)
    return policy, policy + direction / direction.norm() * m * SIGMA / STEP.alpha_next


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("m", SEPARATIONS)
def test_closed_form_is_the_integral_of_its_definition(name, m):
    closed = DIVERGENCES[name](torch.tensor(m**2, dtype=torch.float64), SIGMA).item()
    assert closed == pytest.approx(integrals(m, SIGMA)[name], rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("dimension", [1, 16, 4096])
@pytest.mark.parametrize("m", [0.5, 2.0])
def test_joint_closed_forms_agree_with_sampling_in_any_dimension(dimension, m):
    policy, reference = separated(dimension, m)
    p = Independent(Normal(STEP.alpha_next * policy, SIGMA), 1)
    q = Independent(Normal(STEP.alpha_next * reference, SIGMA), 1)
    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(1500, dimension, dtype=torch.float64, generator=generator)
    from_p, from_q = p.mean + SIGMA * noise, q.mean + SIGMA * noise
    ratio_p = p.log_prob(from_p) - q.log_prob(from_p)
    ratio_q = p.log_prob(from_q) - q.log_prob(from_q)
    samples = {
        "kl": ratio_p,
        "js": math.log(2) - (F.softplus(-ratio_p) + F.softplus(ratio_q)) / 2,
        "hellinger": 1 - (-ratio_p / 2).exp(),
        "tv": (1 - (-ratio_p).exp()).clamp_min(0),
    }
    d2 = squared_separation(policy, reference, STEP.alpha_next, SIGMA)
    for name, values in samples.items():
        closed = reduce_divergence(partial(DIVERGENCES[name], sigma=SIGMA), d2, "joint").item()
        standard_error = (values.std() / len(values) ** 0.5).item()
        assert abs(values.mean().item() - closed) < 4 * standard_error + 1e-12, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("name", "slope"),
    [
        ("kl", 1 / 2),
        ("js", 1 / 8),
        ("hellinger", 1 / 8),
        ("fisher", 1 / SIGMA**2),
        ("tv", 0),
        ("chi_square", 1),
    ],
)
def test_value_and_slope_where_training_starts(name, slope, dtype):
    d2 = torch.zeros(3, dtype=dtype, requires_grad=True)
    value = DIVERGENCES[name](d2, SIGMA)
    value.sum().backward()
    torch.testing.assert_close(value.detach(), torch.zeros_like(value), rtol=0, atol=2e-8)
    torch.testing.assert_close(d2.grad, torch.full_like(d2, slope), rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_values_grow_from_zero_within_their_bounds(name, dtype):
    d2 = torch.cat([torch.zeros(1), torch.logspace(-12, 12, 400)]).to(dtype)
    values = DIVERGENCES[name](d2, SIGMA)
    rounding = 1e-6 * values.clamp(max=1)
    assert (values >= 0).all()
    assert (values[1:] >= (values - rounding)[:-1]).all()
    assert (values <= BOUNDED.get(name, math.inf) + 1e-6).all()


@pytest.mark.parametrize("name", BOUNDED)
def test_bounded_divergences_reach_their_maximum(name):
    value = DIVERGENCES[name](torch.tensor([1e4, 1e8, 1e30]), SIGMA)
    torch.testing.assert_close(value, torch.full((3,), BOUNDED[name]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_slopes_are_finite_and_never_negative_from_tiny_to_huge(name, dtype):
    d2 = torch.cat([torch.zeros(1), torch.logspace(-30, 30, 300)]).to(dtype).requires_grad_()
    DIVERGENCES[name](d2, SIGMA).sum().backward()
    assert torch.isfinite(d2.grad).all()
    assert (d2.grad >= 0).all()


@pytest.mark.parametrize("name", DIVERGENCES)
def test_slopes_are_the_derivatives_of_the_values(name):
    d2 = torch.logspace(-3, 2.5, 40, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(partial(DIVERGENCES[name], sigma=SIGMA), (d2,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_jensen_shannon_quadrature_errs_by_little_more_than_a_millionth(dtype):
    separations = numpy.concatenate([numpy.geomspace(0.01, 40, 30), numpy.linspace(5, 7, 20)])
    expected = [integrals(m, 1.0)["js"] for m in separations]
    computed = DIVERGENCES["js"](torch.from_numpy(separations).to(dtype).square(), SIGMA)
    numpy.testing.assert_allclose(computed.numpy(), expected, rtol=0, atol=1.2e-6)


@pytest.mark.parametrize("m", [0.3, 1.0, 3.0])
def test_sampled_jensen_shannon_is_unbiased_in_value_and_slope(m):
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(20_000, 2, dtype=torch.float64, generator=generator)
    d2 = torch.full((20_000,), m**2, dtype=torch.float64, requires_grad=True)
    exact = torch.tensor(m**2, dtype=torch.float64, requires_grad=True)
    values = js_sampled(d2, draws)
    (slopes,) = torch.autograd.grad(values.sum(), d2)
    value = DIVERGENCES["js"](exact, SIGMA)
    (slope,) = torch.autograd.grad(value, exact)
    for sample, truth in ((values.detach(), value.detach()), (slopes, slope)):
        assert abs(sample.mean() - truth) < 4 * sample.std() / len(sample) ** 0.5


def test_chi_square_goes_on_along_its_tangent_where_float32_ends():
    d2 = torch.tensor([29.0, 30.5, 31.0, 1e4], requires_grad=True)
    values = DIVERGENCES["chi_square"](d2, SIGMA)
    (slopes,) = torch.autograd.grad(values.sum(), d2)
    end = math.exp(30)
    torch.testing.assert_close(slopes, torch.tensor([math.exp(29), end, end, end]))
    expected = torch.tensor([math.exp(29), 1.5 * end, 2 * end, end * (1e4 - 29)])
    torch.testing.assert_close(values.detach(), expected)


def test_sampled_jensen_shannon_has_no_gradient_at_equality():
    policy = torch.randn(5, 4, requires_grad=True)
    d2 = squared_separation(policy, policy.detach(), 0.8, SIGMA)
    js_sampled(d2, torch.randn(5, 4, 8)).sum().backward()
    assert torch.count_nonzero(policy.grad) == 0


@pytest.mark.parametrize("name", DIVERGENCES)
def test_reductions_are_the_written_out_ones(name):
    divergence = partial(DIVERGENCES[name], sigma=SIGMA)
    d2 = torch.rand(2, 3, 2, 2, dtype=torch.float64) * 5
    kinds = [reduce_divergence(divergence, d2, kind) for kind in ("mean", "joint", "tempered")]
    for picture, mean, joint, tempered in zip(d2, *kinds, strict=True):
        elements = picture.flatten().tolist()
        each = [divergence(torch.tensor(element)) for element in elements]
        assert mean.item() == pytest.approx(sum(each).item() / 12)
        assert joint.item() == pytest.approx(divergence(torch.tensor(sum(elements))).item())
        assert tempered.item() == pytest.approx(divergence(torch.tensor(sum(elements) / 12)).item())
