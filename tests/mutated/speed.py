"""Faults in what makes updates faster or smaller."""

from mutated.mutation import Mutation

LEAN = "tests/models/test_lean.py::"
LENT = "test_a_pass_borrows_the_vectors_values_and_its_gradients_add_up_in_float32"
FORMATS = (
    "tests/models/test_consistency.py::test_only_float16_is_autocast_and_has_its_decoder_in_float32"
)
AT_ONCE = (
    "tests/algorithms/test_problem.py"
    "::test_scored_at_once_is_the_same_and_each_picture_is_decoded_once"
)
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
        "of_up = torch.addmm(up, gradient.T, inner, beta=0, alpha=ctx.scale)",
        "of_up = torch.addmm(up, gradient.T, inner, beta=0)",
        f"{LEAN}test_lean_adapter_layers_give_the_same_with_the_adapter_on_and_off",
    ),
    Mutation(
        "later passes compute with the adapter of the first",
        "rocm/models/flat.py",
        "cast.data.copy_(vector)",
        "cast.data.copy_(vector) if not cast.any() else None",
        f"{LEAN}{LENT}",
    ),
    Mutation(
        "channels lie last, whatever is set",
        "rocm/training/setup.py",
        'if config.channels_last != "auto":',
        "if False:",
        f"{SPEED}test_channels_lie_as_the_setting_says_and_last_on_a_cpu[off-False]",
    ),
    Mutation(
        "bfloat16 is autocast",
        "rocm/models/consistency.py",
        "enabled = self.dtype == torch.float16",
        "enabled = self.dtype != torch.float32",
        f"{FORMATS}[bf16-False]",
    ),
    Mutation(
        "a reward's gradient taken where pixels are held back, not let go",
        "rocm/algorithms/problem.py",
        "torch.autograd.grad(-rewards.sum(), part)",
        "[-one for one in torch.autograd.grad(rewards.sum(), part)]",
        f"{AT_ONCE}[1-sizes0]",
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
        "setup.learner.load_state_dict(deepcopy(before))",
        "pass",
        f"{LADDER}[dpok]",
    ),
    Mutation(
        "what an update that is done again goes back to has learnt meanwhile",
        "rocm/training/update.py",
        "(deepcopy(before))",
        "(before)",
        f"{LADDER}[dpok]",
    ),
    Mutation(
        "memory that torch has taken and does not use counts as used",
        "rocm/training/memory.py",
        "[0] + kept",
        "[0]",
        f"{SPEED}test_memory_that_torch_has_taken_and_does_not_use_is_free",
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
