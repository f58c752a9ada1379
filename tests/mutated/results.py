"""Faults in what is shown of a study, and in what is trained on its votes."""

from mutated.mutation import Mutation

MUTATIONS = [
    Mutation(
        "a study's hidden results shown",
        "rocm/study_results.py",
        'if not is_over and about.config.get("peeking", "hidden") == "hidden":',
        'if not is_over and about.config.get("peeking", "hidden") == "never":',
        "tests/test_study_results.py::"
        "test_a_study_that_runs_shows_nothing_where_its_manifest_hides_results",
    ),
    Mutation(
        "a study's verification without a token",
        "rocm/ui/results_page.py",
        "self._desk.verify(self._of(token, study))",
        "self._desk.verify(study)",
        "tests/ui/test_results_page.py::test_every_handler_asks_for_the_token",
    ),
    Mutation(
        "a study's evaluation prompts trained on",
        "rocm/study_preferences.py",
        "used = [one for one in decided if one.text not in held_out]",
        "used = decided",
        "tests/test_study_preferences.py::test_every_decided_vote_on_the_primary_question_is_a_row",
    ),
    Mutation(
        "a study's rewards turned the wrong way",
        "rocm/study/beta_curve.py",
        "np.where(np.isin(own.comparison[first], turned), -1, 1)",
        "np.where(np.isin(own.comparison[first], turned), 1, 1)",
        "tests/study_statistics/test_beta_curve.py::"
        "test_every_arm_is_measured_over_all_others_with_falling_beta",
    ),
    Mutation(
        "a study's arms measured against different opponents",
        "rocm/study/beta_curve.py",
        "return dict.fromkeys(arms, common)",
        "return met",
        "tests/study_statistics/test_beta_curve.py::"
        "test_arms_with_different_opponents_are_measured_over_those_that_they_share",
    ),
    Mutation(
        "a study's failed checks without consequence",
        "rocm/study/rows.py",
        "if sum(right) < min_share * len(right)}",
        "if sum(right) < 0}",
        "tests/study/test_findings.py::test_half_of_the_checks_is_enough_and_a_tie_is_not_right",
    ),
    Mutation(
        "a study's withdrawn votes in its figures",
        "rocm/study/rows.py",
        "return not {PILOT, WITHDRAWN} &",
        "return not {PILOT} &",
        "tests/study/test_findings.py::test_votes_that_were_taken_back_are_in_no_figure[sqlite]",
    ),
    Mutation(
        "a study of few raters without a caution",
        "rocm/study/analysis.py",
        "if fewest < FEWEST_RATERS:",
        "if fewest < 2:",
        "tests/study_statistics/test_report.py::test_few_raters_and_many_left_out_are_cautioned",
    ),
]
