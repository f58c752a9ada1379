r"""ROCM: first-order reward optimization through the whole generation (arXiv 2503.06171).

.. math:: L(\theta) = E_{c,z}\Big[ -R(x_0, c)
          + \beta \sum_n D\big(\pi_\theta(\cdot|x_n) \,\|\, \pi_{ref}(\cdot|x_n)\big) \Big]

Policy and reference are compared at the same states x_n, the policy's own. Shapes: B pictures, N
steps, C x H x W latents.

Not given in the paper: whether the gradient flows through the reference's dependence on the state
(`ref_grad`), the reduction over latent elements, the last step; see docs/math.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rocm.algorithms.divergences import Generators, Penalty, picture_draws, step_divergences
from rocm.algorithms.problem import Problem
from rocm.algorithms.schedule import Step
from rocm.algorithms.trajectory import GradientPath, Trajectory, denoised_along, rollout


@dataclass(frozen=True)
class Objective:
    """The loss (0-d, differentiable) of one batch of pictures, and its parts, without gradient.

    `divergences` (N, B) are reduced as the penalty says, 0 where the last step is left out.
    `kl_nats` is summed over elements and steps: with last_step `skip` the exact KL of the
    trajectories (chain rule), otherwise with the last step's term. `latents` are clean, `states`
    those that the chain visited before.
    """

    loss: Tensor
    rewards: Tensor
    divergences: Tensor
    kl_nats: Tensor
    images: Tensor
    latents: Tensor
    states: tuple[Tensor, ...]


def rocm_objective(
    problem: Problem,
    noise: Tensor,
    schedule: Sequence[Step],
    path: GradientPath,
    penalty: Penalty,
    generators: Generators = (),
) -> Objective:
    """One rollout, its reward and its divergence from the reference, averaged over the batch.

    `noise` is as in `rollout`; `generators` serve the sampled Jensen-Shannon estimator only.
    """
    trajectory = rollout(problem.policy, noise, schedule, problem.prediction_type, path)
    images, rewards = problem.scored(trajectory.latents)

    policy = trajectory.denoised
    reference = _reference_denoised(problem, trajectory.states, schedule, path, penalty)
    if penalty.ref_grad == "detach" and penalty.beta > 0 and not path.detach_input:
        policy = _policy_at_fixed_states(problem, trajectory, schedule, path)
    with torch.set_grad_enabled(penalty.beta > 0):
        divergences, kl_nats = step_divergences(policy, reference, schedule, penalty, generators)

    loss = -rewards.mean() + penalty.weight * divergences.sum(0).mean()
    return Objective(
        loss,
        rewards.detach(),
        divergences.detach(),
        kl_nats.detach(),
        images.detach(),
        trajectory.latents.detach(),
        tuple(state.detach() for state in trajectory.states),
    )


def renoised_objectives(
    problem: Problem,
    latents: Tensor,
    last: Step,
    num_draws: int,
    penalty: Penalty,
    generators: Generators,
) -> Iterator[Objective]:
    r"""DRaFT-LV: the last step again, from pictures that are noised `num_draws` times.

    .. math:: x = \alpha_t\,\mathrm{stop}(x_N) + \sigma_t z', \qquad x_N' = f_\theta(x, t)

    `latents` is x_N, (B, C, H, W), without gradient, and t the timestep of the chain's `last` step;
    `generators` draw z'. Yields the one-step objective of each draw.
    """
    path = GradientPath((True,))
    for _ in range(num_draws):
        noise = picture_draws(generators, latents.shape[1:]).to(latents)
        state = last.alpha * latents + last.sigma * noise
        yield rocm_objective(problem, state[None], [last], path, penalty, generators)


def _reference_denoised(
    problem: Problem,
    states: Sequence[Tensor],
    schedule: Sequence[Step],
    path: GradientPath,
    penalty: Penalty,
) -> tuple[Tensor, ...]:
    # exact: the states keep their graph, so the gradient also passes through the reference.
    # With a detached input the linear terms of policy and reference cancel in their difference.
    exact = penalty.ref_grad == "exact" and penalty.beta > 0 and not path.detach_input
    # The noise and states without a trained step before them: nothing is kept of these passes.
    num = next((n for n, state in enumerate(states) if state.requires_grad), len(states))
    parts = [(slice(num), False), (slice(num, None), True)]
    if not exact:
        parts = [(slice(None), path.detach_input)]
    denoised: tuple[Tensor, ...] = ()
    for part, is_kept in parts:
        if states[part]:
            with torch.set_grad_enabled(is_kept):
                denoised += denoised_along(
                    problem.reference,
                    states[part],
                    schedule[part],
                    problem.prediction_type,
                    path.detach_input,
                )
    return denoised


def _policy_at_fixed_states(
    problem: Problem, trajectory: Trajectory, schedule: Sequence[Step], path: GradientPath
) -> tuple[Tensor, ...]:
    # The trained steps once more, with gradient to the parameters and none into the states.
    trained = [n for n in range(len(schedule)) if path.trained[n]]
    again = denoised_along(
        problem.policy,
        [trajectory.states[n].detach() for n in trained],
        [schedule[n] for n in trained],
        problem.prediction_type,
    )
    policy = [denoised.detach() for denoised in trajectory.denoised]
    for n, denoised in zip(trained, again, strict=True):
        policy[n] = denoised
    return tuple(policy)
