from math import comb

import numpy as np
import pytest

from rocm.study.statistics.outcomes import outcomes, sign_test
from rocm.study.statistics.simulate import Design, Utility, simulate


def test_the_sign_test_leaves_tied_prompts_out(by_hand):
    decided = [(0, prompt, "a" if prompt < 9 else "b") for prompt in range(12)]
    tied = [(0, prompt, "tie") for prompt in range(12, 30)]
    found = sign_test(by_hand(decided + tied))
    assert (found.wins, found.losses, found.ties) == (9, 3, 18)
    assert found.p_value == pytest.approx(2 * sum(comb(12, k) for k in range(4)) / 2**12)
    assert sign_test(by_hand(tied)).p_value is None


def test_the_votes_of_a_prompt_count_once_and_as_their_majority(by_hand):
    prompts = {1: ("a", "a", "b"), 2: ("b", "tie", "tie"), 3: ("a", "b", "tie")}
    rows = [(rater, p, one) for p, choices in prompts.items() for rater, one in enumerate(choices)]
    assert sign_test(by_hand(rows)) == sign_test(by_hand([(0, 1, "a"), (0, 2, "b"), (0, 3, "tie")]))


def test_a_family_is_the_comparisons_of_the_first_question():
    models = {("x", asked): Utility().with_score(0.65) for asked in "qr"}
    votes = simulate(Design(30, 10, 4), models, np.random.default_rng(2))
    found, absent = outcomes(votes, ["x", "y"], ["q", "r"])[:2]
    assert found.holm_p == pytest.approx(2 * found.p_value)
    assert absent.holm_p is absent.p_value is None


@pytest.mark.parametrize("score", [0.5, 0.55, 0.6])
def test_a_p_value_is_below_5_percent_where_the_interval_excludes_half(score):
    models = {(f"c{n}", "q"): Utility(rater_sd=0.6).with_score(score) for n in range(5)}
    votes = simulate(Design(30, 10, 4), models, np.random.default_rng(2))
    for found in outcomes(votes, [name for name, _ in models], ["q"]):
        interval = found.interval
        assert (found.p_value < 0.05) == (not interval.low <= 0.5 <= interval.high)
