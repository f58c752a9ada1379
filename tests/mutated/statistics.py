"""Faults in the study's statistics."""

from mutated.mutation import read

MUTATIONS = read("""
@ rocm/study/statistics/votes.py, tests/study/statistics/test_votes.py
a tie counts as a loss | test_a_tie_counts_half
- 0.5, 0.0))
+ 0.0, 0.0))
repeats analyzed | test_repeats_checks_and_practice_are_no_opinions
- & (self.repetition == 0)
excluded votes analyzed | test_exclusions_leave_votes_out_only_when_asked
- self.where(~self.excluded)
+ self
@ rocm/study/statistics/score_intervals.py, tests/study/statistics/test_score_intervals.py
rater variance forgotten | test_variance_adds_what_both_ways_have_and_is_never_below_one_way
- max(self.prompt + self.rater - self.both, self.prompt, self.rater)
+ self.prompt
single votes counted twice | test_variance_adds_what_both_ways_have_and_is_never_below_one_way
- max(self.prompt + self.rater - self.both, self.prompt, self.rater)
+ self.prompt + self.rater
no floor under the variance | test_variance_adds_what_both_ways_have_and_is_never_below_one_way
- max(self.prompt + self.rater - self.both, self.prompt, self.rater)
+ self.prompt + self.rater - self.both
clusters without their correction | test_multiway_variances_are_those_of_statsmodels
- len(sums) / (len(sums) - 1)
+ 1
degrees of freedom of the larger way only | test_satterthwaite_is_the_way_that_alone_varies
- extra**2 / (fewer - 1)
+ extra**2 / (more - 1)
bootstrap of prompts only | test_bootstrap_of_one_way_is_the_ordinary_one[raters]
- ((by_prompt @ table.sums) * by_rater)
+ (by_prompt @ table.sums)
@ rocm/experiments/advise/verdict.py, tests/experiments/advise/test_verdict.py
seeds do not vary | test_the_spread_has_the_variance_of_the_mean_whatever_varies
- max(prompts + seeds - rest_square, rest_square)
+ prompts
confirmed with seeds of the screening | test_half_is_dropped_and_the_best_trains_with_fresh_seeds
- tuple(range(num_seeds, num_seeds + num_fresh))
+ tuple(range(num_fresh))
any advantage advised | test_an_advantage_below_the_threshold_or_at_another_kl_is_not_advised
- confirmed.low > THRESHOLD
+ confirmed.low > 0
@ rocm/study/statistics/crossed.py, tests/study/statistics/test_score_intervals.py
likelihood not restricted | test_components_of_a_full_table_are_those_of_the_analysis_of_variance
-  + np.log(left[0, 0])
rater share forgotten | test_variance_of_the_mean_of_a_full_table_is_its_textbook_form
- self.rater * by_rater
+ self.rater / total
@ rocm/study/statistics/outcomes.py, tests/study/statistics/test_score_intervals.py
another headline | test_headline_is_the_narrowest_method_that_covers_in_every_recorded_scenario
- "multiway, Satterthwaite"
+ "two-way bootstrap"
@ rocm/study/statistics/outcomes.py, tests/study/statistics/test_outcomes.py
ties among the trials of the sign test | test_the_sign_test_leaves_tied_prompts_out
- Share(wins, wins + losses)
+ Share(wins, len(signs))
a missing p-value is the best one | test_a_family_is_the_comparisons_of_the_first_question
- 1.0 if one.p_value is None
+ 0.0 if one.p_value is None
one family for all questions | test_a_family_is_the_comparisons_of_the_first_question
- (questions[:1], questions[1:])
+ (questions,)
the sign test as headline | test_a_p_value_is_below_5_percent_where_the_interval_excludes_half
- satterthwaite_p_value(table) if
+ sign_test(asked).p_value if
@ rocm/study/statistics/ranking.py, tests/study/statistics/test_ranking.py
separable arms ranked | test_an_arm_that_wins_every_vote_is_separable
- connected_components(beats, connection="strong")
+ connected_components(beats, connection="weak")
Davidson's tie without its root | test_davidson_of_a_consistent_round_gives_strengths_and_nu_back
- (first + second) / 2,
+ (first + second),
ties never frequent | test_frequent_ties_choose_davidson[9-Davidson]
- FREQUENT_TIES = 0.15
+ FREQUENT_TIES = 0.95
@ rocm/study/statistics/agreement.py, tests/study/statistics/test_agreement.py
order of the ordinal scale | test_alpha_is_that_of_evalica[ordinal]
- ORDER = ("b", "tie", "a")
+ ORDER = ("tie", "b", "a")
left for right | test_side_bias_counts_decided_votes_for_the_left
- decided.choice == decided.left_is
+ decided.choice != decided.left_is
@ rocm/study/statistics/flags.py, tests/study/statistics/test_flags.py
a rater in their own majority | test_figures_of_a_rater_by_hand
- minlength=len(pairs))[row] - signs
+ minlength=len(pairs))[row]
flags as bans | test_a_flag_excludes_nobody
- num_excluded=int(opinions.excluded.sum())
+ num_excluded=len(opinions)
@ rocm/study/statistics/evidence.py, tests/study/statistics/test_evidence.py
e-value of one alternative | test_e_value_is_the_mean_likelihood_ratio_over_the_alternatives
- 0.5 * log(variance / mixed) + distance
+ distance
the last look alone decides | test_a_decision_stands_even_if_later_votes_point_back
- for size, value in valid if value
+ for size, value in valid[-1:] if value
@ rocm/study/statistics/power.py, tests/study/statistics/test_power.py
power at the unadjusted level | test_power_of_independent_prompts_is_the_exact_binomial[6]
- ALPHA / num_comparisons
+ ALPHA * 1
checks for nothing | test_workload_by_hand
- design.num_repeats + design.num_checks
+ design.num_repeats
@ rocm/study/statistics/reward_agreement.py, tests/study/statistics/test_reward_agreement.py
rewards of another pair | test_agreement_by_hand
- place = order[np.searchsorted(self.pair, pairs[known], sorter=order)]
+ place = np.searchsorted(self.pair, pairs[known], sorter=order)
@ rocm/study/statistics/analysis.py, tests/study/report/test_report.py
both columns with exclusions | test_exclusions_are_reported_both_ways_and_many_of_them_are_cautioned
- outcomes_of_all=outcomes(votes,
+ outcomes_of_all=outcomes(kept,
@ rocm/study/statistics/simulate.py, tests/study/statistics/test_simulate.py
sides not drawn | test_expected_score_is_the_mean_over_many_showings[0.0-0.0]
- pull = np.where(a_is_left, utility.side, -utility.side)
+ pull = utility.side
repeats on the same side | test_a_repeat_is_a_pair_that_the_rater_saw_on_the_other_side
- ~a_is_left[repeats]
+ a_is_left[repeats]
@ rocm/algorithms/intervals.py, tests/algorithms/test_intervals.py
normal for Student's interval | test_an_interval_of_two_values_is_the_written_out_one
- return float(stdtrit(df, (1 + LEVEL) / 2))
+ return 1.96
Bonferroni for Holm | test_holm_is_that_of_statsmodels
- (len(p_values) - place) * p_values[index]
+ len(p_values) * p_values[index]
@ rocm/study/store/blocks.py, tests/study/store/test_blocks.py
sides by chance, not balanced | test_either_side_comes_equally_often_by_pair_and_by_block
- left[number, pair] = forth if is_forth else other(forth)
+ left[number, pair] = random.choice("ab")
a pair twice in one block | test_every_pair_is_in_k_blocks_and_never_twice_in_one
- if p in held[j] or q in held[i]:
+ if p in held[i] and q in held[i]:
@ rocm/study/statistics/preference_fit.py, tests/study/statistics/test_preference.py
a round of agreed pairs | test_a_round_is_the_disputed_pairs_and_a_random_part_of_the_others
- order = np.argsort(-disagreement
+ order = np.argsort(disagreement
temperature upside down | test_a_temperature_multiplies_the_weights_and_nothing_else
- return replace(self, weights=temperature * self.weights)
+ return replace(self, weights=self.weights / temperature)
@ rocm/study/store/rows.py, tests/study/design/test_within.py
pairs within an arm in win rates | test_win_rates_know_only_pairs_of_two_arms
- return not vote.within and not
+ return not
""")
