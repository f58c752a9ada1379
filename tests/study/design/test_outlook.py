"""What a design takes is counted, what it tells is simulated."""

import pytest

from rocm.errors import StudyError
from rocm.study.design import lifecycle
from rocm.study.design.outlook import outlook
from tests.study.small import STUDY, fill


def test_raters_pairs_minutes_and_pay_are_those_of_the_design(store):
    fill(store)  # 6 pairs of 2 votes, 3 pairs and a check for each rater: 4 raters of 4 pairs
    words = outlook(store, STUDY, seconds_per_pair=30, pay_per_hour=12, num_simulations=2)
    assert "6 pairs in 1 comparisons, 2 votes each: 4 raters, 4 pairs" in words
    assert "about 5 minutes each" in words
    assert "4.00 in all" in words


def test_a_struck_pair_is_not_counted(store):
    fill(store)
    first = next(one for one in lifecycle.pairs(store, STUDY) if one.kind == "main")
    lifecycle.strike(store, STUDY, first.id, "shows text")
    assert "5 pairs in 1 comparisons" in outlook(store, STUDY, num_simulations=2)


def test_more_pairs_find_more(store):
    fill(store, num_pairs=100, votes_per_pair=3, main_per_rater=25)
    last = outlook(store, STUDY, num_simulations=60).splitlines()[-4:]
    shares = [float(line.split()[2].rstrip("%")) for line in last]
    assert shares[0] < shares[-1]
    assert shares[-1] > 50


def test_an_empty_study_and_odd_numbers_are_one_sentence(store):
    fill(store, num_pairs=0)
    with pytest.raises(StudyError, match="no pair that would be voted on"):
        outlook(store, STUDY)
