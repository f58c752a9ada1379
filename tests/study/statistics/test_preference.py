"""Rewards learned from simulated votes of known truth."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from rocm.study.statistics import preference_checks as checks
from rocm.study.statistics.agreement import Share
from rocm.study.statistics.preference_basis import Basis, whitener_and_gate
from rocm.study.statistics.preference_checks import Gain
from rocm.study.statistics.preference_fit import (
    RATER_PRECISION,
    SIDE_PRECISION,
    TIE_PRECISION,
    Plan,
    choose,
    ensemble,
    fit,
    folds,
    learn,
    pick,
    resamples,
    stacked,
)
from scripts.preference_nulls import Crowd, simulate

NAMES = ["reward 0", "reward 1", "reward 2"]
ALL = (0, 1, 2)


def made(seed: int = 0, **changed):
    return simulate(Crowd(**changed), np.random.default_rng(seed))


def penalized(values, choices, prior, ridge, votes):
    """The minimized value by the formula, rater effects as parameters of their own."""
    row = np.unique(choices.rater, return_inverse=True)[1]
    weights, (side, log_nu), effects = np.split(values, [len(prior), len(prior) + 2])
    eta = choices.difference @ weights + (side + effects[row]) * choices.side
    shares = np.stack([np.exp(eta / 2), np.exp(log_nu) + 0 * eta, np.exp(-eta / 2)], 1)
    shares /= shares.sum(1, keepdims=True)
    loss = -votes @ np.log(shares[np.arange(len(eta)), choices.answer])
    loss += 0.5 * ridge @ (weights - prior) ** 2 + 0.5 * RATER_PRECISION * effects @ effects
    return loss + 0.5 * (SIDE_PRECISION * side**2 + TIE_PRECISION * log_nu**2)


def test_the_fit_is_the_minimum_of_the_formula():
    choices, _, _ = made(num_votes=200, num_raters=5, num_features=4)
    prior, ridge = np.array([0.5, 0, 0, -0.2]), np.array([3.0, 1, 10, 2])
    votes = np.random.default_rng(1).integers(0, 3, 200).astype(float)
    fitted = fit(choices, prior, ridge, votes)
    slow = minimize(penalized, np.zeros(4 + 2 + 5), (choices, prior, ridge, votes), tol=1e-9)
    np.testing.assert_allclose(fitted.weights, slow.x[:4], atol=1e-4)
    np.testing.assert_allclose([fitted.side, fitted.log_nu], slow.x[4:6], atol=1e-4)


def test_many_votes_give_the_weights_that_raters_vote_by():
    choices, _, truth = made(num_votes=30_000, num_prompts=400, num_features=6)
    fitted = learn(choices, Plan(ALL, 10.0))
    np.testing.assert_allclose(fitted.weights, truth, atol=0.1)
    assert fitted.log_nu == pytest.approx(-1.0, abs=0.1)
    assert fitted.side == pytest.approx(0.0, abs=0.2)


def test_exchanging_both_pictures_exchanges_the_answer_and_nothing_else():
    choices, _, _ = made()
    turned = replace(
        choices,
        difference=-choices.difference,
        side=-choices.side,
        answer=2 - choices.answer,
        arms=-choices.arms,
    )
    one, other = learn(choices, Plan(ALL, 30.0)), learn(turned, Plan(ALL, 30.0))
    np.testing.assert_allclose(one.weights, other.weights, atol=1e-6)
    assert one.side == pytest.approx(other.side, abs=1e-6)


def test_the_ridge_pulls_towards_the_stacked_rewards_and_takes_their_freedom():
    choices, _, _ = made()
    stack, pulled = stacked(choices, ALL), learn(choices, Plan(ALL, 1e9))
    assert np.abs(stack.weights[:3]).max() > 0.1
    assert not stack.weights[3:].any()
    np.testing.assert_allclose(pulled.weights, stack.weights, atol=1e-4)
    assert pulled.freedom == pytest.approx(stack.freedom, abs=1e-3)
    assert (
        stack.freedom
        < learn(choices, Plan(ALL, 300.0)).freedom
        < learn(choices, Plan(ALL, 10.0)).freedom
        <= 20
    )


def test_freedom_is_the_number_of_weights_without_a_ridge():
    choices, _, _ = made(num_votes=3000, num_features=5)
    fitted = fit(choices, np.zeros(5), np.full(5, 1e-6))
    assert fitted.freedom == pytest.approx(5, abs=1e-4)


def test_votes_without_ties_and_all_for_the_left_have_a_finite_fit():
    choices, _, _ = made()
    left = replace(choices, answer=np.where(choices.side > 0, 0, 2))
    fitted = learn(left, Plan(ALL, 30.0))
    assert np.isfinite([*fitted.weights, fitted.side, fitted.log_nu]).all()
    assert fitted.side > 3
    assert fitted.log_loss(left).mean() < 0.02


def test_folds_leave_out_every_vote_once_with_its_prompt_and_rater():
    choices, _, _ = made()
    left_out = np.zeros(len(choices.side))
    for train, out in folds(choices, 4):
        left_out += out
        for column in (choices.prompt, choices.rater):
            assert not set(column[train]) & set(column[out])
    assert (left_out == 1).all()


def test_weak_features_are_left_to_the_rewards_and_strong_ones_are_used():
    choices, _, _ = made(num_votes=1500)
    assert choose(choices).rewards == ALL
    assert choose(choices).ridge <= 300
    alone = replace(choices, difference=choices.difference.copy())
    rng = np.random.default_rng(5)
    alone.difference[:, 3:] = rng.normal(size=alone.difference[:, 3:].shape)
    assert choose(alone).ridge > choose(choices).ridge
    single = replace(choices, answer=np.where(choices.difference[:, 1] > 0, 0, 2))
    plan = choose(single)
    assert (plan.rewards, plan.ridge) == ((1,), 1e9)
    assert plan.temperature > 1  # the ridge of one reward's weight is too strong for sure raters


def test_a_temperature_multiplies_the_weights_and_nothing_else():
    choices, _, _ = made()
    plain, warm = learn(choices, Plan(ALL, 30.0)), learn(choices, Plan(ALL, 30.0, 0.5))
    np.testing.assert_allclose(warm.weights, plain.weights / 2)
    assert (warm.side, warm.log_nu, warm.freedom) == (plain.side, plain.log_nu, plain.freedom)
    coin, _, _ = made(kind="coin")
    assert choose(coin).temperature < choose(choices).temperature


def test_a_comparison_is_two_arms_in_any_order_and_all_pairs_within_arms_are_one():
    choices, _, _ = made()
    numbers = {}
    for number, row in zip(choices.comparison, choices.arms, strict=True):
        numbers.setdefault(frozenset(np.flatnonzero(row)), set()).add(int(number))
    assert len(numbers) == 4  # three of two arms, and within an arm
    assert sorted(n for own in numbers.values() for n in own) == [0, 1, 2, 3]


def test_what_one_comparison_teaches_is_tried_on_the_others():
    choices, _, _ = made(num_votes=900, num_features=6)
    plan = Plan(ALL, 30.0)
    losses = checks.leave_comparisons_out(choices, plan)
    better = losses[checks.ELSEWHERE_CONSTANT] - losses[checks.ELSEWHERE]
    assert better.mean() > 0.1
    # In comparison 0 raters prefer the reverse: what the others teach is wrong there.
    turned = choices.comparison == 0
    upset = replace(choices, answer=np.where(turned, 2 - choices.answer, choices.answer))
    losses = checks.leave_comparisons_out(upset, plan)
    better = losses[checks.ELSEWHERE_CONSTANT] - losses[checks.ELSEWHERE]
    assert better[turned].mean() < -0.1
    assert checks.leave_comparisons_out(choices.where(turned), plan) == {}


def test_resamples_weigh_a_vote_by_its_prompt_and_its_rater():
    choices, _, _ = made()
    weights = resamples(choices, 300)
    assert weights.mean() == pytest.approx(1, abs=0.1)
    assert set(np.unique(weights)) <= set(range(100))
    same = (choices.prompt == choices.prompt[0]) & (choices.rater == choices.rater[0])
    assert (weights[:, same] == weights[:, [0]]).all()
    refits = ensemble(choices, Plan(ALL, 30.0))
    assert refits.shape == (16, 20)
    assert (refits.std(0) > 0).all()


@pytest.mark.slow
def test_held_out_accuracy_is_near_the_true_utility():
    choices, repeats, truth = made(num_votes=2000, num_prompts=100, num_raters=30)
    held_out = checks.cross_validate(choices, NAMES)
    gains = checks.gains(choices, held_out)
    assert not checks.refusals(choices, gains, repeats, learn(choices, held_out.plan).freedom)
    best = checks.accuracy(choices, choices.difference @ truth).share
    assert checks.accuracy(choices, held_out.utility).share > 0.9 * best
    for predicted, seen in checks.calibration(choices, held_out.utility):
        assert seen.share == pytest.approx(predicted, abs=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["coin", "left"])
def test_votes_that_ignore_the_pictures_are_refused(kind):
    choices, _, _ = made(kind=kind, num_votes=300, num_features=8)
    gains = checks.gains(choices, checks.cross_validate(choices, NAMES))
    assert "beyond chance" in " ".join(checks.refusals(choices, gains, Share(0, 0), 1.0))


@pytest.mark.slow
def test_votes_by_a_single_reward_and_by_the_arm_alone_are_refused():
    choices, _, _ = made(num_votes=500, num_features=8)
    one = replace(choices, answer=np.where(choices.difference[:, 1] > 0, 0, 2))
    gains = checks.gains(one, checks.cross_validate(one, NAMES))
    assert "beyond reward 1" in " ".join(checks.refusals(one, gains, Share(0, 0), 1.0))
    # Arm 0 always wins; the features tell the arms apart.
    won = choices.arms[:, 0]
    coin = np.random.default_rng(0).integers(0, 2, 500) * 2
    told = choices.difference + 3 * choices.arms[:, [0]]
    arm = replace(choices, difference=told, answer=np.where(won == 0, coin, 1 - won).astype(int))
    gains = checks.gains(arm, checks.cross_validate(arm, NAMES))
    by_name = {gain.name: gain for gain in gains}
    assert by_name[checks.CONSTANT].lower > 0.05
    reasons = checks.refusals(arm, gains, Share(0, 0), 1.0)
    assert any(reason.startswith("The arms explain") for reason in reasons)


@pytest.mark.parametrize(
    ("repeats", "freedom", "words"),
    [
        (Share(64, 100), 10.0, "64.0 % of 100"),
        (Share(65, 100), 10.0, ""),
        (Share(0, 0), 10.0, ""),
        (Share(9, 10), 100.0, "effective degrees of freedom"),
    ],
)
def test_careless_raters_and_few_votes_are_refused_with_their_figure(repeats, freedom, words):
    choices, _, _ = made()
    names = (checks.CONSTANT, checks.ARMS, checks.ARMED, checks.LEARNED, "reward 0")
    gains = [Gain(name, 1.0, 0.1, 0.05) for name in names]
    elsewhere = Gain(checks.ELSEWHERE_CONSTANT, 1.0, -0.1, -0.2)
    more = checks.refusals(choices, [*gains, elsewhere], repeats, freedom)
    assert "-0.1000 nats" in "".join(more)
    reasons = checks.refusals(choices, gains, repeats, freedom)
    assert len(reasons) == bool(words)
    assert words in "".join(reasons)


def test_a_round_is_the_disputed_pairs_and_a_random_part_of_the_others():
    rng = np.random.default_rng(0)
    refits, difference = rng.normal(size=(16, 5)), rng.normal(size=(200, 5))
    rows = pick(refits, difference, 50, seed=0)
    assert len(set(rows)) == 50
    assert rows == sorted(rows)
    spread = np.std([difference @ w for w in refits], axis=0)
    sharpest = set(np.argsort(spread)[-35:].tolist())
    assert sharpest <= set(rows)
    others = [set(pick(refits, difference, 50, seed)) - sharpest for seed in range(60)]
    assert len(set.union(*others)) > 150  # any of the others may come
    assert pick(refits, difference, 200, seed=0) == list(range(200))


def test_the_learning_curve_expects_no_less_of_more_votes():
    choices, _, _ = made(num_features=8)
    held_out = checks.cross_validate(choices, NAMES)
    points, expected = checks.learning_curve(choices, held_out)
    assert [num for num, _ in points] == [240, 360, 480, 600]
    assert points[-1][1] == checks.accuracy(choices, held_out.utility).share
    assert 0.5 < expected <= 1


def test_the_basis_has_unit_differences_and_drops_what_no_pair_differs_in():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(40, 6 + 2 * 50)) * np.linspace(1, 2, 106)
    table[:, 1] = 7.0
    table[:, 3:6] = table[:, :3] ** 2
    pairs = np.arange(40).reshape(20, 2)
    basis = Basis.of(table, pairs, 3)
    assert basis.rewards_told.tolist() == [True, False, True]
    assert basis.sizes[:2] == (2, 2)
    assert basis.sizes[2] <= 20
    assert basis.sizes[3] == 15
    phi = basis(table)
    about = (table[:, 2] - table[:, 2].mean()) ** 2
    np.testing.assert_allclose(np.corrcoef(phi[:, 3], about)[0, 1], 1)
    difference = phi[pairs[:, 0]] - phi[pairs[:, 1]]
    np.testing.assert_allclose((difference**2).mean(0), 1)
    np.testing.assert_allclose(phi.mean(0), 0, atol=1e-9)


def test_the_gate_is_passed_by_one_picture_in_a_hundred():
    phi = np.random.default_rng(0).normal(size=(5000, 6)) @ np.diag([1, 2, 3, 4, 5, 6.0])
    whitener, gate = whitener_and_gate(phi)
    distance = np.sqrt(((phi @ whitener) ** 2).mean(1))
    assert (distance > gate).mean() == pytest.approx(0.01, abs=1e-3)
    assert gate == pytest.approx(np.sqrt(16.81 / 6), rel=0.03)  # chi-square of 6 at 99 %
