"""Faults in policy gradients: signs, clips, means, what is detached, what is compared."""

from mutated.mutation import read

MUTATIONS = read("""
@ rocm/algorithms/rlcm.py, tests/algorithms/test_policy_gradients.py
rebel: flipped sign | test_first_loss_and_gradient_are_those_by_hand[rebel]
- (explained - (advantages[0::2] - advantages[1::2]))
+ (explained + (advantages[0::2] - advantages[1::2]))
rebel: mean for sum over decisions | test_first_loss_and_gradient_are_those_by_hand[rebel]
- seen.old_log_probs).sum(0)
+ seen.old_log_probs).mean(0)
rebel: sum for mean over pairs | test_rebels_loss_is_the_written_out_square_of_each_pair
- .square().mean()
+ .square().sum()
rebel: ratio to the present policy | test_rebels_log_ratios_are_to_the_drawing_policy_and_summed
- (seen.log_probs - seen.old_log_probs).sum(0)
+ (seen.log_probs - seen.log_probs.detach()).sum(0)
@ rocm/algorithms/d3po.py, tests/algorithms/test_policy_gradients.py
d3po: the worse picture preferred | test_the_better_picture_is_preferred_and_a_tie_prefers_none
- torch.stack([sign, -sign], dim=1)
+ torch.stack([-sign, sign], dim=1)
d3po: flipped sign | test_a_step_down_the_loss_makes_the_better_pictures_likelier[d3po]
- F.logsigmoid(margin)
+ F.logsigmoid(-margin)
d3po: clip left out | test_a_ratio_outside_d3pos_clip_range_sends_no_gradient
- ratio.clamp(1 - rule.clip_range, 1 + rule.clip_range).log()
+ ratio.log()
d3po: sum for mean over decisions | test_d3pos_loss_is_the_written_out_one
- * is_decided).sum(1).mean()
+ * is_decided).sum(1).sum()
d3po: ratio to the policy that drew | test_d3pos_ratio_is_to_the_reference_not_the_drawing_policy
- (seen.log_probs - reference).exp()
+ (seen.log_probs - seen.old_log_probs).exp()
@ rocm/training/policy_update.py, tests/training/test_preferred.py
d3po: the reward decides instead of the table | test_pictures_of_a_table_are_those_that_were_judged
- winner_first.to(rewards) for rewards in values
+ rewards for rewards in values
@ rocm/algorithms/dpok.py, tests/algorithms/test_policy_gradients.py
dpok: flipped sign | test_first_loss_and_gradient_are_those_by_hand[dpok]
- return -(advantages * ratio
+ return (advantages * ratio
dpok: clip left out | test_clipped_losses_are_written_out_and_stop_where_clipped
- ratio.clamp(1 - clip_range, 1 + clip_range)
+ ratio
dpok: sum for mean | test_clipped_losses_are_means_over_decisions_and_pictures
- 1 + clip_range)).mean()
+ 1 + clip_range)).sum()
@ rocm/training/checkpoint.py, tests/training/test_loop.py
dpok: value forgotten on resume | test_resumed_equals_straight_through_bit_for_bit[dpok]
- self.value.load_state_dict(state["value"])
+ self.value.zero_grad()
@ rocm/algorithms/hybrid.py, tests/algorithms/test_hybrid.py
hybrid: flipped sign | test_both_estimators_and_their_mixture_are_unbiased
- return -((groups - others)
+ return ((groups - others)
hybrid: advantage not detached | test_each_picture_is_compared_with_the_others_of_its_group
- rewards.detach().view
+ rewards.view
hybrid: own reward in the baseline | test_both_estimators_and_their_mixture_are_unbiased
- (groups.sum(1, keepdim=True) - groups) / (group_size - 1)
+ groups.mean(1, keepdim=True).expand_as(groups)
hybrid: mean for joint density | test_blind_parts_add_the_policy_gradient_of_the_joint_log_density
- .sum(0) * first_order.latents[0].numel()
+ .sum(0)
@ rocm/training/policy_update.py, tests/training/test_loop.py
judged: reference evaluated at beta 0 | test_network_passes_of_a_picture_are_counted
- if config.has_penalty or config.method.needs_reference:
+ if config.has_penalty or config.method:
@ rocm/algorithms/schedule.py, tests/models/test_ddim.py
ddim: eta 0 | test_chain_is_that_of_diffusers_ddim_with_eta_one_and_the_same_noise
- variance = (1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s)
+ variance = 0.0
@ rocm/algorithms/mdp.py, tests/models/test_ddim.py
ddim: carried state counted as drawn | test_log_density_is_that_of_the_step_that_diffusers_takes
- following - step.carry * state if step.carry else following
+ following
@ rocm/models/consistency.py, tests/models/test_ddim.py
ddim: guidance reversed | test_chain_is_that_of_diffusers_ddim_with_eta_one_and_the_same_noise
- without + guidance_scale * (prompted - without)
+ prompted + guidance_scale * (without - prompted)
@ rocm/algorithms/budget.py, tests/algorithms/test_budget.py
beta falls where the KL is too large | test_kl_is_close_to_its_budget_after_forty_updates
- (math.sqrt(nats / budget.target) - 1)
+ (1 - math.sqrt(nats / budget.target))
beta0 without the divergence's scale | test_kl_is_close_to_its_budget_after_forty_updates
- * budget.nats / budget.divergence
+ * 1
price without the divergence's scale | test_a_price_is_the_same_in_nats_whatever_divergence_trains
- self.price * self.nats / self.divergence
+ self.price
@ rocm/algorithms/sequential.py, tests/algorithms/test_sequential.py
a rise taken for a fall | test_a_fall_is_seen_within_a_few_looks
- [-change - tolerance
+ [change - tolerance
tolerance added instead | test_false_alarms_of_a_whole_run_stay_below_the_level
- [-change - tolerance
+ [-change + tolerance
@ rocm/training/steering.py, tests/training/test_steering.py
looks at evaluation prompts | test_looks_draw_no_evaluation_prompt_and_have_noise_of_their_own
- training_item(setup.data.prompts.train,
+ training_item(setup.data.prompts.evaluation,
@ rocm/training/loop.py, tests/training/test_loop.py
a learning rate that does not fall | test_the_learning_rate_falls_evenly_towards_its_end
- (1 - config.lr_end_factor) * share
+ 0 * share
@ rocm/experiments/reproduce/results.py, tests/experiments/reproduce/test_results.py
a rate chosen by the reward alone | test_a_rate_is_chosen_by_what_a_method_maximizes
- beta * self.divergence
+ 0 * self.divergence
""")
