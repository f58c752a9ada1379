import numpy as np
import pytest

from rocm.errors import StudyError
from rocm.study.statistics.outcomes import outcome
from rocm.study.statistics.reward_agreement import Rewards, hacking_curve, reward_agreement


def by_name(found):
    return {one.reward: one for one in found}


@pytest.fixture
def votes(by_hand):
    rows = [(0, 0, "a"), (1, 0, "a"), (0, 1, "b"), (1, 1, "b"), (0, 2, "a"), (1, 2, "tie")]
    return by_hand([*rows, (0, 3, "a"), (1, 3, "b"), (0, 4, "a")])


def test_agreement_by_hand(votes):
    values = (np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 3.0, 1.0, 0.0]))
    found = by_name(reward_agreement(votes, Rewards(np.array([2, 0, 1, 3]), {"r": values})))
    # Pair 2 agrees, pairs 0 and 1 do not, 3 has no majority, 4 no reward.
    assert (found["r"].agreed.count, found["r"].agreed.total) == (1, 3)


def test_another_rater_is_held_against_the_others_by_hand(votes):
    found = by_name(reward_agreement(votes, Rewards(np.array([], int), {})))["another rater"].agreed
    # Pairs 0 and 1: 4 of 4; pair 2: no; pair 3: 0 of 2; pair 4: nobody else.
    assert (found.count, found.total) == (4, 6)


def test_a_reward_that_is_the_peoples_score_agrees_always(simulated):
    pairs = np.unique(simulated.pair)
    margin = np.array([(simulated.scores[simulated.pair == p] - 0.5).sum() for p in pairs])
    rewards = Rewards(pairs, {"same": (margin, 0 * margin), "opposite": (0 * margin, margin)})
    found = by_name(reward_agreement(simulated, rewards))
    assert found["same"].agreed.share == 1
    assert found["opposite"].agreed.share == 0
    assert (found["same"].interval.low, found["opposite"].interval.high) == (1, 0)


def test_point_of_figure_4_by_hand(votes):
    pairs = np.arange(5)
    rewards = Rewards(pairs, {"r": (np.array([1.0, 1, 1, 0, 0]), np.array([0.0, 0, 0, 0, 2]))})
    point = hacking_curve(votes, rewards, [outcome(votes, "c", "q")], {"c": 0.1})[0]
    assert point.reward_share == pytest.approx((3 + 0.5) / 5)
    assert point.reward_gain == pytest.approx(1 / 5)
    assert point.human_score == pytest.approx((2 + 0 + 1.5 + 1 + 1) / 9)
    assert point.beta == 0.1


@pytest.mark.parametrize(
    ("pair", "values"), [([1, 1], [0.0, 0.0]), ([1, 2], [0.0]), ([1, 2], [0.0, np.nan])]
)
def test_rewards_that_do_not_fit_are_refused(pair, values):
    with pytest.raises(StudyError, match=r"twice|one value per pair|not finite"):
        Rewards(np.array(pair), {"r": (np.array(values), np.array(values))})
