import pytest

from rocm.errors import StudyError
from rocm.study.statistics.votes import Votes

ROW = {"rater": 1, "prompt": 2, "pair": 3, "comparison": "c", "question": "q", "choice": "a"}


def test_a_tie_counts_half(by_hand):
    votes = by_hand([(0, 0, "a"), (0, 1, "tie"), (0, 2, "b")])
    assert votes.scores.tolist() == [1.0, 0.5, 0.0]


def test_repeats_checks_and_practice_are_no_opinions():
    others = [{"repetition": 1}, {"kind": "check", "expected": "a"}, {"kind": "practice"}]
    votes = Votes.from_rows([ROW, *(ROW | other for other in others)])
    assert votes.opinions().kind.tolist() == ["main"]
    assert votes.opinions().repetition.tolist() == [0]


def test_exclusions_leave_votes_out_only_when_asked():
    votes = Votes.from_rows([ROW, ROW | {"excluded": True}])
    assert (len(votes.opinions()), len(votes.kept())) == (2, 1)


@pytest.mark.parametrize(
    ("row", "words"),
    [(ROW | {"choice": "left"}, "choice 'left'.*a, b, tie"), ({"choice": "a"}, "no 'rater'")],
)
def test_an_unknown_choice_and_a_missing_column_are_named(row, words):
    with pytest.raises(StudyError, match=words):
        Votes.from_rows([row])
