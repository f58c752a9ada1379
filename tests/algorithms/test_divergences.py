"""Closed forms against integration and sampling, values and slopes at policy == reference."""

import math
from functools import partial

import numpy
import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn import functional as F

from rocm.algorithms.divergences import (
    DIVERGENCES,
    js_sampled,
    reduce_divergence,
    squared_separation,
    transition,
)
from rocm.algorithms.schedule import Step

SIGMA = 0.6
SEPARATIONS = [0.03, 0.1, 0.5, 1.0, 2.0, 3.0, 5.0]
BOUNDED = {"js": math.log(2), "hellinger": 1.0, "tv": 1.0}
JS_TABLE = {
    0.1: 0.001248,
    0.5: 0.030311,
    1: 0.111421,
    2: 0.336831,
    3: 0.526777,
    5: 0.675942,
    8: 0.693054,
}
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
    noise = torch.randn(
        1500, dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(7)
    )
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


def test_joint_fisher_is_the_squared_distance_of_the_scores():
    policy, reference = separated(16, 2.0)
    x = torch.randn(1, 16, dtype=torch.float64, requires_grad=True)
    p = Independent(Normal(STEP.alpha_next * policy, SIGMA), 1)
    q = Independent(Normal(STEP.alpha_next * reference, SIGMA), 1)
    (score,) = torch.autograd.grad((p.log_prob(x) - q.log_prob(x)).sum(), x)
    d2 = squared_separation(policy, reference, STEP.alpha_next, SIGMA)
    fisher = reduce_divergence(partial(DIVERGENCES["fisher"], sigma=SIGMA), d2, "joint")
    torch.testing.assert_close(fisher, score.square().sum(1))


def test_joint_kl_is_that_of_torch_distributions_in_both_directions():
    policy, reference = separated(64, 3.0)
    p = Independent(Normal(STEP.alpha_next * policy, SIGMA), 1)
    q = Independent(Normal(STEP.alpha_next * reference, SIGMA), 1)
    d2 = squared_separation(policy, reference, STEP.alpha_next, SIGMA)
    kl = reduce_divergence(partial(DIVERGENCES["kl"], sigma=SIGMA), d2, "joint")
    torch.testing.assert_close(kl, kl_divergence(p, q))
    torch.testing.assert_close(kl, kl_divergence(q, p))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("name", "slope"),
    [("kl", 1 / 2), ("js", 1 / 8), ("hellinger", 1 / 8), ("fisher", 1 / SIGMA**2), ("tv", 0)],
)
def test_value_and_slope_where_training_starts(name, slope, dtype):
    d2 = torch.zeros(3, dtype=dtype, requires_grad=True)
    value = DIVERGENCES[name](d2, SIGMA)
    value.sum().backward()
    torch.testing.assert_close(value.detach(), torch.zeros_like(value), rtol=0, atol=2e-8)
    torch.testing.assert_close(d2.grad, torch.full_like(d2, slope), rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_no_gradient_in_the_latents_at_policy_equal_to_reference(name, dtype):
    policy = torch.randn(2, 4, 3, 3, dtype=dtype, requires_grad=True)
    d2 = squared_separation(policy, policy.detach(), 0.8, SIGMA)
    DIVERGENCES[name](d2, SIGMA).sum().backward()
    assert torch.count_nonzero(policy.grad) == 0


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


@pytest.mark.parametrize(("name", "slope"), [("hellinger", 4.7e-7), ("js", 1.1e-7)])
def test_bounded_divergences_have_lost_their_slope_at_ten_sigmas(name, slope):
    d2 = torch.tensor(100.0, requires_grad=True)
    DIVERGENCES[name](d2, SIGMA).backward()
    assert d2.grad.item() == pytest.approx(slope, rel=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_jensen_shannon_table_to_six_digits(dtype):
    d2 = torch.tensor(list(JS_TABLE), dtype=dtype).square()
    expected = torch.tensor(list(JS_TABLE.values()), dtype=dtype)
    torch.testing.assert_close(DIVERGENCES["js"](d2, SIGMA), expected, rtol=0, atol=7e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_jensen_shannon_quadrature_errs_by_little_more_than_a_millionth(dtype):
    separations = numpy.concatenate([numpy.geomspace(0.01, 40, 30), numpy.linspace(5, 7, 20)])
    expected = [integrals(m, 1.0)["js"] for m in separations]
    computed = DIVERGENCES["js"](torch.from_numpy(separations).to(dtype).square(), SIGMA)
    numpy.testing.assert_allclose(computed.numpy(), expected, rtol=0, atol=1.2e-6)


@pytest.mark.parametrize("m", [1e-4, 0.05, 0.5, 0.999, 1.001, 2.0, 5.3, 8.0])
def test_jensen_shannon_slope_is_the_difference_quotient_of_its_integral(m):
    step = 1e-3 * m
    ahead, behind = (integrals(math.sqrt(m**2 + h), 1.0)["js"] for h in (step * m, -step * m))
    d2 = torch.tensor(m**2, dtype=torch.float64, requires_grad=True)
    DIVERGENCES["js"](d2, SIGMA).backward()
    assert d2.grad.item() == pytest.approx((ahead - behind) / (2 * step * m), rel=1e-5, abs=5e-6)


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


def test_sampled_jensen_shannon_has_no_gradient_at_equality():
    policy = torch.randn(5, 4, requires_grad=True)
    d2 = squared_separation(policy, policy.detach(), 0.8, SIGMA)
    js_sampled(d2, torch.randn(5, 4, 8)).sum().backward()
    assert torch.count_nonzero(policy.grad) == 0


def test_sampled_jensen_shannon_is_the_mean_of_the_written_out_terms():
    d, draws = 1.5, torch.tensor([-1.0, 0.25, 2.0], dtype=torch.float64)
    terms = [math.log(2) - math.log(1 + math.exp(d * z - d * d / 2)) for z in draws.tolist()]
    value = js_sampled(torch.tensor(d * d, dtype=torch.float64), draws)
    assert value.item() == pytest.approx(sum(terms) / 3, abs=1e-12)


def test_separation_is_that_of_the_transition_means_in_sigmas():
    policy, reference = torch.randn(2, 3, 4, 5, 5, dtype=torch.float64)
    d2 = squared_separation(policy, reference, 0.8, SIGMA)
    torch.testing.assert_close(d2, ((0.8 * policy - 0.8 * reference) / SIGMA) ** 2)
    torch.testing.assert_close(d2, squared_separation(reference, policy, 0.8, SIGMA))
    assert torch.count_nonzero(squared_separation(policy, policy, 0.8, SIGMA)) == 0


@pytest.mark.parametrize("name", DIVERGENCES)
def test_reductions_are_the_written_out_ones(name):
    divergence = partial(DIVERGENCES[name], sigma=SIGMA)
    d2 = torch.rand(2, 3, 2, 2, dtype=torch.float64) * 5
    for picture, mean, joint, tempered in zip(
        d2,
        reduce_divergence(divergence, d2, "mean"),
        reduce_divergence(divergence, d2, "joint"),
        reduce_divergence(divergence, d2, "tempered"),
        strict=True,
    ):
        elements = picture.flatten().tolist()
        each = [divergence(torch.tensor(element)) for element in elements]
        assert mean.item() == pytest.approx(sum(each).item() / 12)
        assert joint.item() == pytest.approx(divergence(torch.tensor(sum(elements))).item())
        assert tempered.item() == pytest.approx(divergence(torch.tensor(sum(elements) / 12)).item())


@pytest.mark.parametrize("name", ["kl", "fisher"])
def test_linear_divergences_differ_by_the_number_of_elements_only(name):
    divergence = partial(DIVERGENCES[name], sigma=SIGMA)
    d2 = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    joint = reduce_divergence(divergence, d2, "joint")
    torch.testing.assert_close(reduce_divergence(divergence, d2, "mean"), joint / 48)
    torch.testing.assert_close(reduce_divergence(divergence, d2, "tempered"), joint / 48)


def test_joint_affinity_is_the_product_of_the_elements_affinities():
    hellinger = partial(DIVERGENCES["hellinger"], sigma=SIGMA)
    d2 = torch.rand(3, 4, 2, 2, dtype=torch.float64)
    product = (1 - hellinger(d2)).flatten(1).prod(1)
    torch.testing.assert_close(reduce_divergence(hellinger, d2, "joint"), 1 - product)


@pytest.mark.parametrize("name", BOUNDED)
def test_bounded_divergences_are_smallest_as_mean_and_largest_jointly(name):
    divergence = partial(DIVERGENCES[name], sigma=SIGMA)
    d2 = torch.rand(5, 3, 4, 4, dtype=torch.float64) * 3
    mean, tempered, joint = (
        reduce_divergence(divergence, d2, reduction) for reduction in ("mean", "tempered", "joint")
    )
    assert (mean < tempered).all()
    assert (tempered < joint).all()


def test_a_small_difference_saturates_the_joint_divergences_of_a_large_latent():
    d2 = torch.full((1, 4, 64, 64), (0.1 / 0.9) ** 2, requires_grad=True)
    assert d2.sum().sqrt().item() == pytest.approx(14.2, abs=0.03)
    expected = {"kl": 101.1, "hellinger": 1.0, "js": math.log(2)}
    for name, value in expected.items():
        joint = reduce_divergence(partial(DIVERGENCES[name], sigma=0.9), d2, "joint")
        assert joint.item() == pytest.approx(value, rel=1e-3)
        (slope,) = torch.autograd.grad(joint.sum(), d2)
        assert (slope.max() < 1e-10) == (name != "kl")


def test_fisher_is_kl_weighted_by_two_over_the_variance():
    d2 = torch.rand(7, dtype=torch.float64)
    for sigma, weight in ((0.9912, 2.04), (0.3961, 12.7)):
        ratio = DIVERGENCES["fisher"](d2, sigma) / DIVERGENCES["kl"](d2, sigma)
        torch.testing.assert_close(ratio, torch.full_like(d2, weight), rtol=5e-3, atol=0)


def test_betas_match_to_second_order_at_four_to_one():
    d2 = torch.tensor(1e-4, dtype=torch.float64)
    kl = DIVERGENCES["kl"](d2, SIGMA)
    torch.testing.assert_close(4 * DIVERGENCES["js"](d2, SIGMA), kl, rtol=1e-4, atol=0)
    torch.testing.assert_close(4 * DIVERGENCES["hellinger"](d2, SIGMA), kl, rtol=1e-4, atol=0)
    torch.testing.assert_close(SIGMA**2 / 2 * DIVERGENCES["fisher"](d2, SIGMA), kl)


@pytest.mark.parametrize("last_step", ["smooth", "skip", "floor"])
def test_steps_before_the_last_compare_the_transition_that_is_drawn(last_step):
    assert transition(STEP, False, last_step, 0.1) == (STEP.alpha_next, STEP.sigma_next)


def test_last_step_compares_what_the_setting_says():
    last = Step(259, alpha=0.6, sigma=0.8, c_skip=0, c_out=1, alpha_next=1, sigma_next=0)
    assert transition(last, True, "smooth", 0.1) == (0.6, 0.8)
    assert transition(last, True, "floor", 0.1) == (1, 0.1)
    assert transition(last, True, "skip", 0.1) is None
