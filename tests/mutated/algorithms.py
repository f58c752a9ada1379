"""Faults in policy gradients: signs, clips, means, what is detached, what is compared."""

from mutated.mutation import Mutation

REBEL = "rocm/algorithms/rlcm.py"
D3PO = "rocm/algorithms/d3po.py"
DPOK = "rocm/algorithms/dpok.py"
HYBRID = "rocm/algorithms/hybrid.py"
SCHEDULE = "rocm/algorithms/schedule.py"
TEST_REBEL = "tests/algorithms/test_rlcm_rebel.py"
TEST_D3PO = "tests/algorithms/test_d3po.py"
TEST_DPOK = "tests/algorithms/test_dpok.py"
TEST_HYBRID = "tests/algorithms/test_hybrid.py"
TEST_DDIM = "tests/models/test_ddim.py"
BY_HAND = "test_first_gradient_of_a_linear_policy_is_the_hand_derivative"

MUTATIONS = [
    Mutation(
        "rebel: flipped sign",
        REBEL,
        "(explained - (advantages[0::2] - advantages[1::2]))",
        "(explained + (advantages[0::2] - advantages[1::2]))",
        f"{TEST_REBEL}::{BY_HAND}",
    ),
    Mutation(
        "rebel: mean for sum over decisions",
        REBEL,
        "seen.old_log_probs).sum(0)",
        "seen.old_log_probs).mean(0)",
        f"{TEST_REBEL}::{BY_HAND}",
    ),
    Mutation(
        "rebel: sum for mean over pairs",
        REBEL,
        ".square().mean()",
        ".square().sum()",
        f"{TEST_REBEL}::test_loss_is_the_written_out_square_of_each_pair",
    ),
    Mutation(
        "rebel: ratio to the present policy",
        REBEL,
        "(seen.log_probs - seen.old_log_probs).sum(0)",
        "(seen.log_probs - seen.log_probs.detach()).sum(0)",
        f"{TEST_REBEL}::test_log_ratios_are_to_the_policy_that_drew_the_pictures_and_summed_over_decisions",
    ),
    Mutation(
        "d3po: the worse picture preferred",
        D3PO,
        "torch.stack([sign, -sign], dim=1)",
        "torch.stack([-sign, sign], dim=1)",
        f"{TEST_D3PO}::test_the_better_picture_of_a_pair_is_preferred_and_a_tie_prefers_none",
    ),
    Mutation(
        "d3po: flipped sign",
        D3PO,
        "F.logsigmoid(margin)",
        "F.logsigmoid(-margin)",
        f"{TEST_D3PO}::test_a_step_down_the_loss_makes_the_preferred_pictures_likelier",
    ),
    Mutation(
        "d3po: clip left out",
        D3PO,
        "ratio.clamp(1 - rule.clip_range, 1 + rule.clip_range).log()",
        "ratio.log()",
        f"{TEST_D3PO}::test_a_ratio_outside_the_clip_range_sends_no_gradient",
    ),
    Mutation(
        "d3po: sum for mean over decisions",
        D3PO,
        "* is_decided).sum(1).mean()",
        "* is_decided).sum(1).sum()",
        f"{TEST_D3PO}::test_loss_is_the_written_out_one",
    ),
    Mutation(
        "d3po: ratio to the policy that drew",
        D3PO,
        "(seen.log_probs - reference).exp()",
        "(seen.log_probs - seen.old_log_probs).exp()",
        f"{TEST_D3PO}::test_ratio_is_to_the_reference_and_not_to_the_policy_that_drew",
    ),
    Mutation(
        "d3po: the reward decides instead of the table",
        "rocm/training/policy_update.py",
        "winner_first.to(one) for one in values",
        "one for one in values",
        "tests/training/test_preferred.py::test_pictures_of_a_table_are_those_that_were_judged",
    ),
    Mutation(
        "dpok: flipped sign",
        DPOK,
        "return -(advantages * ratio",
        "return (advantages * ratio",
        f"{TEST_DPOK}::{BY_HAND}",
    ),
    Mutation(
        "dpok: clip left out",
        DPOK,
        "ratio.clamp(1 - clip_range, 1 + clip_range)",
        "ratio",
        f"{TEST_DPOK}::test_loss_is_the_written_out_one_and_stops_outside_the_range_on_either_side",
    ),
    Mutation(
        "dpok: sum for mean",
        DPOK,
        "1 + clip_range)).mean()",
        "1 + clip_range)).sum()",
        f"{TEST_DPOK}::test_loss_is_the_mean_over_decisions_and_pictures",
    ),
    Mutation(
        "dpok: value forgotten on resume",
        "rocm/training/checkpoint.py",
        'self.value.load_state_dict(state["value"])',
        "self.value.zero_grad()",
        "tests/training/test_loop.py::test_resumed_equals_straight_through_bit_for_bit[dpok]",
    ),
    Mutation(
        "hybrid: flipped sign",
        HYBRID,
        "return -((groups - others)",
        "return ((groups - others)",
        f"{TEST_HYBRID}::test_both_estimators_and_their_mixture_are_unbiased",
    ),
    Mutation(
        "hybrid: advantage not detached",
        HYBRID,
        "rewards.detach().view",
        "rewards.view",
        f"{TEST_HYBRID}::test_each_picture_is_compared_with_the_others_of_its_group",
    ),
    Mutation(
        "hybrid: own reward in the baseline",
        HYBRID,
        "(groups.sum(1, keepdim=True) - groups) / (group_size - 1)",
        "groups.mean(1, keepdim=True).expand_as(groups)",
        f"{TEST_HYBRID}::test_both_estimators_and_their_mixture_are_unbiased",
    ),
    Mutation(
        "hybrid: mean for joint log-density",
        HYBRID,
        ".sum(0) * first_order.latents[0].numel()",
        ".sum(0)",
        f"{TEST_HYBRID}::test_blind_parts_add_the_policy_gradient_of_the_joint_log_density",
    ),
    Mutation(
        "judged: reference evaluated at beta 0",
        "rocm/training/policy_update.py",
        "if config.beta > 0 or config.method.needs_reference:",
        "if config.beta >= 0:",
        "tests/training/test_loop.py::test_network_passes_of_a_picture_are_counted",
    ),
    Mutation(
        "ddim: eta 0",
        SCHEDULE,
        "variance = (1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s)",
        "variance = 0.0",
        f"{TEST_DDIM}::test_chain_is_that_of_diffusers_ddim_with_eta_one_and_the_same_noise",
    ),
    Mutation(
        "ddim: what is carried over counted as drawn",
        "rocm/algorithms/mdp.py",
        "following - step.carry * state if step.carry else following",
        "following",
        f"{TEST_DDIM}::test_log_density_is_that_of_the_step_that_diffusers_takes",
    ),
    Mutation(
        "ddim: guidance towards the empty prompt",
        "rocm/models/consistency.py",
        "without + guidance_scale * (prompted - without)",
        "prompted + guidance_scale * (without - prompted)",
        f"{TEST_DDIM}::test_chain_is_that_of_diffusers_ddim_with_eta_one_and_the_same_noise",
    ),
]
