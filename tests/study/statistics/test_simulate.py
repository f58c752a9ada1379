import numpy as np
import pytest

from rocm.errors import StudyError
from rocm.study.statistics.simulate import Design, Utility, answers, blocks, simulate


@pytest.mark.parametrize("tie_width", [0.0, 0.4])
@pytest.mark.parametrize("lapse", [0.0, 0.3])
def test_expected_score_is_the_mean_over_many_showings(tie_width, lapse):
    rng = np.random.default_rng(0)
    utility = Utility(0.4, 0.6, 0.5, side=0.7, tie_width=tie_width, lapse=lapse)
    size = 400_000
    taste = rng.normal(0, 0.6, size) + rng.normal(0, 0.5, size)
    choice = answers(utility, taste, rng.random(size) < 0.5, np.full(size, lapse), rng)
    score = (choice == "a").mean() + (choice == "tie").mean() / 2
    assert score == pytest.approx(utility.expected_score(), abs=4 * 0.5 / size**0.5)
    assert ("tie" in choice) == (tie_width > 0)


@pytest.mark.parametrize("score", [0.2, 0.5, 0.65, 0.95])
def test_with_score_reaches_the_score(score):
    assert Utility().with_score(score).expected_score() == pytest.approx(score, abs=1e-9)


def test_odd_designs_are_refused():
    with pytest.raises(StudyError, match=r"between 0\.25 and 0\.75"):
        Utility(lapse=0.5).with_score(0.8)
    with pytest.raises(StudyError, match="5 votes per pair need as many raters"):
        Design(num_raters=4)


def test_blocks_are_balanced_and_raters_distinct():
    design = Design(num_prompts=41, num_raters=8, votes_per_pair=5)
    prompt, rater = blocks(design, np.random.default_rng(0))
    assert np.bincount(prompt).tolist() == [5] * 41
    assert len(set(zip(prompt.tolist(), rater.tolist(), strict=True))) == len(prompt)
    load = np.bincount(rater)
    assert load.max() - load.min() <= 1


def test_a_repeat_is_a_pair_that_the_rater_saw_on_the_other_side():
    design = Design(20, 5, 3, num_repeats=2)
    votes = simulate(design, {("c", "q"): Utility()}, np.random.default_rng(0))
    assert (votes.repetition == 1).sum() == 10
    keys = zip(votes.rater, votes.pair, votes.repetition, strict=True)
    sides = dict(zip(keys, votes.left_is, strict=True))
    repeats = [key for key in sides if key[2]]
    assert all(sides[rater, pair, 0] != sides[rater, pair, 1] for rater, pair, _ in repeats)


def test_raters_without_lapses_pass_every_check():
    design = Design(20, 5, 3, num_checks=4)
    votes = simulate(design, {("c", "q"): Utility(lapse=0)}, np.random.default_rng(0))
    checks = votes.where(votes.kind == "check")
    assert len(checks) == 20
    assert (checks.choice == checks.expected).all()
    assert not set(checks.pair) & set(votes.opinions().pair)
