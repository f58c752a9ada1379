"""The objective's value and gradient against a second implementation and finite differences.

`own_loss` writes the objective out on a toy network: `moved` parameters stand wherever the gradient
is meant to flow and `fixed` ones elsewhere. Its finite difference in `moved` at moved == fixed is
the definition of the gradient, for every `ref_grad` and gradient path.
"""

import math
from dataclasses import dataclass, replace
from itertools import product

import numpy
import pytest
import torch

from rocm.algorithms.divergences import Penalty
from rocm.algorithms.problem import Problem
from rocm.algorithms.rocm import renoised_objectives, rocm_objective
from rocm.algorithms.trajectory import GradientPath, gradient_path
from tests.algorithms.linear_toy import draw_noise, linear_terms, schedule_of

REFERENCE = torch.tensor([0.80, 0.30, -0.20], dtype=torch.float64)
POLICY = torch.tensor([0.95, 0.38, -0.05], dtype=torch.float64)
DIVERGENCES = ["kl", "js", "hellinger", "fisher", "tv", "chi_square"]
REDUCTIONS = ["mean", "joint", "tempered"]
REF_GRADS = ["exact", "detach", "none"]
PREDICTION_TYPES = ["epsilon", "v_prediction", "sample"]
BETAS = {"kl": 1.0, "js": 4.0, "hellinger": 4.0, "fisher": 0.2, "tv": 1.0, "chi_square": 0.5}


def raw_output(parameters, state, timesteps):
    shift = (timesteps.double() / 1000)[:, None, None, None]
    mixed = parameters[0] * state + parameters[1] * state.roll(1, -1) + shift
    return torch.tanh(mixed) + parameters[2] * state.flip(1)


def seeded(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def decode(latents):
    return torch.sin(latents) + 0.1 * latents.roll(1, -2)


def reward(images):
    return (images - 0.3).square().flatten(1).mean(1).neg() + images[:, 0].flatten(1).mean(1)


@dataclass(frozen=True)
class Toy:
    """One setting of everything that the objective depends on."""

    penalty: Penalty
    noise: torch.Tensor
    path: GradientPath
    prediction_type: str = "epsilon"

    @property
    def schedule(self):
        return schedule_of(len(self.noise))

    def problem(self, parameters):
        return Problem(
            policy=lambda state, timesteps: raw_output(parameters, state, timesteps),
            reference=lambda state, timesteps: raw_output(REFERENCE, state, timesteps),
            prediction_type=self.prediction_type,
            decode=decode,
            reward=reward,
        )

    def objective(self, parameters, generators=()):
        return rocm_objective(
            self.problem(parameters), self.noise, self.schedule, self.path, self.penalty, generators
        )

    def with_penalty(self, **settings):
        return replace(self, penalty=replace(self.penalty, **settings))

    def gradient(self, parameters=POLICY):
        leaf = parameters.clone().requires_grad_()
        self.objective(leaf).loss.backward()
        return leaf.grad


def toy(num=3, backprop="full", num_trained=1, prediction_type="epsilon", batch=2, **penalty):
    penalty = {"beta": BETAS[penalty.get("divergence", "kl")], **penalty}
    path = gradient_path(backprop, num, num_trained)
    return Toy(Penalty(**penalty), draw_noise(num - 1, batch), path, prediction_type)


def own_divergence(name, separation, sigma):
    """Of two Gaussians `separation` sigmas apart; js by the trapezoid rule."""
    if name == "kl":
        return separation**2 / 2
    if name == "hellinger":
        return 1 - numpy.exp(-(separation**2) / 8)
    if name == "fisher":
        return (separation / sigma) ** 2
    if name == "tv":
        return numpy.vectorize(math.erf)(separation / math.sqrt(8))
    if name == "chi_square":
        return numpy.expm1(separation**2)
    z = numpy.linspace(-9, 9, 1801)
    density = numpy.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    separation = numpy.asarray(separation)[..., None]
    softplus = numpy.logaddexp(0, separation * z - separation**2 / 2)
    return math.log(2) - (softplus * density).sum(-1) * (z[1] - z[0])


def own_reduction(name, reduction, separation, sigma):
    flat = separation.reshape(len(separation), -1)
    if reduction == "mean":
        return own_divergence(name, flat, sigma).mean(1)
    total = (flat**2).sum(1)
    if reduction == "tempered":
        total = total / flat.shape[1]
    return own_divergence(name, numpy.sqrt(total), sigma)


def own_states(case, parameters):
    """States of the chain at fixed parameters."""
    state, states = case.noise[0], []
    for n, step in enumerate(case.schedule):
        states.append(state)
        p, q = linear_terms(step, case.prediction_type)
        timesteps = torch.full((len(state),), step.timestep)
        f = p * state + q * raw_output(parameters, state, timesteps)
        if n + 1 < len(case.schedule):
            state = step.alpha_next * f + step.sigma_next * case.noise[n + 1]
    return states


def own_loss(case, moved, fixed):
    """-R + beta * sum of divergences, averaged over the batch; see the module's docstring."""
    fixed_states, penalty = own_states(case, fixed), case.penalty
    state, terms = case.noise[0], []
    for n, step in enumerate(case.schedule):
        p, q = linear_terms(step, case.prediction_type)
        timesteps = torch.full((len(state),), step.timestep)
        parameters = moved if case.path.trained[n] else fixed
        seen = fixed_states[n] if case.path.detach_input else state
        f = p * state + q * raw_output(parameters, seen, timesteps)
        policy, reference = f, p * state + q * raw_output(REFERENCE, seen, timesteps)
        if penalty.ref_grad != "exact" and not case.path.detach_input:
            there = fixed_states[n]
            reference = p * there + q * raw_output(REFERENCE, there, timesteps)
            if penalty.ref_grad == "detach":
                policy = p * there + q * raw_output(parameters, there, timesteps)
        gaussian = step.alpha_next, step.sigma_next
        if n + 1 == len(case.schedule):
            last = {"smooth": (step.alpha, step.sigma), "floor": (1, penalty.sigma_floor)}
            gaussian = last.get(penalty.last_step)
        else:
            state = step.alpha_next * f + step.sigma_next * case.noise[n + 1]
        if gaussian:
            alpha, sigma = gaussian
            separation = (alpha * (policy - reference) / sigma).abs().numpy()
            terms.append(own_reduction(penalty.divergence, penalty.reduction, separation, sigma))
    return (-reward(decode(f)).numpy() + penalty.beta * sum(terms)).mean()


def finite_difference(case, parameters=POLICY, step=1e-5):
    slopes = []
    for direction in torch.eye(3, dtype=torch.float64) * step:
        ahead = own_loss(case, parameters + direction, parameters)
        behind = own_loss(case, parameters - direction, parameters)
        slopes.append((ahead - behind) / (2 * step))
    return torch.tensor(slopes, dtype=torch.float64)


@pytest.mark.parametrize(
    ("divergence", "reduction"),
    [pair for pair in product(DIVERGENCES, REDUCTIONS) if pair != ("chi_square", "joint")],
)
@pytest.mark.parametrize("ref_grad", REF_GRADS)
def test_value_and_gradient_of_every_divergence_and_reduction(divergence, reduction, ref_grad):
    scale = 1 / 8 if reduction == "joint" else 1
    penalty = {"divergence": divergence, "reduction": reduction, "ref_grad": ref_grad}
    case = toy(**penalty, beta=BETAS[divergence] * scale)
    value = case.objective(POLICY).loss.item()
    assert value == pytest.approx(own_loss(case, POLICY, POLICY), rel=1e-6)
    # The quadrature's value is right to a millionth, its slope to a few millionths.
    rtol = 3e-4 if divergence == "js" else 2e-6
    torch.testing.assert_close(case.gradient(), finite_difference(case), rtol=rtol, atol=1e-7)


@pytest.mark.parametrize("ref_grad", REF_GRADS)
@pytest.mark.parametrize(
    ("backprop", "num_trained"), [("last_k", 1), ("last_k", 2), ("drtune", 1), ("drtune", 2)]
)
def test_gradient_along_every_path_is_its_definition(backprop, num_trained, ref_grad):
    case = toy(num=4, backprop=backprop, num_trained=num_trained, ref_grad=ref_grad)
    torch.testing.assert_close(case.gradient(), finite_difference(case), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("last_step", ["smooth", "skip", "floor"])
@pytest.mark.parametrize("num", [1, 4])
def test_value_and_gradient_for_every_last_step(num, last_step, prediction_type):
    case = toy(num=num, last_step=last_step, prediction_type=prediction_type, sigma_floor=0.25)
    value = case.objective(POLICY).loss.item()
    assert value == pytest.approx(own_loss(case, POLICY, POLICY), rel=1e-9)
    torch.testing.assert_close(case.gradient(), finite_difference(case), rtol=2e-6, atol=1e-7)


def test_detach_and_none_are_not_the_true_gradient():
    case = toy(num=4)
    truth = finite_difference(case)
    gradients = [case.with_penalty(ref_grad=ref_grad).gradient() for ref_grad in REF_GRADS]
    exact, detach, none = ((gradient - truth).norm() / truth.norm() for gradient in gradients)
    assert exact < 1e-6
    assert detach > 0.1
    assert none > 1


@pytest.mark.parametrize(
    ("divergence", "ref_grad", "backprop"),
    [*product(DIVERGENCES, REF_GRADS, ["full"]), ("kl", "exact", "drtune")],
)
def test_policy_equal_to_reference_has_no_divergence_and_no_gradient_of_it(
    divergence, ref_grad, backprop
):
    case = toy(divergence=divergence, ref_grad=ref_grad, backprop=backprop, beta=10.0)
    found = case.objective(REFERENCE)
    assert found.divergences.abs().max().item() < 1e-12
    assert found.kl_nats.item() < 1e-12
    gradient = case.with_penalty(beta=0.0).gradient(REFERENCE)
    torch.testing.assert_close(case.gradient(REFERENCE), gradient, rtol=1e-9, atol=1e-12)
    assert gradient.norm() > 0.01


def test_reward_is_maximized_and_divergence_minimized():
    case = toy(num=4, beta=2.0)
    before = case.objective(POLICY)
    after = case.objective(POLICY - 1e-3 * case.with_penalty(beta=0.0).gradient())
    assert after.rewards.mean() > before.rewards.mean()
    after = case.objective(POLICY - 1e-8 * case.with_penalty(beta=1e4).gradient())
    assert after.divergences.sum() < before.divergences.sum()


@pytest.mark.parametrize(("beta", "ref_grad"), [(0.7, "exact"), *product([0.0], REF_GRADS)])
def test_objective_reports_what_the_loss_is_made_of(beta, ref_grad):
    case = toy(num=4, beta=beta, ref_grad=ref_grad)
    found = case.objective(POLICY)
    assert found.divergences.shape == (4, 2)
    assert (found.divergences > 1e-4).all()
    parts = -found.rewards.mean().item() + beta * found.divergences.sum(0).mean().item()
    assert found.loss.item() == pytest.approx(parts, abs=1e-12)
    torch.testing.assert_close(found.rewards, reward(found.images))
    torch.testing.assert_close(case.gradient(), finite_difference(case), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nats_are_the_joint_kl_whatever_the_penalty(divergence, reduction):
    joint = toy(num=4, reduction="joint").objective(POLICY)
    found = toy(num=4, divergence=divergence, reduction=reduction, beta=0.3).objective(POLICY)
    torch.testing.assert_close(found.kl_nats, joint.divergences.sum(0).mean())


@pytest.mark.parametrize("ref_grad", REF_GRADS)
def test_a_batch_of_four_is_the_mean_of_two_batches_of_two(ref_grad):
    four = toy(num=3, batch=4, ref_grad=ref_grad)
    halves = [replace(four, noise=four.noise[:, :2]), replace(four, noise=four.noise[:, 2:])]
    accumulated = sum(half.gradient() for half in halves) / 2
    torch.testing.assert_close(four.gradient(), accumulated)
    losses = sum(half.objective(POLICY).loss for half in halves) / 2
    torch.testing.assert_close(four.objective(POLICY).loss, losses)


def test_sampled_jensen_shannon_follows_its_generator_and_comes_close_to_the_quadrature():
    case = toy(divergence="js", js_samples=20_000)
    first, again, other = (
        case.objective(POLICY, seeded(seed, 7)).divergences for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    exact = toy(divergence="js").objective(POLICY).divergences
    torch.testing.assert_close(first, exact, rtol=0.05, atol=2e-4)


@pytest.mark.parametrize("beta", [0.0, 1.0])
@pytest.mark.parametrize(
    ("ref_grad", "backprop", "extra"),
    [("exact", "full", 0), ("none", "full", 0), ("detach", "full", 8), ("detach", "last_k", 4)],
)
def test_reference_is_one_call_and_of_the_noise_another_and_only_detach_calls_the_policy_again(
    ref_grad, backprop, extra, beta
):
    case = toy(num=4, ref_grad=ref_grad, backprop=backprop, num_trained=2, beta=beta)
    calls = {"policy": [], "reference": []}

    def counted(name, network):
        def call(state, timesteps):
            calls[name].append(len(state))
            return network(state, timesteps)

        return call

    is_split = ref_grad == "exact" and beta > 0  # no gradient comes back to the noise
    problem = case.problem(POLICY.clone().requires_grad_())
    problem = replace(
        problem,
        policy=counted("policy", problem.policy),
        reference=counted("reference", problem.reference),
    )
    rocm_objective(problem, case.noise, case.schedule, case.path, case.penalty)
    assert calls["reference"] == ([2, 6] if is_split else [8])
    assert calls["policy"] == [2] * 4 + ([extra] if extra and beta else [])


def test_without_gradient_the_objective_is_only_measured():
    case = toy()
    with torch.no_grad():
        found = case.objective(POLICY.clone().requires_grad_())
    assert not found.loss.requires_grad
    torch.testing.assert_close(found.loss, case.objective(POLICY).loss)


def test_re_noised_gradients_are_those_of_one_step_from_a_fixed_picture():
    """DRaFT-LV: value and finite difference of the last step alone, for each draw."""
    case, last = toy(num=1), schedule_of(3)[-1]
    latents, draws = draw_noise(0, batch=2, seed=3)[0], seeded(4, 5)
    leaf = POLICY.clone().requires_grad_()
    found = list(
        renoised_objectives(case.problem(leaf), latents, last, 2, case.penalty, seeded(4, 5))
    )
    assert len(found) == 2

    def loss(parameters, state):
        timesteps = torch.full((2,), last.timestep)
        p, q = linear_terms(last, "epsilon")
        policy, reference = (
            p * state + q * raw_output(one, state, timesteps) for one in (parameters, REFERENCE)
        )
        separation = (last.alpha * (policy - reference) / last.sigma).square()
        return (-reward(decode(policy)) + case.penalty.beta * separation.mean((1, 2, 3)) / 2).mean()

    for one in found:
        noise = torch.stack([torch.randn(latents.shape[1:], generator=one) for one in draws])
        state = last.alpha * latents + last.sigma * noise.double()
        assert one.loss.item() == pytest.approx(loss(POLICY, state).item(), rel=1e-9)
        (gradient,) = torch.autograd.grad(one.loss, leaf)
        slopes = [
            (loss(POLICY + step, state) - loss(POLICY - step, state)).item() / 2e-5
            for step in 1e-5 * torch.eye(3, dtype=torch.float64)
        ]
        assert gradient.tolist() == pytest.approx(slopes, rel=1e-5)
