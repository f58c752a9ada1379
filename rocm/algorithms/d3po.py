r"""D3PO: preferences between two pictures of a prompt, at every step (arXiv 2311.13231).

.. math:: L(\theta) = -\frac1{KP} \sum_{n,p} \log\operatorname{sigmoid}\big(\tau\,h_p\,
          (\log r_{n,2p} - \log r_{n,2p+1})\big) + \frac{\beta}{B} \sum_{n,b} D_{nb}, \qquad
          r_{nb} = \mathrm{clip}\big(e^{\ell_\theta(a_n|x_n) - \ell_{ref}(a_n|x_n)},
          1 - \epsilon, 1 + \epsilon\big)

h is +1 where the first picture of the pair is preferred, -1 where the second is; a pair without
preference (0) counts as nothing. The ratio is taken to the reference, not to the policy that drew.
Departure: D3PO has no divergence besides; beta = 0 is D3PO. Shapes: B pictures, P = B / 2 pairs, K
decisions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rocm.algorithms.divergences import Generators, Penalty
from rocm.algorithms.mdp import decisions, log_probs
from rocm.algorithms.policy_gradient import PolicyObjective, ScoredEpisode, objective_of, view
from rocm.algorithms.problem import Problem
from rocm.algorithms.schedule import Step


@dataclass(frozen=True)
class PairRule:
    """The comparison of pairs: `temperature` is tau, `clip_range` epsilon."""

    temperature: float
    clip_range: float


def preferences(values: Tensor) -> Tensor:
    """+1 for the better and -1 for the worse picture of each pair, 0 for both of a tie.

    Values (B,) of pairs (0, 1), (2, 3), ..., higher is better; returns (B,), without gradient.
    """
    sign = (values[0::2] - values[1::2]).detach().sign()
    return torch.stack([sign, -sign], dim=1).flatten()


def d3po_objective(
    problem: Problem,
    scored: ScoredEpisode,
    schedule: Sequence[Step],
    rule: PairRule,
    penalty: Penalty,
    generators: Generators = (),
) -> PolicyObjective:
    """The preference loss of B pictures, B even; the advantages are their `preferences`."""
    assert scored.reference is not None, "D3PO compares with the reference"
    seen = view(problem, scored, schedule, penalty, generators)
    gaussians = decisions(schedule, penalty.last_step, penalty.sigma_floor)
    reference = log_probs(scored.reference, scored.episode, gaussians)
    ratio = (seen.log_probs - reference).exp()
    loss = preference_loss(ratio, scored.advantages, rule)
    return objective_of(loss, seen, (ratio.detach() - 1).abs() > rule.clip_range)


def preference_loss(ratio: Tensor, preferred: Tensor, rule: PairRule) -> Tensor:
    """Mean over decisions and pairs that are no ties, 0-d, >= 0; 0 if all are ties.

    `ratio` is policy to reference, (K, B); `preferred` (B,) is from `preferences`.
    """
    log_ratio = ratio.clamp(1 - rule.clip_range, 1 + rule.clip_range).log() * preferred
    margin = rule.temperature * (log_ratio[:, 0::2] + log_ratio[:, 1::2])
    is_decided = preferred[0::2].abs()
    total = (-F.logsigmoid(margin) * is_decided).sum(1).mean()
    return total / is_decided.sum().clamp(min=1)
