"""A run ends where its budgets end, and is evaluated there."""

import pytest

from rocm.experiments.reproduce.results import end_of
from rocm.experiments.reproduce.runner import end_of_budget, is_spent, next_is_last, spend
from rocm.runs.run_dir import RunDir


def rows(*seconds, evaluated=()):
    found = [{"step": 0, "eval/reward": 0.0}]
    for step, value in enumerate(seconds, start=1):
        row = {"step": step, "seconds": value, "reward_queries": 4}
        found.append(row | ({"eval/reward": 1.0} if step in evaluated else {}))
    return found


def test_a_budget_ends_at_the_last_evaluated_update_that_fits():
    some = rows(1.0, 1.0, 1.0, 1.0, evaluated=(1, 3))
    assert end_of_budget(some, "seconds", 3.5)["step"] == 3
    assert end_of_budget(some, "seconds", 3.5)["spent"] == 3
    assert end_of_budget(some, "reward_queries", 12)["step"] == 3


def test_a_budget_has_no_end_before_it_is_spent_or_without_an_evaluation():
    assert end_of_budget(rows(1.0, 1.0, evaluated=(1, 2)), "seconds", 3.0) is None
    assert end_of_budget(rows(1.0, 1.0, 1.0, evaluated=(1,)), "seconds", 3.0) is None
    assert end_of_budget(rows(evaluated=()), "seconds", 0.5) is None


def test_the_last_update_is_foreseen_one_update_ahead():
    budget = {"seconds": 3.0}
    assert not next_is_last(rows(1.0), budget)
    assert next_is_last(rows(1.0, 1.0), budget)
    assert not next_is_last(rows(1.0, 1.0, 1.0, evaluated=(3,)), budget)


def test_a_run_goes_on_until_all_budgets_are_spent():
    budget = {"seconds": 2.0, "reward_queries": 16}
    assert not is_spent(rows(1.0, 1.0, evaluated=(2,)), budget)
    assert is_spent(rows(1.0, 1.0, 1.0, 1.0, evaluated=(2, 4)), budget)


@pytest.fixture
def config(small_config):
    many = {"num_steps": 1000, "eval_every": 1000, "lr_end_factor": 0}
    return small_config(**many, batch_size=2, gradient_accumulation=1)


def test_a_real_run_is_evaluated_as_each_budget_ends_and_stops(config, tmp_path):
    budget = {"updates": 2, "reward_queries": 8}
    run = RunDir.create(tmp_path / "run", config)
    list(spend(run, budget))
    evaluated = [row["step"] for row in run.metrics() if "eval/reward" in row]
    assert evaluated == [0, 2, 4]
    spent = [row["divergence"] for row in run.metrics()[1:3]]
    assert end_of(run, "updates", 2).divergence == pytest.approx(sum(spent) / 2)
    # The rate falls over the budget that lasts longest.
    assert [row["lr"] for row in run.metrics()[1:]] == pytest.approx([0.01, 0.0075, 0.005, 0.0025])
    assert run.status().state == "stopped"
    assert set(run.scores(2)) == set(run.scores(0))


def test_an_interrupted_run_goes_on_to_the_same_end(config, tmp_path):
    budget = {"updates": 3}
    straight = RunDir.create(tmp_path / "straight", config)
    list(spend(straight, budget))
    run = RunDir.create(tmp_path / "interrupted", config)
    going = spend(run, budget)
    next(going)
    next(going)
    going.close()
    list(spend(run, budget))
    steps = [row["step"] for row in straight.metrics()]
    assert [row["step"] for row in run.metrics()] == steps
    assert run.scores(3) == straight.scores(3)
