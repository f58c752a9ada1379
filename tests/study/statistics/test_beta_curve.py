import numpy as np
import pytest

from rocm.study.statistics.reward_agreement import Rewards, beta_curve
from rocm.study.statistics.votes import Votes

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


def by_hand(rows, rewards, arm):
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
        win_rate, preferred, agreed, decided = by_hand(rows, rewards, one.arm)
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
