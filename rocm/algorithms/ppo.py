r"""RLCM: proximal policy optimisation of a consistency model (arXiv 2404.03673), zeroth order.

.. math:: L(\theta) = \frac1{KB} \sum_{n,b} \max\big(-A_b\, r_{nb},\
          -A_b\, \mathrm{clip}(r_{nb}, 1 - \epsilon, 1 + \epsilon)\big)
          + \frac{\beta}{B} \sum_{n,b} D_{nb}, \qquad
          r_{nb} = \exp\big(\ell_\theta(a_n|x_n) - \ell_{old}(a_n|x_n)\big)

with l the mean log-density of `rocm.mdp.log_prob`. The reward is only ever a number, so any will
do. Departure: RLCM has no divergence; beta = 0 is RLCM. States are fixed, so the divergence sends
no gradient into them. Shapes: B pictures, N steps, K decisions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rocm.algorithms.judged import Judged, PolicyObjective, objective_of, view
from rocm.algorithms.problem import Problem
from rocm.divergences import Penalty
from rocm.schedule import Step


def ppo_objective(
    problem: Problem,
    judged: Judged,
    schedule: Sequence[Step],
    clip_range: float,
    penalty: Penalty,
    generator: torch.Generator | None = None,
) -> PolicyObjective:
    """The clipped objective of one batch of pictures.

    Args:
        problem: the policy; nothing else of it is used.
        judged: the pictures' episode, advantages and reference.
        schedule: N steps.
        clip_range: epsilon.
        penalty: weight and kind of the divergence, and the last step's Gaussian.
        generator: of the draws of the sampled Jensen-Shannon estimator; not used otherwise.

    Returns:
        The objective, averaged over decisions and pictures; the divergence summed over decisions.
    """
    seen = view(problem, judged, schedule, penalty, generator)
    ratio = (seen.log_probs - seen.old_log_probs).exp()
    loss = clipped_loss(ratio, judged.advantages, clip_range)
    return objective_of(loss, seen, (ratio.detach() - 1).abs() > clip_range)


def clipped_loss(ratio: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """PPO's pessimistic loss, 0-d: the larger of the plain and the clipped one.

    Args:
        ratio: (K, B), 1 where the policy has not moved.
        advantages: (B,), positive for pictures better than usual.
        clip_range: epsilon.

    Returns:
        Mean over decisions and pictures.
    """
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return torch.maximum(-advantages * ratio, -advantages * clipped).mean()
