r"""Simulated raters: people whose taste is known, to decide comparisons where no people are.

A rater is a palate: how vivid and how contrasted they want a drawing, and how much edges weigh.
All palates scatter around `taste.GOLD`. A rater's utility of a picture is its taste by their own
palate, and they prefer picture a with probability

.. math:: P(a \succ b) = \operatorname{sigmoid}\frac{u_r(a) - u_r(b)}{T}
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rocm.rewards.taste import GOLD, Drawings, aligned, taste

TEMPERATURE = 2.0
"""T, in the unit of taste: percent of a channel's range."""
SPREAD = 0.4
TIE_WIDTH = 0.25
"""In temperatures: a rater who feels less than that says that both are equal."""


def palates(num_raters: int, seed: int, spread: float = SPREAD) -> Tensor:
    r"""The palates of raters: what is above 1, and the weight of edges, is log-normal.

    .. math:: s = 1 + 0.35\, e^{\sigma z_1}, \quad c = 1 + 0.1\, e^{\sigma z_2}, \quad
              w = 0.5\, e^{\sigma z_3}

    Returns saturation, contrast and weight of edges of R raters, (R, 3). `spread` is sigma, in
    [0, 1]; 0 makes all of them `taste.GOLD`.
    """
    normal = torch.randn(num_raters, 3, generator=torch.Generator().manual_seed(seed))
    none = torch.tensor([1.0, 1.0, 0.0])
    return none + (torch.tensor(GOLD) - none) * (spread * normal).exp()


@torch.no_grad()
def utilities(
    pictures: Tensor, captions: Sequence[str], drawings: Drawings, raters: Tensor
) -> Tensor:
    """Taste (R, B) of every picture by every rater's own palate (R, 3), as in `taste`.

    Of pictures (B, 3, 64, 64) in [0, 1] and B captions of the embedded world; ConfigError if one
    has no drawing.
    """
    references = aligned(pictures, *drawings.find(captions))
    return torch.stack([taste(pictures, references, palate[None]) for palate in raters])


def preference(first: Tensor, second: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Probability that a rater prefers the first picture, by the rater's own tastes, any shape."""
    return torch.sigmoid((first - second) / temperature)


def votes(
    first: Tensor,
    second: Tensor,
    draws: torch.Generator,
    temperature: float = TEMPERATURE,
    tie_width: float = TIE_WIDTH,
) -> Tensor:
    """What raters answer: the difference of their tastes with logistic noise, small ones ties.

    `first` and `second` (B,) are each pair's tastes by its rater. Returns 1 for the first, 0 for
    the second, 0.5 for a tie, (B,). At a `tie_width` of 0 nobody ties and P(1) is `preference`.
    """
    uniform = torch.rand(first.shape, generator=draws).clamp(1e-7, 1 - 1e-7)
    felt = (first - second) / temperature + torch.logit(uniform)
    return 0.5 + 0.5 * felt.sign() * (felt.abs() >= tie_width)
