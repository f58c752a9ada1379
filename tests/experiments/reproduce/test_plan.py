"""The comparison is fair by construction."""

from collections import Counter

import pytest

from rocm.experiments.reproduce.plan import METHODS, TUNING_SEED, make_plan


@pytest.fixture
def plan():
    return make_plan(45, 192, is_quick=False)


@pytest.fixture
def chosen(plan):
    return {method.key: plan.learning_rates(method)[0] for method in METHODS}


def test_every_method_is_tuned_on_the_same_grid_with_a_seed_that_is_not_reported(plan, chosen):
    tuning = plan.tuning()
    assert {job.config.seed for job in tuning} == {TUNING_SEED}
    assert TUNING_SEED not in {job.config.seed for job in plan.results(chosen)}
    assert set(Counter(job.method.key for job in tuning).values()) == {3}
    for method in METHODS:
        rates = [job.config.learning_rate for job in tuning if job.method == method]
        assert rates[1:] == pytest.approx([3 * rates[0], rates[0] / 3])


def test_runs_differ_by_their_settings_only_and_equal_ones_are_one(plan, chosen):
    jobs = plan.results(chosen)
    by_name = {}
    for job in [*plan.tuning(), *jobs]:
        settings = job.config.model_dump(exclude={"description"})
        assert by_name.setdefault(job.name, settings) == settings
    shared = [job for job in jobs if job.role == "beta" and job.config.beta == 4]
    assert {job.name for job in shared} <= {job.name for job in jobs if job.role == "result"}


def test_every_run_draws_the_same_evaluation_pictures(plan, chosen):
    jobs = [*plan.tuning(), *plan.results(chosen)]
    names = ("model", "num_inference_steps", "guidance_scale", "grid", "num_eval_prompts", "judge")
    assert len({tuple(getattr(job.config, name) for name in names) for job in jobs}) == 1
