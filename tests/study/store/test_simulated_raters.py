from collections import Counter

import pytest

from rocm.errors import StudyError
from rocm.study.design import lifecycle
from rocm.study.store.simulated_raters import simulate_raters
from tests.study.small import STUDY, fill, rater


def test_every_planned_vote_is_cast_and_nothing_more(store, study):
    simulate_raters(store, study, num_raters=50, score=0.6)
    main = [one for one in store.votes(study) if one.kind == "main"]
    assert len(main) == 6 * 2 * 3  # pairs, votes, questions
    assert {one.source for one in main} == {"simulated"}


@pytest.mark.parametrize(("score", "wins"), [(0.9, True), (0.1, False)])
def test_the_arm_that_should_win_does_and_checks_are_passed(store, score, wins):
    lifecycle.open_study(store, fill(store, num_pairs=40, votes_per_pair=3, main_per_rater=20))
    simulate_raters(store, STUDY, num_raters=50, score=score)
    votes = store.votes(STUDY)
    checks = [one for one in votes if one.kind == "check"]
    assert sum(one.choice == one.expected for one in checks) > 0.8 * len(checks)
    counts = Counter(v.choice for v in votes if v.kind == "main" and v.question == "overall")
    winner, loser = "ab" if wins else "ba"
    assert counts[winner] > 2 * counts[loser]


def test_where_a_person_takes_part_simulated_votes_are_refused(store, study):
    rater(store)
    with pytest.raises(StudyError, match="1 people take part"):
        simulate_raters(store, study, num_raters=1, score=0.6)
