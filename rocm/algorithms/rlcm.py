r"""RLCM: policy gradients of a consistency model (arXiv 2404.03673), zeroth order, by two losses.

Proximal policy optimization:

.. math:: L(\theta) = \frac1{KB} \sum_{n,b} \max\big(-A_b\, r_{nb},\
          -A_b\, \mathrm{clip}(r_{nb}, 1 - \epsilon, 1 + \epsilon)\big)
          + \frac{\beta}{B} \sum_{n,b} D_{nb}, \qquad
          r_{nb} = \exp\big(\ell_\theta(a_n|x_n) - \ell_{old}(a_n|x_n)\big)

with l the mean log-density of `rocm.algorithms.mdp.log_prob`. The reward is only ever a number, so
any will do. Departure: RLCM has no divergence; beta = 0 is RLCM. States are fixed, so the
divergence sends no gradient into them.

REBEL (arXiv 2404.16767), which regresses differences of rewards on log-ratios:

.. math:: L(\theta) = \frac1P \sum_{p} \Big(\eta \sum_n \big[\log r_{n,2p} - \log r_{n,2p+1}\big]
          - (A_{2p} - A_{2p+1})\Big)^2 + \frac{\beta}{B} \sum_{n,b} D_{nb}

Pictures 2p and 2p + 1 are of one prompt. Nothing is clipped: the square itself stops a pair whose
log-ratios explain its rewards. REBEL's policy is the distribution of the whole answer, here of the
trajectory, so the log-ratios are summed over its decisions, as in RLCM's code. Shapes: B pictures,
P = B / 2 pairs, N steps, K decisions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rocm.algorithms.divergences import Generators, Penalty
from rocm.algorithms.policy_gradient import PolicyObjective, ScoredEpisode, objective_of, view
from rocm.algorithms.problem import Problem
from rocm.algorithms.schedule import Step


def ppo_objective(
    problem: Problem,
    scored: ScoredEpisode,
    schedule: Sequence[Step],
    clip_range: float,
    penalty: Penalty,
    generators: Generators = (),
) -> PolicyObjective:
    """The clipped objective, mean over decisions and pictures; `clip_range` is epsilon."""
    seen = view(problem, scored, schedule, penalty, generators)
    ratio = (seen.log_probs - seen.old_log_probs).exp()
    loss = clipped_loss(ratio, scored.advantages, clip_range)
    return objective_of(loss, seen, (ratio.detach() - 1).abs() > clip_range)


def clipped_loss(ratio: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """PPO's pessimistic loss, 0-d, of ratio (K, B) and advantages (B,), positive for better."""
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return torch.maximum(-advantages * ratio, -advantages * clipped).mean()


def rebel_objective(
    problem: Problem,
    scored: ScoredEpisode,
    schedule: Sequence[Step],
    eta: float,
    penalty: Penalty,
    generators: Generators = (),
) -> PolicyObjective:
    """The regression of B pictures in pairs; `eta` is the advantage of a log-ratio of 1."""
    seen = view(problem, scored, schedule, penalty, generators)
    log_ratio = (seen.log_probs - seen.old_log_probs).sum(0)
    return objective_of(regression_loss(log_ratio, scored.advantages, eta), seen, None)


def regression_loss(log_ratio: Tensor, advantages: Tensor, eta: float) -> Tensor:
    """Mean over pairs of the squared residual, 0-d, of trajectories' log-ratios (B,)."""
    explained = eta * (log_ratio[0::2] - log_ratio[1::2])
    return (explained - (advantages[0::2] - advantages[1::2])).square().mean()
