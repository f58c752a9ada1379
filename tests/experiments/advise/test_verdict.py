"""The verdict of a pilot: its interval, its levels, and how often it is wrong."""

import numpy as np
import pytest

from rocm.experiments.advise.verdict import Arm, Round, compared, deviations, pilot
from scripts.advise_calibration import NOISES, simulated


def gaps(seed: int, prompt: float, of_seed: float, rest: float, shape=(40, 4)) -> np.ndarray:
    generator = np.random.default_rng(seed)
    parts = [generator.normal(size=size) for size in ((shape[0], 1), shape[1], shape)]
    return sum(sd * part for sd, part in zip((prompt, of_seed, rest), parts, strict=True))


SDS = [(0.4, 0.0, 0.0), (0.0, 0.3, 0.0), (0.0, 0.0, 0.5), (0.3, 0.1, 0.5)]


@pytest.mark.parametrize("sds", SDS)
def test_the_spread_has_the_variance_of_the_mean_whatever_varies(sds):
    resampled = [deviations(gaps(seed, *sds)).var() for seed in range(150)]
    true = np.var([gaps(seed, *sds).mean() for seed in range(4000)])
    # A variance is not taken below that of the rest, so it is large if only the rest varies.
    assert 0.85 < np.mean(resampled) / true < 1.4


def test_one_seed_is_resampled_over_prompts():
    column = gaps(1, 0.5, 0.0, 0.0, (32, 1))
    assert deviations(column).std() == pytest.approx(column.std(ddof=1) / np.sqrt(32), rel=1e-6)


def test_a_difference_is_paired_by_prompt_and_seed():
    shared = 10 * gaps(2, 1, 1, 1, (16, 2))
    one = compared("js", [Arm(shared + 0.5, 30.0)], [Arm(shared, 40.0)], 0.05)
    assert (one.mean, one.low, one.high) == pytest.approx((0.5, 0.5, 0.5))
    assert one.p_value < 0.001
    assert compared("js", [Arm(shared - 0.5, 30.0)], [Arm(shared, 40.0)], 0.05).p_value == 1


def asked_with(effects: dict[str, float], nats: dict[str, float] | None = None):
    """The verdict with exact scores, and the rounds that were asked for."""
    rounds: list[Round] = []

    def measure(asked: Round) -> dict[str, Arm]:
        rounds.append(asked)
        noise = gaps(len(rounds), 0.1, 0.0, 0.1, (16, len(asked.seeds)))
        found = {}
        for name in asked.divergences:
            effect = effects.get(name, 0.0)
            found[name] = Arm(effect + noise * (1 + effect), (nats or {}).get(name, 40.0))
        return found

    return pilot(["kl", "js", "tv", "fisher", "hellinger", "chi_square"], 3, 4, measure), rounds


def test_half_is_dropped_and_the_best_trains_with_fresh_seeds():
    verdict, rounds = asked_with({"js": 0.5, "tv": 0.2, "fisher": 0.1, "hellinger": -0.3})
    assert [one.divergences for one in rounds[1:]] == [
        ("kl", "js", "tv", "fisher"),
        ("kl", "js", "tv"),
        ("kl", "js"),
    ]
    assert [one.seeds for one in rounds] == [(0,), (1,), (2,), (3, 4, 5, 6)]
    assert [one.is_fresh for one in rounds] == [False] * 3 + [True]
    assert verdict.advice == "js"
    assert verdict.confirmed is not None
    assert verdict.confirmed.num_seeds == 4


def test_an_advantage_below_the_threshold_or_at_another_kl_is_not_advised():
    verdict, rounds = asked_with({"js": 0.2})
    assert rounds[-1].is_fresh  # it is ahead
    assert verdict.advice == "kl"
    assert "No difference above 0.2" in verdict.sentence
    assert asked_with({"js": 0.5}, {"js": 80.0})[0].advice == "kl"


def test_simulated_pilots_advise_kl_without_a_difference_and_find_a_planted_winner():
    noise = NOISES["expected"]
    null = [simulated({}, noise, seed).advice for seed in range(40)]
    assert null.count("kl") >= 38
    planted = [simulated({"js": 0.5}, noise, seed).advice for seed in range(40)]
    assert planted.count("js") >= 32
