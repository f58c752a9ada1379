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

    Args:
        num_raters: R.
        seed: of the draws; other seeds are other people.
        spread: sigma, in [0, 1]; 0 makes all of them `taste.GOLD`.

    Returns:
        Saturation, contrast and weight of edges, (R, 3).
    """
    normal = torch.randn(num_raters, 3, generator=torch.Generator().manual_seed(seed))
    none = torch.tensor([1.0, 1.0, 0.0])
    return none + (torch.tensor(GOLD) - none) * (spread * normal).exp()


@torch.no_grad()
def utilities(
    pictures: Tensor, captions: Sequence[str], drawings: Drawings, raters: Tensor
) -> Tensor:
    """Taste of every picture by every rater's own palate, as a study's raters need it.

    Args:
        pictures: (B, 3, 64, 64) in [0, 1].
        captions: of the embedded world, B.
        drawings: the real ones.
        raters: palates, (R, 3).

    Returns:
        (R, B), at most 0, in percent of a channel's range.

    Raises:
        ConfigError: a caption has no drawing.
    """
    references = aligned(pictures, *drawings.find(captions))
    return torch.stack([taste(pictures, references, palate[None]) for palate in raters])


def preference(first: Tensor, second: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Probability that a rater prefers the first picture.

    Args:
        first: the rater's own taste of the first picture, any shape.
        second: of the second, the same shape.
        temperature: in the unit of taste, > 0.

    Returns:
        In [0, 1]; that of the exchanged pair is the rest to 1.
    """
    return torch.sigmoid((first - second) / temperature)


def votes(
    first: Tensor,
    second: Tensor,
    draws: torch.Generator,
    temperature: float = TEMPERATURE,
    tie_width: float = TIE_WIDTH,
) -> Tensor:
    """What raters answer: the difference of their tastes with logistic noise, small ones ties.

    Args:
        first: taste of the first picture by the rater of each pair, (B,).
        second: of the second, (B,).
        draws: source of the noise.
        temperature: in the unit of taste, > 0.
        tie_width: in temperatures, >= 0; at 0 nobody ties and P(1) is `preference`.

    Returns:
        1 for the first, 0 for the second, 0.5 for a tie, (B,).
    """
    uniform = torch.rand(first.shape, generator=draws).clamp(1e-7, 1 - 1e-7)
    felt = (first - second) / temperature + torch.logit(uniform)
    return 0.5 + 0.5 * felt.sign() * (felt.abs() >= tie_width)
