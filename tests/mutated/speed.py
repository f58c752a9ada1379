"""Faults in what makes updates faster or smaller."""

from mutated.mutation import Mutation

LEAN = "tests/models/test_lean.py::"
SPEED = "tests/training/test_speed.py::"
LADDER = f"{SPEED}test_a_full_memory_steps_down_with_a_sentence_each_and_the_same_result"

MUTATIONS = [
    Mutation(
        "a gated GELU's halves exchanged in backward",
        "rocm/models/lean.py",
        "torch.cat([gradient * F.gelu(gate), inner], dim=-1)",
        "torch.cat([inner, gradient * F.gelu(gate)], dim=-1)",
        f"{LEAN}test_lean_layers_give_the_same_and_keep_less[unet-0.8]",
    ),
    Mutation(
        "an adapter's scale left out of its gradient",
        "rocm/models/flat.py",
        "of_up = gradient.T @ (ctx.scale * inner)",
        "of_up = gradient.T @ inner",
        f"{LEAN}test_lean_adapter_layers_give_the_same_with_the_adapter_on_and_off",
    ),
    Mutation(
        "a gradient put in place of a view forgotten",
        "rocm/models/flat.py",
        "view.copy_(parameter.grad)",
        "pass",
        f"{LEAN}test_a_gradient_that_was_put_in_place_of_a_view_counts",
    ),
    Mutation(
        "a policy gradient learns twice from an update that was done again",
        "rocm/training/update.py",
        "setup.learner.load_state_dict(before)",
        "pass",
        f"{LADDER}[dpok]",
    ),
    Mutation(
        "smaller batches of fewer pictures",
        "rocm/training/memory.py",
        "config.gradient_accumulation * self.parts",
        "config.gradient_accumulation",
        f"{LADDER}[rocm]",
    ),
    Mutation(
        "speed: the memory plan counts weights as kept",
        "rocm/training/memory.py",
        "if storage.data_ptr() not in weights:",
        "if True:",
        "tests/training/test_speed.py"
        "::test_memory_is_planned_for_what_an_update_keeps_and_not_for_weights",
    ),
    Mutation(
        "a full memory leaves what other processes have learnt meanwhile",
        "rocm/training/update.py",
        "is_kept = setup.ranks.size > 1 or",
        "is_kept =",
        "tests/training/test_ranks.py::"
        "test_a_memory_that_is_full_in_one_process_makes_all_of_them_step_down[rocm]",
    ),
]
