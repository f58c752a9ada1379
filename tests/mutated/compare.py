"""Faults in a comparison: its noise, its statistics, its file names."""

from mutated.mutation import Mutation

PLAIN_LOOP = (
    "tests/compare/test_table.py::"
    "test_means_and_paired_differences_are_those_of_a_plain_loop_over_prompts"
)

MUTATIONS = [
    Mutation(
        "unpaired for paired",
        "rocm/intervals.py",
        "return interval([a - b for a, b in pairs if a is not None and b is not None], over)",
        """known = [pair for pair in pairs if None not in pair]
    mine, other = (interval(list(one), over) for one in zip(*known, strict=True))
    half = ((mine.high - mine.mean) ** 2 + (other.high - other.mean) ** 2) ** 0.5
    mean = mine.mean - other.mean
    return Interval(mean, mean - half, mean + half, len(known), over)""",
        "tests/test_intervals.py::test_a_paired_interval_does_not_feel_what_both_arms_share",
    ),
    Mutation(
        "standard deviation for standard error",
        "rocm/intervals.py",
        "* stdev(values) / math.sqrt(num)",
        "* stdev(values)",
        "tests/test_intervals.py::test_a_paired_interval_does_not_feel_what_both_arms_share",
    ),
    Mutation(
        "the normal quantile for many prompts",
        "rocm/intervals.py",
        "return z + first / freedom + second / freedom**2 + third / freedom**3",
        "return z",
        "tests/test_intervals.py::test_the_quantiles_of_student_hold_95_percent[40]",
    ),
    Mutation(
        "every seed a value of its own",
        "rocm/compare/table.py",
        "values.append(fmean(known) if len(known) == len(indices) else None)",
        "values.extend(known)",
        PLAIN_LOOP,
    ),
    Mutation(
        "a prompt counted before all its seeds are drawn",
        "rocm/compare/table.py",
        "fmean(known) if len(known) == len(indices) else None",
        "fmean(known) if known else None",
        "tests/compare/test_table.py::test_a_prompt_without_all_its_seeds_counts_nowhere",
    ),
    Mutation(
        "base minus arm",
        "rocm/compare/table.py",
        'paired_difference(values, columns[base][name], "prompts")',
        'paired_difference(columns[base][name], values, "prompts")',
        PLAIN_LOOP,
    ),
    Mutation(
        "distances taken for independent values",
        "rocm/compare/diversity.py",
        "num * mean - (num - 1) * without",
        "matrix.sum(1) / (num - 1)",
        "tests/compare/test_table.py::test_the_jackknife_s_values_are_those_of_leaving_each_prompt_out",
    ),
    Mutation(
        "a noise of its own for each arm",
        "rocm/compare/plan.py",
        "seed=self.seeds[seed])",
        "seed=self.seeds[seed] + column)",
        "tests/compare/test_plan.py::test_every_arm_draws_the_same_prompts_from_the_same_seeds",
    ),
    Mutation(
        "an adapter that changed keeps its pictures",
        "rocm/compare/plan.py",
        'sha256=fingerprint(folder) if folder else ""',
        'sha256=""',
        "tests/compare/test_plan.py::test_a_plan_has_one_name_until_an_adapter_changes",
    ),
    Mutation(
        "the policy compared with itself",
        "rocm/generate.py",
        "network = model.reference(context, sampling.guidance_scale)",
        "network = model.policy(context, sampling.guidance_scale)",
        "tests/drawing/test_sampler.py::"
        "test_the_divergence_of_a_picture_is_the_kl_at_its_own_states",
    ),
    Mutation(
        "backward calls left out of the cost",
        "rocm/compare/efficiency.py",
        '("unet_forward", "unet_backward")',
        '("unet_forward",)',
        "tests/compare/test_table.py::"
        "test_efficiency_adds_up_what_updates_cost_and_averages_the_last_twenty",
    ),
    Mutation(
        "every process draws the same batches",
        "rocm/drawing/sampler.py",
        "own = group[ranks.rank : ranks.rank + 1]",
        "own = group[:1]",
        "tests/drawing/test_shared.py::"
        "test_two_processes_draw_the_pictures_of_one_bit_for_bit_and_half_of_them_each",
    ),
    Mutation(
        "another checkpoint of an official score under the same name",
        "rocm/compare/plan.py",
        "if not self.official:",
        "if True:",
        "tests/compare/test_versions.py::"
        "test_another_checkpoint_is_another_comparison_and_old_ones_keep_their_name",
    ),
]
