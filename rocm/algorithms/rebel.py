r"""REBEL (arXiv 2404.16767), RLCM's other loss: regress differences of rewards on log-ratios.

.. math:: L(\theta) = \frac1P \sum_{p} \Big(\eta \sum_n \big[\log r_{n,2p} - \log r_{n,2p+1}\big]
          - (A_{2p} - A_{2p+1})\Big)^2 + \frac{\beta}{B} \sum_{n,b} D_{nb}, \qquad
          \log r_{nb} = \ell_\theta(a_n|x_n) - \ell_{old}(a_n|x_n)

Pictures 2p and 2p + 1 are of one prompt. Nothing is clipped: the square itself stops a pair whose
log-ratios explain its rewards. Departure: RLCM regresses at every step by itself; REBEL's policy is
the distribution of the whole answer, here of the trajectory, so the log-ratios are summed over its
decisions. Shapes: B pictures, P = B / 2 pairs, K decisions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rocm.algorithms.judged import Judged, PolicyObjective, objective_of, view
from rocm.algorithms.problem import Problem
from rocm.divergences import Penalty
from rocm.schedule import Step


def rebel_objective(
    problem: Problem,
    judged: Judged,
    schedule: Sequence[Step],
    eta: float,
    penalty: Penalty,
    generator: torch.Generator | None = None,
) -> PolicyObjective:
    """The regression of one batch of pairs.

    Args:
        problem: the policy; nothing else of it is used.
        judged: episode and reference of B pictures, B even, and their advantages.
        schedule: N steps.
        eta: advantage that a log-ratio of 1 stands for.
        penalty: weight and kind of the divergence, and the last step's Gaussian.
        generator: of the draws of the sampled Jensen-Shannon estimator; not used otherwise.

    Returns:
        The objective, averaged over pairs.
    """
    seen = view(problem, judged, schedule, penalty, generator)
    log_ratio = (seen.log_probs - seen.old_log_probs).sum(0)
    return objective_of(regression_loss(log_ratio, judged.advantages, eta), seen, None)


def regression_loss(log_ratio: Tensor, advantages: Tensor, eta: float) -> Tensor:
    """Mean over pairs of the squared residual, 0-d.

    Args:
        log_ratio: (B,), of the trajectories; 0 where the policy has not moved.
        advantages: (B,).
        eta: as in `rebel_objective`.

    Returns:
        >= 0.
    """
    explained = eta * (log_ratio[0::2] - log_ratio[1::2])
    return (explained - (advantages[0::2] - advantages[1::2])).square().mean()
