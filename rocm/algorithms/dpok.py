r"""DPOK: policy gradient with a learned value and a divergence in the loss (arXiv 2305.16381).

.. math:: L(\theta) = -\frac1{KB} \sum_{n,b} A_{nb}\,
          \mathrm{clip}(r_{nb}, 1 - \epsilon, 1 + \epsilon)
          + \frac{\beta}{B} \sum_{n,b} D_{nb}, \qquad A_{nb} = R_b - V(x_n, t_n, c)

A clipped ratio sends no gradient, whatever the advantage's sign (PPO's pessimistic maximum would).
The value is a small network of its own, fitted to the rewards of the drawn pictures before the
policy's step. Departures: the divergence is the chosen one, where DPOK takes the squared difference
of the predicted noise, not weighted by sigma; its two weights are one beta; the value is fitted to
the update's own pictures, without a replay buffer. Shapes: B pictures, K decisions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rocm.algorithms.divergences import Generators, Penalty
from rocm.algorithms.policy_gradient import PolicyObjective, ScoredEpisode, objective_of, view
from rocm.algorithms.problem import Problem
from rocm.algorithms.schedule import Step

POOLED = 4
HIDDEN = 128


class Value(nn.Module):
    """V(x_n, t_n, c): the reward to expect from a state; 0 before it is fitted.

    It sees the state pooled to 4 x 4, t_n / 1000 and the mean of the prompt's text features.
    """

    def __init__(self, num_channels: int, num_features: int):
        """Take latents of `num_channels` and text features of `num_features`."""
        super().__init__()
        width = num_channels * POOLED**2 + 1 + num_features
        first, last = nn.Linear(width, HIDDEN), nn.Linear(HIDDEN, 1)
        self.layers = nn.Sequential(first, nn.SiLU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(
        self, states: Sequence[Tensor], timesteps: Sequence[int], context: Tensor
    ) -> Tensor:
        """Values (K, B) of K states (B, C, H, W), their K timesteps and text features (B, L, F)."""
        text = context.float().mean(1)
        rows = []
        for state, timestep in zip(states, timesteps, strict=True):
            pooled = F.adaptive_avg_pool2d(state, POOLED).flatten(1)
            time = pooled.new_full((len(pooled), 1), timestep / 1000)
            rows.append(self.layers(torch.cat([pooled, time, text], dim=1))[:, 0])
        return torch.stack(rows)


def dpok_objective(
    problem: Problem,
    scored: ScoredEpisode,
    schedule: Sequence[Step],
    clip_range: float,
    penalty: Penalty,
    generators: Generators = (),
) -> PolicyObjective:
    """The clipped objective of B pictures with advantages (K, B); `clip_range` is epsilon."""
    seen = view(problem, scored, schedule, penalty, generators)
    ratio = (seen.log_probs - seen.old_log_probs).exp()
    loss = clamped_loss(ratio, scored.advantages, clip_range)
    return objective_of(loss, seen, (ratio.detach() - 1).abs() > clip_range)


def clamped_loss(ratio: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """Minus the mean of advantage (K, B) times clipped ratio (K, B), 0-d."""
    return -(advantages * ratio.clamp(1 - clip_range, 1 + clip_range)).mean()
