r"""A beta that holds the joint KL at a budget in nats, whatever divergence trains.

.. math:: \ln\beta = \ln\beta_0 + K s + I, \quad I \leftarrow I + k s, \quad
          s = \mathrm{clip}(e + T \dot e, \pm S), \quad e = 2 \big(\sqrt{m / D^*} - 1\big)

m is a running mean of the updates' joint KL D (`kl_nats`), D* the budget, and the slope of e one of
its changes. e is about ln(m / D*), but grows evenly where an optimizer moves the policy evenly. The
KL follows beta tens of updates late, as the sum of what the optimizer has moved: an integral alone
overshoots, so the proportional gain K leads and the slope looks T updates ahead. All gains are
small because Adam follows a large penalty at once and a reward, with its noise, slowly: a beta that
swings drives the KL in within few updates and takes tens to let it out. Beta stays within a factor
of 100 of beta_0.

.. math:: R \approx a \sqrt{D} \;\Rightarrow\; \beta_0 = \frac{a}{2 \sqrt{D^*}} \cdot \frac{D}{P}

The reward has risen by R at a joint KL of D after a start without a penalty, and D / P turns nats
into the divergence P that trains. Without a budget there is a price p per nat instead, and beta
is p D / P: no controller, the same weight in nats whatever divergence trains. A reward times ten
gives a beta times ten, and so the same updates. Ours; not given in the paper.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

PROPORTIONAL, INTEGRAL = 2.0, 0.1  # K, k
AHEAD, LARGEST = 3.0, 1.0  # T, S
MEMORY = 0.7  # of the running means
SPAN = math.log(100)
START_UPDATES = 10
START_SHARE = 0.25  # of a budget that is given, reached without a penalty
PRICE = 4.0  # base deviations of the reward for a KL of 1 per latent element
NUM_WATCHED = 40  # updates behind the words on a budget that cannot be reached, or an oscillation
BESIDE, SWING, NUM_SWINGS = 0.2, 0.4, 3  # of e


@dataclass(frozen=True)
class Budget:
    """The state of the controller between two updates; plain numbers.

    Either `target`, D* in nats, or `price`, p, is above 0; `beta0` is 0 during the start.
    """

    target: float = 0.0
    price: float = 0.0
    beta0: float = 0.0
    nats: float = 0.0  # m
    divergence: float = 0.0  # running mean of the divergence that trains
    slope: float = 0.0  # running mean of the changes of e
    error: float = 0.0  # s
    integral: float = 0.0  # I
    num_updates: int = 0
    errors: tuple[float, ...] = ()  # the newest e

    @property
    def beta(self) -> float:
        """The weight of the divergence in the next update."""
        if self.price:
            return self.price * self.nats / self.divergence if self.divergence > 0 else 0.0
        if not self.beta0:
            return 0.0
        return self.beta0 * math.exp(_limited(PROPORTIONAL * self.error + self.integral))

    @property
    def is_start_over(self) -> bool:
        """Whether the updates without a penalty have shown enough for a budget that is given."""
        is_enough = self.nats >= START_SHARE * self.target or self.num_updates >= START_UPDATES
        return not (self.price or self.beta0) and is_enough


def aimed(budget: Budget, rise: float) -> Budget:
    """The controller once the start is over, with the reward `rise` > 0 above the base model."""
    slope = rise / (2 * math.sqrt(budget.nats * budget.target))
    return replace(budget, beta0=slope * budget.nats / budget.divergence)


def followed(budget: Budget, nats: float, divergence: float) -> Budget:
    """The state after an update whose pictures lay `nats` and `divergence` from the reference."""
    mean = _mean(budget.nats, nats) if budget.num_updates else nats
    own = _mean(budget.divergence, divergence) if budget.num_updates else divergence
    num = budget.num_updates + 1
    after = replace(budget, nats=mean, divergence=own, num_updates=num)
    if not budget.beta0:
        return after
    now, before = (2 * (math.sqrt(nats / budget.target) - 1) for nats in (mean, budget.nats))
    slope = _mean(budget.slope, now - before)
    error = min(max(now + AHEAD * slope, -LARGEST), LARGEST)
    integral = _limited(budget.integral + INTEGRAL * error)
    errors = (*budget.errors, now)[-NUM_WATCHED:]
    return replace(after, slope=slope, error=error, integral=integral, errors=errors)


def _mean(mean: float, value: float) -> float:
    return MEMORY * mean + (1 - MEMORY) * value


def _limited(log_factor: float) -> float:
    return min(max(log_factor, -SPAN), SPAN)


def trouble(budget: Budget) -> tuple[str, str]:
    """Kind and sentence of what keeps the KL from its budget; empty if nothing does."""
    newest = budget.errors[-NUM_WATCHED // 2 :]
    if budget.price or len(newest) < NUM_WATCHED // 2:
        return "", ""
    factor, words = budget.beta / budget.beta0, f"{budget.target:.3g} nats"
    if factor < 1.01 / math.exp(SPAN) and max(newest) < -BESIDE:
        return "budget", (
            f"The budget of {words} cannot be reached: with beta at a hundredth of its start the "
            f"KL stays at {budget.nats:.3g}. The reward leads no further, or not yet."
        )
    if factor > 0.99 * math.exp(SPAN) and min(newest) > BESIDE:
        return "budget", (
            f"The budget of {words} cannot be reached: with beta at a hundred times its start the "
            f"KL stays at {budget.nats:.3g}. A bounded divergence (js, hellinger, tv) no longer "
            "pulls back so far away: set divergence=kl, or a smaller learning_rate."
        )
    sides = [error > 0 for error in budget.errors if abs(error) > SWING]
    if sum(one != other for one, other in pairwise(sides)) >= NUM_SWINGS:
        return "oscillation", (
            f"The KL oscillates around its budget of {words}. Lower learning_rate, or draw more "
            "pictures per update."
        )
    return "", ""
