import pytest

from rocm.study.design import lifecycle
from rocm.study.design.cost import cost_and_power, study_cost
from tests.study.small import STUDY, fill


def test_raters_pairs_minutes_and_pay_are_those_of_the_design(store):
    fill(store)  # 6 pairs of 2 votes, 3 pairs and a check for each rater: 4 raters of 4 pairs
    cost = study_cost(store, STUDY, seconds_per_pair=30, pay_per_hour=12)
    assert (cost.sizes, cost.votes, cost.num_raters) == ((6,), 2, 4)
    assert (cost.work.trials_per_rater, cost.work.minutes_per_rater) == (4, 5)
    assert cost.work.cost == pytest.approx(4 * 5 / 60 * 12)
    assert f"{cost.work.cost:.2f}" in cost_and_power(cost, num_simulations=2)
    first = next(row for row in lifecycle.pairs(store, STUDY) if row.kind == "main")
    lifecycle.strike(store, STUDY, first.id, "shows text")
    assert study_cost(store, STUDY).sizes == (5,)
