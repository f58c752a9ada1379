"""Faults that a named test must catch: `python tests/mutations.py [-k NAME]`.

Each is applied to a copy of the tree, where its test must go red by a failed test, not by an error
while collecting or setting up. All tests must be green without the faults first.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("rocm", "tests", "presets", "scripts", "docs", "pyproject.toml")
NUM_WORKERS = 2


@dataclass(frozen=True)
class Mutation:
    """One fault: `old` stands exactly once in `file`; `test` must fail once it is `new`."""

    name: str
    file: str
    old: str
    new: str
    test: str


DIVERGENCES = "rocm/divergences.py"
TRAJECTORY = "rocm/trajectory.py"
PATHWISE = "rocm/algorithms/pathwise.py"
PPO = "rocm/algorithms/ppo.py"
CONSISTENCY = "rocm/models/consistency.py"
SLOPE = "tests/test_divergences.py::test_value_and_slope_where_training_starts"
MODEL = "tests/models/test_consistency.py"
OBJECTIVE = "tests/algorithms/test_pathwise.py"
TWO_APPS = (
    "tests/test_queue.py::"
    "test_two_apps_share_a_queue_that_outlives_them_and_trains_one_run_at_a_time"
)
RLCM = "tests/algorithms/test_ppo.py"
MUTATIONS = [
    Mutation(
        "picture noised with the wrong level",
        PATHWISE,
        "last.alpha * latents + last.sigma * noise",
        "last.alpha_next * latents + last.sigma * noise",
        f"{OBJECTIVE}::test_re_noised_gradients_are_those_of_one_step_from_a_fixed_picture",
    ),
    Mutation(
        "reward's gradient not asked for",
        "rocm/reward_names.py",
        'if missing and algorithm == "rocm":',
        'if missing and algorithm == "none":',
        "tests/rewards/test_jpeg.py::test_back_propagation_is_refused_in_one_sentence",
    ),
    Mutation(
        "gradients that came back not counted",
        CONSISTENCY,
        "if output.requires_grad:",
        "if is_reference and output.requires_grad:",
        "tests/training/test_loop.py::test_network_passes_of_a_picture_are_counted",
    ),
    Mutation(
        "flipped sign: log-density",
        "rocm/mdp.py",
        "return -exponent",
        "return exponent",
        f"{RLCM}::test_log_prob_is_the_mean_of_torch_distributions",
    ),
    Mutation(
        "flipped sign: policy gradient",
        PPO,
        "torch.maximum(-advantages * ratio, -advantages * clipped)",
        "torch.maximum(advantages * ratio, advantages * clipped)",
        f"{RLCM}::test_a_step_down_the_loss_makes_good_actions_likelier",
    ),
    Mutation(
        "the smaller for the larger loss",
        PPO,
        "torch.maximum(-advantages",
        "torch.minimum(-advantages",
        f"{RLCM}::test_clipped_loss_is_the_written_out_one_and_stops_where_clipped",
    ),
    Mutation(
        "clip left out",
        PPO,
        "ratio.clamp(1 - clip_range, 1 + clip_range)",
        "ratio",
        f"{RLCM}::test_clipped_loss_is_the_written_out_one_and_stops_where_clipped",
    ),
    Mutation(
        "sum for mean over decisions and pictures",
        PPO,
        "-advantages * clipped).mean()",
        "-advantages * clipped).sum()",
        f"{RLCM}::test_loss_is_the_mean_over_decisions_and_pictures",
    ),
    Mutation(
        "sum for mean over an action's elements",
        "rocm/mdp.py",
        "-exponent.flatten(1).mean(1)",
        "-exponent.flatten(1).sum(1)",
        f"{RLCM}::test_log_prob_is_the_mean_of_torch_distributions",
    ),
    Mutation(
        "advantage with a gradient",
        "rocm/algorithms/advantages.py",
        "rewards = rewards.detach()",
        "rewards = 1 * rewards",
        f"{RLCM}::test_equal_rewards_give_no_advantage_and_advantages_carry_no_gradient",
    ),
    Mutation(
        "old log-density with a gradient",
        PPO,
        "old = now.detach() if",
        "old = now if",
        f"{RLCM}::test_first_gradient_of_a_linear_policy_is_the_hand_derivative",
    ),
    Mutation(
        "old log-density of the present policy",
        PPO,
        "if judged.old_log_probs is None else judged.old_log_probs",
        "",
        f"{RLCM}::test_old_log_probs_are_those_of_the_policy_that_drew_the_pictures",
    ),
    Mutation(
        "earlier rewards forgotten on resume",
        "rocm/training/checkpoint.py",
        'learner.statistics.load_state_dict(state.get("statistics", {}))',
        "learner.statistics.load_state_dict({})",
        "tests/training/test_loop.py::test_resumed_equals_straight_through_bit_for_bit[rlcm]",
    ),
    Mutation(
        "all waiting runs at once",
        "rocm/queue.py",
        "if any(run.status().is_active for run in self._unsettled()):",
        "if not self.waiting():",
        TWO_APPS,
    ),
    Mutation(
        "a zombie called alive",
        "rocm/training/liveness.py",
        "return is_same and process.status() != psutil.STATUS_ZOMBIE",
        "return is_same",
        "tests/training/test_run_dir.py::"
        "test_a_killed_trainer_reads_as_interrupted_at_once_even_as_a_zombie",
    ),
    Mutation(
        "normal for Student's interval",
        "rocm/sweep.py",
        "STUDENT[num - 2] if num - 2 < len(STUDENT)",
        "1.96 if num - 2 < len(STUDENT)",
        "tests/test_sweep.py::test_an_interval_of_two_values_is_the_written_out_one",
    ),
    Mutation(
        "flipped sign: Hellinger",
        DIVERGENCES,
        "-torch.expm1(-d2 / 8)",
        "torch.expm1(-d2 / 8)",
        SLOPE,
    ),
    Mutation(
        "halved JS slope at zero",
        DIVERGENCES,
        "* weights).sum(-1) / 2)",
        "* weights).sum(-1) / 4)",
        SLOPE,
    ),
    Mutation(
        "flipped sign: JS",
        DIVERGENCES,
        "return gradient * slope",
        "return -gradient * slope",
        SLOPE,
    ),
    Mutation(
        "sampled JS at the bare root",
        DIVERGENCES,
        "d2 + torch.finfo(d2.dtype).eps",
        "d2",
        "tests/test_divergences.py::test_sampled_jensen_shannon_has_no_gradient_at_equality",
    ),
    Mutation(
        "sum for mean over elements",
        DIVERGENCES,
        "divergence(flat).mean(1)",
        "divergence(flat).sum(1)",
        "tests/test_divergences.py::test_reductions_are_the_written_out_ones",
    ),
    Mutation(
        "flipped sign: clean estimate",
        TRAJECTORY,
        "(state - step.sigma * output)",
        "(state + step.sigma * output)",
        "tests/test_trajectory.py::test_clean_estimate_inverts_the_diffusion",
    ),
    Mutation(
        "noise at the last step",
        TRAJECTORY,
        "latents=state)",
        "latents=step.alpha * denoised[-1] + step.sigma * noise[-1])",
        "tests/test_trajectory.py::test_last_step_adds_no_noise",
    ),
    Mutation(
        "dropped detach: DRTune's input",
        TRAJECTORY,
        "state.detach() if path.detach_input else state",
        "state",
        "tests/test_trajectory.py::test_gradient_of_a_linear_policy_is_the_hand_derivative",
    ),
    Mutation(
        "dropped no_grad: DRaFT's first steps",
        TRAJECTORY,
        "nullcontext() if path.trained[n] else torch.no_grad()",
        "nullcontext()",
        "tests/test_trajectory.py::test_last_k_keeps_no_graph_before_its_steps",
    ),
    Mutation(
        "flipped sign: reward",
        PATHWISE,
        "loss = -rewards.mean()",
        "loss = rewards.mean()",
        f"{OBJECTIVE}::test_reward_is_maximised_and_divergence_minimised",
    ),
    Mutation(
        "flipped sign: penalty",
        PATHWISE,
        "+ penalty.beta * divergences",
        "- penalty.beta * divergences",
        f"{OBJECTIVE}::test_reward_is_maximised_and_divergence_minimised",
    ),
    Mutation(
        "sum for mean over pictures",
        PATHWISE,
        "divergences.sum(0).mean()",
        "divergences.sum()",
        f"{OBJECTIVE}::test_a_batch_of_four_is_the_mean_of_two_batches_of_two",
    ),
    Mutation(
        "policy and reference swapped: rollout",
        PATHWISE,
        "rollout(problem.policy,",
        "rollout(problem.reference,",
        f"{OBJECTIVE}::test_value_and_gradient_for_every_last_step",
    ),
    Mutation(
        "policy and reference swapped: comparison",
        PATHWISE,
        "            problem.reference, states",
        "            problem.policy, states",
        f"{OBJECTIVE}::test_value_and_gradient_for_every_last_step",
    ),
    Mutation(
        "dropped detach: ref_grad detach",
        PATHWISE,
        "[trajectory.states[n].detach() for n in trained]",
        "[trajectory.states[n] for n in trained]",
        f"{OBJECTIVE}::test_gradient_along_every_path_is_its_definition",
    ),
    Mutation(
        "dropped no_grad: ref_grad none",
        PATHWISE,
        "torch.set_grad_enabled(exact or path.detach_input)",
        "torch.enable_grad()",
        f"{OBJECTIVE}::test_detach_and_none_are_not_the_true_gradient",
    ),
    Mutation(
        "adapter left on in the recomputed reference",
        CONSISTENCY,
        "adapter_off(unet) if is_reference else",
        "adapter_off(unet) if is_reference and torch._C._current_graph_task_id() < 0 else",
        f"{MODEL}::test_recomputed_reference_has_its_adapter_off_and_recomputed_policy_on",
    ),
    Mutation(
        "policy and reference swapped: adapter",
        CONSISTENCY,
        "is_reference=False)",
        "is_reference=True)",
        f"{MODEL}::test_pictures_with_an_adapter_are_those_of_the_stock_pipeline",
    ),
    Mutation(
        "adapter left on in the recomputed reference: gradient",
        CONSISTENCY,
        "adapter_off(unet) if is_reference else",
        "adapter_off(unet) if is_reference and torch._C._current_graph_task_id() < 0 else",
        f"{MODEL}::test_gradient_with_checkpointing_is_that_without",
    ),
    Mutation(
        "guidance embedding dropped",
        CONSISTENCY,
        "timestep_cond=guidance.expand(len(state), -1)",
        "timestep_cond=None",
        f"{MODEL}::test_networks_see_guidance_and_repeat_their_context_for_each_step",
    ),
    Mutation(
        "alpha lost in the adapter's file",
        "rocm/models/lora.py",
        "unet_lora_adapter_metadata=unet.peft_config[NAME].to_dict(),",
        "",
        "tests/models/test_lora.py::test_saved_adapter_gives_stock_diffusers_the_same_network",
    ),
    Mutation(
        "misfit layers of an adapter passed over",
        "rocm/models/lora.py",
        "if num_loaded != num_tensors",
        "if num_loaded > num_tensors",
        "tests/models/test_lora.py::test_an_adapter_of_another_model_is_refused",
    ),
    Mutation(
        "JS cancels far away",
        DIVERGENCES,
        "torch.where(d2[..., None] < 1, near, far)",
        "near",
        "tests/test_divergences.py::test_bounded_divergences_reach_their_maximum",
    ),
    Mutation(
        "noise at the last step: state",
        TRAJECTORY,
        "if noise is None:\n        return denoised",
        "if noise is None:\n        return denoised + step.sigma * torch.randn_like(denoised)",
        "tests/test_trajectory.py::test_last_step_adds_no_noise",
    ),
    Mutation(
        "dropped detach: DRTune's reference",
        TRAJECTORY,
        "state.detach() if detach_input else state",
        "state",
        f"{OBJECTIVE}::test_gradient_along_every_path_is_its_definition",
    ),
    Mutation(
        "mean for sum over steps",
        PATHWISE,
        "divergences.sum(0).mean()",
        "divergences.mean()",
        f"{OBJECTIVE}::test_objective_reports_what_the_loss_is_made_of",
    ),
    Mutation(
        "pixels pushed further out",
        "rocm/rewards/base.py",
        "gradient.masked_fill(outward, 0)",
        "gradient",
        "tests/rewards/test_mixture.py::test_descent_brings_pixels_back_but_never_pushes_them_further_out",
    ),
    Mutation(
        "a chart keeps rows that a resumed run has dropped",
        "rocm/training/feed.py",
        'if first and not (rows and rows[0]["time"] == after.time):',
        "if first and not rows:",
        "tests/training/test_feed.py::test_rows_dropped_by_a_resumed_run_are_sent_again",
    ),
]


def copy_tree(target: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
    (target / "assets").symlink_to(ROOT / "assets")


def pytest_in(tree: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-rf", "--tb=short", "--no-showlocals"]
    command += ["-m", "", "-p", "no:cacheprovider", *tests]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True)


def verdict(mutation: Mutation) -> str:
    """`red` as demanded, or what happened instead."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        copy_tree(tree)
        file = tree / mutation.file
        file.write_text(file.read_text().replace(mutation.old, mutation.new))
        result = pytest_in(tree, [mutation.test])
    if result.returncode == 0:
        return "GREEN: the fault went unnoticed"
    if result.returncode == 1 and f"FAILED {mutation.test}" in result.stdout:
        return "red"
    return f"BROKEN: pytest ended with {result.returncode}\n{result.stdout[-2000:]}"


def unmet(mutations: list[Mutation]) -> list[str]:
    """What keeps the mutations from being run at all."""
    found = [
        f"{mutation.name}: its text stands {count} times in {mutation.file}, not once"
        for mutation in mutations
        if (count := (ROOT / mutation.file).read_text().count(mutation.old)) != 1
    ]
    if found:
        return found
    with tempfile.TemporaryDirectory() as folder:
        copy_tree(Path(folder))
        result = pytest_in(Path(folder), sorted({mutation.test for mutation in mutations}))
    return [] if result.returncode == 0 else [f"red without a fault:\n{result.stdout[-4000:]}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="", metavar="NAME", help="only mutations with NAME in theirs")
    wanted = parser.parse_args().k
    mutations = [mutation for mutation in MUTATIONS if wanted in mutation.name]
    if not mutations:
        print(f"No mutation has {wanted!r} in its name.")
        return 2
    if problems := unmet(mutations):
        print(*problems, sep="\n")
        return 1
    with ThreadPoolExecutor(NUM_WORKERS) as pool:
        verdicts = list(pool.map(verdict, mutations))
    width = max(len(mutation.name) for mutation in mutations)
    for mutation, result in zip(mutations, verdicts, strict=True):
        print(f"{mutation.name:{width}}  {mutation.test}  {result}")
    num_red = verdicts.count("red")
    print(f"{num_red} of {len(mutations)} mutations caught")
    return 0 if num_red == len(mutations) else 1


if __name__ == "__main__":
    sys.exit(main())
