"""Faults in compiled blocks and recorded updates."""

from mutated.mutation import Mutation

GRAPH = "tests/training/test_graph.py::"
SAME = f"{GRAPH}test_a_repeated_function_does_the_updates_with_any_learning_rate_and_beta"

MUTATIONS = [
    Mutation(
        "graph: beta frozen as it was recorded",
        "rocm/training/graph.py",
        "self.beta.fill_(beta)",
        "self.beta.fill_(self._penalty.beta)",
        f"{SAME}[last-step]",
    ),
    Mutation(
        "graph: text features of the first pictures for all",
        "rocm/training/graph.py",
        "return [self.noise, self.context, *(self.texts[name] for name in sorted(self.texts))]",
        "return [self.noise, self.context]",
        f"{SAME}[last-step]",
    ),
    Mutation(
        "graph: a rehearsal learns",
        "rocm/training/graph.py",
        "torch.maximum(self.is_rehearsal, (~norm.isfinite()).float())",
        "(~norm.isfinite()).float()",
        f"{GRAPH}test_a_rehearsal_and_a_gradient_that_is_not_finite_change_nothing",
    ),
    Mutation(
        "graph: a process of several records",
        "rocm/acceleration.py",
        "(num_processes > 1,",
        "(num_processes > 2,",
        f"{GRAPH}test_a_run_in_several_processes_is_not_recorded",
    ),
    Mutation(
        "regional: towers of words are compiled too",
        "rocm/models/regional.py",
        'path.startswith("vis")',
        "path",
        "tests/models/test_regional.py"
        "::test_blocks_of_unet_decoder_and_picture_towers_are_found_and_those_of_words_are_not",
    ),
]
