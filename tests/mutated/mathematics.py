"""Faults in equations: divergences, trajectory, algorithms, models, rewards."""

from mutated.mutation import read

MUTATIONS = read("""
@ rocm/algorithms/rocm.py, tests/algorithms/test_rocm.py
wrong noise level | test_re_noised_gradients_are_those_of_one_step_from_a_fixed_picture
- last.alpha * latents + last.sigma * noise
+ last.alpha_next * latents + last.sigma * noise
flipped sign: reward | test_reward_is_maximized_and_divergence_minimized
- loss = -rewards.mean()
+ loss = rewards.mean()
flipped sign: penalty | test_reward_is_maximized_and_divergence_minimized
- + penalty.weight * divergences
+ - penalty.weight * divergences
sum for mean over pictures | test_a_batch_of_four_is_the_mean_of_two_batches_of_two
- divergences.sum(0).mean()
+ divergences.sum()
policy and reference swapped: rollout | test_value_and_gradient_for_every_last_step
- rollout(problem.policy,
+ rollout(problem.reference,
policy and reference swapped: comparison | test_value_and_gradient_for_every_last_step
- problem.reference,
-                     states[part]
+ problem.policy,
+                     states[part]
dropped detach: ref_grad detach | test_gradient_along_every_path_is_its_definition
- [trajectory.states[n].detach() for n in trained]
+ [trajectory.states[n] for n in trained]
dropped no_grad: ref_grad none | test_detach_and_none_are_not_the_true_gradient
- torch.set_grad_enabled(is_kept)
+ torch.enable_grad()
mean for sum over steps | test_objective_reports_what_the_loss_is_made_of
- divergences.sum(0).mean()
+ divergences.mean()
@ rocm/rewards/names.py, tests/rewards/test_user.py
reward's gradient not asked for | test_a_file_without_gradient_suits_the_algorithms_that_need_none
- if missing and algorithm.needs_gradient:
+ if missing and algorithm.is_policy_gradient:
@ rocm/models/consistency.py, tests/training/test_loop.py
gradients that came back not counted | test_network_passes_of_a_picture_are_counted
- if output.requires_grad:
+ if is_reference and output.requires_grad:
@ rocm/algorithms/mdp.py, tests/algorithms/test_policy_gradients.py
flipped sign: log-density | test_log_prob_is_the_mean_of_torch_distributions
- return -exponent
+ return exponent
sum for mean over an action's elements | test_log_prob_is_the_mean_of_torch_distributions
- -exponent.flatten(1).mean(1)
+ -exponent.flatten(1).sum(1)
@ rocm/algorithms/rlcm.py, tests/algorithms/test_policy_gradients.py
flipped sign: policy gradient | test_a_step_down_the_loss_makes_the_better_pictures_likelier[ppo]
- torch.maximum(-advantages * ratio, -advantages * clipped)
+ torch.maximum(advantages * ratio, advantages * clipped)
the smaller for the larger loss | test_clipped_losses_are_written_out_and_stop_where_clipped
- torch.maximum(-advantages
+ torch.minimum(-advantages
clip left out | test_clipped_losses_are_written_out_and_stop_where_clipped
- ratio.clamp(1 - clip_range, 1 + clip_range)
+ ratio
sum for mean over decisions and pictures | test_clipped_losses_are_means_over_decisions_and_pictures
- -advantages * clipped).mean()
+ -advantages * clipped).sum()
@ rocm/algorithms/advantages.py, tests/algorithms/test_advantages.py
advantage with a gradient | test_equal_rewards_give_no_advantage_and_advantages_carry_no_gradient
- rewards = rewards.detach()
+ rewards = 1 * rewards
@ rocm/algorithms/policy_gradient.py, tests/algorithms/test_policy_gradients.py
old log-density with a gradient | test_first_loss_and_gradient_are_those_by_hand
- old = now.detach() if
+ old = now if
present policy as the old one | test_old_log_probs_are_those_of_the_policy_that_drew_the_pictures
- if scored.old_log_probs is None else scored.old_log_probs
@ rocm/algorithms/divergences.py, tests/algorithms/test_divergences.py
flipped sign: Hellinger | test_value_and_slope_where_training_starts
- -torch.expm1(-d2 / 8)
+ torch.expm1(-d2 / 8)
chi-square with a flat end | test_chi_square_goes_on_along_its_tangent_where_float32_ends
- torch.expm1(near) + math.exp(CHI_SQUARE_LIMIT) * F.relu(d2 - CHI_SQUARE_LIMIT)
+ torch.expm1(near)
halved chi-square | test_closed_form_is_the_integral_of_its_definition
- d2.clamp(max=CHI_SQUARE_LIMIT)
+ (d2 / 2).clamp(max=CHI_SQUARE_LIMIT)
halved JS slope at zero | test_value_and_slope_where_training_starts
- * weights).sum(-1) / 2)
+ * weights).sum(-1) / 4)
flipped sign: JS | test_value_and_slope_where_training_starts
- return gradient * slope
+ return -gradient * slope
sampled JS at the bare root | test_sampled_jensen_shannon_has_no_gradient_at_equality
- d2 + torch.finfo(d2.dtype).eps
+ d2
sum for mean over elements | test_reductions_are_the_written_out_ones
- divergence(flat).mean(1)
+ divergence(flat).sum(1)
JS cancels far away | test_bounded_divergences_reach_their_maximum
- torch.where(d2[..., None] < 1, near, far)
+ near
@ rocm/algorithms/trajectory.py, tests/algorithms/test_trajectory.py
flipped sign: clean estimate | test_clean_estimate_inverts_the_diffusion
- (state - step.sigma * output)
+ (state + step.sigma * output)
noise at the last step | test_last_step_adds_no_noise
- latents=state)
+ latents=step.alpha * denoised[-1] + step.sigma * noise[-1])
dropped no_grad: DRaFT's first steps | test_last_k_keeps_no_graph_before_its_steps
- nullcontext() if path.trained[n] else torch.no_grad()
+ nullcontext()
noise at the last step: state | test_last_step_adds_no_noise
- if noise is None:
-         return denoised
+ if noise is None:
+         return denoised + step.sigma * torch.randn_like(denoised)
@ rocm/models/consistency.py, tests/models/test_consistency.py
adapter on in the reference | test_recomputed_reference_has_its_adapter_off_and_recomputed_policy_on
- adapter_off(unet) if is_reference else
+ adapter_off(unet) if is_reference and torch._C._current_graph_task_id() < 0 else
policy, reference swapped: adapter | test_pictures_with_an_adapter_are_those_of_the_stock_pipeline
- is_reference=False)
+ is_reference=True)
adapter on in the reference: gradient | test_gradient_with_checkpointing_is_that_without
- adapter_off(unet) if is_reference else
+ adapter_off(unet) if is_reference and torch._C._current_graph_task_id() < 0 else
guidance embedding dropped | test_networks_see_guidance_and_repeat_their_context_for_each_step
- timestep_cond=guidance.expand(len(state), -1)
+ timestep_cond=None
@ rocm/models/lora.py, tests/models/test_lora.py
alpha lost in the adapter's file | test_saved_adapter_gives_stock_diffusers_and_us_the_same_network
- unet_lora_adapter_metadata=unet.peft_config[NAME].to_dict(),
misfit layers of an adapter passed over | test_an_adapter_of_another_model_is_refused
- if num_loaded != len(tensors)
+ if num_loaded > len(tensors)
@ rocm/algorithms/trajectory.py, tests/algorithms/test_rocm.py
dropped detach: DRTune's input | test_gradient_along_every_path_is_its_definition
- state.detach() if path.detach_input else state
+ state
dropped detach: DRTune's reference | test_gradient_along_every_path_is_its_definition
- state.detach() if detach_input else state
+ state
@ rocm/rewards/base.py, tests/rewards/test_mixture.py
pixels pushed further out | test_outside_the_range_only_the_gradient_that_leads_back_passes
- gradient.masked_fill(outward, 0)
+ gradient
@ rocm/models/lean_layers.py, tests/models/test_lean_layers.py
a gated GELU's halves exchanged in backward | test_lean_layers_give_the_same_and_keep_less[unet-0.8]
- torch.cat([gradient * F.gelu(gate), inner], dim=-1)
+ torch.cat([inner, gradient * F.gelu(gate)], dim=-1)
@ rocm/models/flat_lora.py, tests/models/test_lean_layers.py
adapter's scale left out | test_lean_adapter_layers_give_the_same_with_the_adapter_on_and_off
- of_up = torch.addmm(up, gradient.T, inner, beta=0, alpha=ctx.scale)
+ of_up = torch.addmm(up, gradient.T, inner, beta=0)
@ rocm/training/calibrate.py, tests/training/test_calibrate.py
beta in proportion to the share | test_beta_is_in_proportion_to_the_odds_of_the_share
- beta = share / (1 - share) *
+ beta = share *
""")
