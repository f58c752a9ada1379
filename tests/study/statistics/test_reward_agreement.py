import numpy as np
import pytest

from rocm.errors import StudyError
from rocm.study.statistics.outcomes import outcome
from rocm.study.statistics.reward_agreement import (
    Rewards,
    beta_curve,
    hacking_curve,
    reward_agreement,
)
from rocm.study.statistics.votes import Votes


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


COMPARED = {"x:y": ("x", "y"), "x:z": ("x", "z"), "y:z": ("y", "z")}
BETAS = {"x": 0.1, "y": 0.0, "z": 0.001}
# Pairs 0-3 are x:y, 4-7 x:z, 8-11 y:z; of four prompts each; three raters.
CHOICES = {
    "x:y": ["aaa", "aat", "bbb", "abt"],
    "x:z": ["aab", "aaa", "aaa", "bba"],
    "y:z": ["bbb", "bba", "att", "bbb"],
}


@pytest.fixture(scope="module")
def rows():
    return [
        {"rater": rater, "prompt": prompt, "pair": 4 * number + prompt, "comparison": name,
         "question": "overall", "choice": choice if choice in "ab" else "tie"}
        for number, (name, prompts) in enumerate(CHOICES.items())
        for prompt, choices in enumerate(prompts)
        for rater, choice in enumerate(choices)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def rewards():
    gains = np.array([1, 1, 1, 0, -1, -1, -1, -1, 2, -2, 1, -1.0])
    return Rewards(np.arange(12)[::-1], {"hps": (gains[::-1], np.zeros(12))})


def figures_of(rows, rewards, arm):
    """Win rate, how often the reward prefers the arm, and how often it sides with most people."""
    gains = dict(zip(rewards.pair.tolist(), rewards.values["hps"][0], strict=True))
    scores, sides, likes = [], {}, {}
    for row in rows:
        names = COMPARED[row["comparison"]]
        if arm not in names:
            continue
        turn = 1 if names[0] == arm else -1
        side = turn * {"a": 0.5, "tie": 0, "b": -0.5}[row["choice"]]
        scores.append(0.5 + side)
        sides[row["pair"]] = sides.get(row["pair"], 0) + side
        likes[row["pair"]] = np.sign(turn * gains[row["pair"]])
    decided = [pair for pair in sides if likes[pair] and sides[pair]]
    agreed = sum(likes[pair] == np.sign(sides[pair]) for pair in decided)
    return np.mean(scores), np.mean([(1 + like) / 2 for like in likes.values()]), agreed, decided


def test_every_arm_is_measured_over_all_others_with_falling_beta(rows, rewards):
    found = beta_curve(Votes.from_rows(rows), COMPARED, BETAS, rewards)
    assert [(one.arm, one.beta) for one in found] == [("x", 0.1), ("z", 0.001), ("y", 0.0)]
    for one in found:
        win_rate, preferred, agreed, decided = figures_of(rows, rewards, one.arm)
        assert one.win_rate == pytest.approx(win_rate)
        assert one.preferred["hps"] == pytest.approx(preferred)
        assert (one.agreed["hps"].count, one.agreed["hps"].total) == (agreed, len(decided))
        assert one.num_votes == 24
        assert one.interval.low < one.win_rate < one.interval.high


def test_arms_with_different_opponents_are_measured_over_those_that_they_share(rows):
    compared = COMPARED | {"w:x": ("w", "x"), "w:y": ("w", "y"), "w:z": ("w", "z")}
    del compared["y:z"]
    more = [
        {**row, "comparison": f"w:{arm}", "pair": 12 + 4 * place + row["prompt"]}
        for place, arm in enumerate("xyz")
        for row in rows[:12]
    ]
    found = beta_curve(Votes.from_rows([*rows, *more]), compared, BETAS)
    assert {one.opponents for one in found} == {("w",)}
    won_by_w = 3 + 2.5 + 0 + 1.5  # of the votes of x:y, which these are
    assert [one.win_rate for one in found] == pytest.approx([1 - won_by_w / 12] * 3)


@pytest.mark.parametrize("betas", [{"x": 0.1, "y": 0.0}, {"x": 0.1, "y": 0.0, "z": 0.0}, {}])
def test_fewer_than_three_different_betas_make_no_curve(rows, betas):
    assert beta_curve(Votes.from_rows(rows), COMPARED, betas) == []
