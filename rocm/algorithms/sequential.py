r"""Whether paired scores fall, looked at again and again.

With x the falls of a comparison so far (minus the changes, less a tolerance), S their sum and V
that of their squares,

.. math:: M = \int_0^\infty e^{\lambda S - \lambda^2 V / 2}\, 2 N(\lambda; 0, \rho)\, d\lambda
            = \frac{2}{\sqrt{1 + \rho V}} \exp\Big(\frac{\rho S^2}{2 (1 + \rho V)}\Big)\,
              \Phi\Big(\frac{\sqrt\rho\, S}{\sqrt{1 + \rho V}}\Big)

is at most 1 on average at every look, and ever above 1/a with a probability of at most a (Ville),
if each x, given those before, is distributed symmetrically about a value <= 0. That is the one
assumption, which needs pictures that were not looked at before; no variance and no bounds are
needed. Sources: de la Pena 1999 for the exponent, Robbins 1970 for the mixture.

A run makes several comparisons one after the other. The k-th is tested at level a / (k (k + 1)),
and these levels add up to a.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

LEVEL = 0.05  # of a false alarm in a whole run
PRIOR = 4.0  # rho, for changes in deviations of the score over prompts


@dataclass(frozen=True)
class Watch:
    """What the looks of comparison `number` (from 1) have shown: S and V."""

    number: int = 1
    total: float = 0.0
    squares: float = 0.0

    @property
    def evidence(self) -> float:
        """M, from 0; above 1 it speaks for a fall."""
        room = 1 + PRIOR * self.squares
        at = self.total * math.sqrt(PRIOR / room)
        # The two factors overflow and vanish together.
        log_tail = math.log(math.erfc(-at / math.sqrt(2)) / 2) if at > -30 else -(at**2) / 2
        return 2 / math.sqrt(room) * math.exp(min(at**2 / 2 + log_tail, 700.0))

    @property
    def has_fallen(self) -> bool:
        """Whether this comparison ends with the alarm."""
        return self.evidence >= self.number * (self.number + 1) / LEVEL


def looked(watch: Watch, changes: Sequence[float], tolerance: float) -> Watch:
    """The comparison after one more look: paired `changes` of pictures not seen before."""
    falls = [-change - tolerance for change in changes]
    total, squares = sum(falls), sum(fall**2 for fall in falls)
    return replace(watch, total=watch.total + total, squares=watch.squares + squares)


def renewed(watch: Watch) -> Watch:
    """The next comparison, with something else."""
    return Watch(watch.number + 1)
