"""Faults in what benchmarks count and compare."""

from mutated.mutation import Mutation

COUNTER = "rocm/bench/counter.py"
TEST_COUNTER = "tests/bench/test_counter.py"
TEST_STEP = "tests/bench/test_step.py"

MUTATIONS = [
    Mutation(
        "bench: frozen weights count as saved",
        COUNTER,
        "if not (func.is_view or func._schema.is_mutable):",
        "if not func._schema.is_mutable:",
        f"{TEST_COUNTER}::test_frozen_weights_are_not_counted_as_saved",
    ),
    Mutation(
        "bench: a reset forgets what is alive",
        COUNTER,
        "self._peak = self._bytes\n",
        "self._peak = self._bytes = 0\n",
        f"{TEST_COUNTER}::test_after_a_reset_the_peak_begins_with_what_is_still_alive",
    ),
    Mutation(
        "bench: autocast leaves norms in half precision",
        "rocm/bench/meta.py",
        "if self.enabled and func in RAISED:",
        "if False:",
        f"{TEST_COUNTER}::test_autocast_on_meta_gives_the_formats_of_cuda",
    ),
    Mutation(
        "bench: speed-up upside down",
        "rocm/bench/timing.py",
        "median(a / b for",
        "median(b / a for",
        f"{TEST_STEP}::test_speed_up_compares_rounds_not_medians",
    ),
    Mutation(
        "bench: every gradient compared with itself",
        "rocm/bench/step.py",
        "_errors(arm.gradient, truth)",
        "_errors(arm.gradient, arm.gradient)",
        f"{TEST_STEP}::test_recomputation_has_plains_gradient_and_a_wrong_loss_has_not",
    ),
]
