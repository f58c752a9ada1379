"""The laws of overoptimization: planted constants are found, and what cannot be fitted is said."""

import json
import math

import numpy as np
import pytest

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.experiments.overoptimization import Point, describe, fits, run_points
from rocm.runs.run_dir import RunDir

D = [0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0]
LAWS = {"best-of-n": lambda d: d * (0.9 - 0.06 * d), "RL": lambda d: d * (0.9 - 0.3 * math.log(d))}
PEAKS = {"best-of-n": 0.9 / (2 * 0.06), "RL": math.exp(0.9 / 0.3 - 1)}


@pytest.mark.parametrize("law", LAWS)
def test_planted_constants_and_the_peak_are_found(law):
    found = {fit.law: fit for fit in fits(D, [LAWS[law](d) for d in D])}
    other = next(fit for name, fit in found.items() if name != law)
    fit = found[law]
    assert (fit.alpha, fit.beta) == pytest.approx((0.9, 0.06 if law == "best-of-n" else 0.3))
    assert (fit.alpha_error, fit.beta_error) == pytest.approx((0, 0), abs=1e-9)
    assert fit.explained == pytest.approx(1)
    assert other.explained < 0.999
    assert fit.peak == pytest.approx(PEAKS[law])
    assert max(np.linspace(0.1, 10, 991), key=fit.at) == pytest.approx(PEAKS[law], abs=0.01)


@pytest.mark.parametrize("law", LAWS)
def test_errors_are_the_spread_of_refitted_constants(law):
    generator = np.random.default_rng(0)
    number = list(LAWS).index(law)
    exact = np.array([LAWS[law](d) for d in D])
    found = [fits(D, exact + generator.normal(0, 0.1, len(D)))[number] for _ in range(2000)]
    alphas, betas = zip(*((fit.alpha, fit.beta) for fit in found), strict=True)
    errors = [
        np.sqrt(np.mean([getattr(f, name) ** 2 for f in found]))
        for name in ("alpha_error", "beta_error")
    ]
    assert errors == pytest.approx([np.std(alphas), np.std(betas)], rel=0.06)


@pytest.mark.parametrize("distances", [[], [1, 2, 3, 4], [1, 2, 3, 4, 4, 4], [0, 1, 2, 3, 4, 5]])
def test_too_few_distances_and_the_base_model_itself_are_refused(distances):
    with pytest.raises(ConfigError, match="at least 5"):
        fits(distances, [0.1] * len(distances))


def test_a_sentence_says_where_neither_law_fits():
    waves = [Point(d, {"judge": math.sin(3 * d)}) for d in D]
    law, words = describe(waves, "judge")
    assert law is None
    assert "neither" in words
    straight = [Point(d, {"judge": 0.3 * d}) for d in D]
    law, words = describe(straight, "judge")
    assert law is not None
    assert law.peak is None


def test_points_of_a_run_are_in_deviations_of_the_base_model(tmp_path):
    run = RunDir.create(tmp_path / "run", RunConfig(audit="tiny-clip"))
    scales = {"tiny-judge": {"mean": 0.5, "deviation": 0.1}, "taste": {"mean": -10, "deviation": 2}}
    run.write_manifest({"base_scores": scales, "base_reward": {"mean": 0.0, "deviation": 1.0}})
    run.append_metrics({"step": 0, "eval/reward": 0.0, "heldout/tiny-judge": 0.5})
    run.append_metrics({"step": 1, "kl_nats": 3.0})
    scored = {"eval/reward": 1.5, "heldout/tiny-judge": 0.4, "eval/reward/taste": -9.0}
    run.append_metrics({"step": 2, "kl_nats": 5.0, **scored})
    (point,) = run_points(run)
    assert point.distance == pytest.approx(2)
    assert point.scores == pytest.approx({"reward": 1.5, "judge": -1.0, "taste": 0.5})
    assert json.dumps(point.scores)
