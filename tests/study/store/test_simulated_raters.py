"""Simulated raters vote through the store's own door, and every output says so."""

import pytest

from rocm.errors import StudyError
from rocm.study.design import lifecycle
from rocm.study.report.stored import study_report
from rocm.study.store.simulated_raters import simulate_raters
from tests.study.small import STUDY, fill, rater


@pytest.fixture
def large(store):
    lifecycle.open_study(store, fill(store, num_pairs=40, votes_per_pair=3, main_per_rater=20))
    return store


def test_every_planned_vote_is_cast_and_nothing_more(store, study):
    simulate_raters(store, study, num_raters=50, score=0.6)
    main = [one for one in store.votes(study) if one.kind == "main"]
    assert len(main) == 6 * 2 * 3  # pairs, votes, questions
    assert {one.source for one in main} == {"simulated"}


@pytest.mark.parametrize(("score", "wins"), [(0.9, True), (0.1, False)])
def test_the_arm_that_should_win_does_and_the_report_is_marked(large, score, wins):
    simulate_raters(large, STUDY, num_raters=50, score=score)
    lifecycle.close(large, STUDY)
    made = study_report(large, STUDY)
    overall = next(one for one in made.analysis.outcomes if one.question == "overall")
    assert (overall.wins > 2 * overall.losses) == wins
    assert (overall.losses > 2 * overall.wins) != wins
    assert "SIMULATED" in made.to_html()
    assert "SIMULATED" in made.to_markdown()


def test_checks_are_mostly_answered_right(large):
    simulate_raters(large, STUDY, num_raters=50, score=0.5)
    checks = [one for one in large.votes(STUDY) if one.kind == "check"]
    assert sum(one.choice == one.expected for one in checks) > 0.8 * len(checks)


def test_where_a_person_takes_part_simulated_votes_are_refused(store, study):
    rater(store)
    with pytest.raises(StudyError, match="1 people take part"):
        simulate_raters(store, study, num_raters=1, score=0.6)


def test_odd_numbers_are_one_sentence(store, study):
    with pytest.raises(StudyError, match="at least 1"):
        simulate_raters(store, study, num_raters=0, score=0.6)
    with pytest.raises(StudyError, match="cannot be reached"):
        simulate_raters(store, study, num_raters=1, score=1.0)
