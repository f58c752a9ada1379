r"""A beta that holds the joint KL at a budget in nats, whatever divergence trains.

.. math:: \ln\beta = \ln\beta_0 + K e + I, \quad I \leftarrow I + k e, \quad
          e = \mathrm{clip}\big(\ln (m / D^*), \pm 1\big)

m is a running mean of the updates' joint KL D (`kl_nats`), D* the budget. The KL follows beta tens
of updates late, as the sum of what the optimizer has moved: an integral alone overshoots, so the
proportional gain K leads and k is small. Beta stays within a factor of 100 of beta_0.

.. math:: R \approx a \sqrt{D} \;\Rightarrow\; \beta_0 = \frac{a}{2 \sqrt{D^*}} \cdot \frac{D}{P}

After a start without a penalty the reward has risen by R at a joint KL of D; R - beta D is largest
at D* for the beta on the right, and D / P turns nats into the divergence P that trains. A reward
times ten gives a beta times ten, and so the same updates. Ours; not given in the paper.
"""

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise

PROPORTIONAL = 2.5
INTEGRAL = 0.12
MEMORY = 0.8  # of the running mean
SPAN = math.log(100)
START_UPDATES = 10
START_SHARE = 0.25  # of a budget that is given, reached without a penalty
NEAR_SHARE = 0.5
GROWTH = 1.5
NUM_WATCHED = 40  # updates behind the words on a budget that cannot be reached, or an oscillation
BESIDE, SWING, NUM_SWINGS = 0.2, 0.4, 3  # of ln(m / D*)


@dataclass(frozen=True)
class Budget:
    """The state of the controller between two updates; plain numbers.

    `target` is D* in nats, 0 until it is known; `beta0` is 0 during the start, in which beta is 0.
    """

    target: float
    beta0: float = 0.0
    nats: float = 0.0  # m
    divergence: float = 0.0  # running mean of the divergence that trains
    integral: float = 0.0  # I
    num_updates: int = 0
    is_near: bool = False
    errors: tuple[float, ...] = field(default=())  # the newest ln(m / D*), not clipped

    @property
    def beta(self) -> float:
        """The weight of the divergence in the next update."""
        if not self.beta0:
            return 0.0
        lowest = -1.0 if self.is_near else 0.0
        error = min(max(self.errors[-1], lowest), 1.0) if self.errors else 0.0
        return self.beta0 * math.exp(_limited(PROPORTIONAL * error + self.integral))

    @property
    def is_start_over(self) -> bool:
        """Whether the updates without a penalty have shown enough."""
        is_far = self.target > 0 and self.nats >= START_SHARE * self.target
        return not self.beta0 and (is_far or self.num_updates >= START_UPDATES)


def started(budget: Budget, rise: float) -> Budget:
    """The controller with its beta0, from the reward's `rise` > 0 since before the start.

    A budget that is not given begins at what the start has reached.
    """
    target = budget.target or budget.nats
    scale = rise / (2 * math.sqrt(budget.nats * target))
    beta0 = scale * budget.nats / budget.divergence
    return replace(budget, target=target, beta0=beta0, num_updates=0)


def followed(budget: Budget, nats: float, divergence: float) -> Budget:
    """The state after an update whose pictures lay `nats` and `divergence` from the reference."""
    keep = MEMORY if budget.nats else 0.0
    nats = keep * budget.nats + (1 - keep) * nats
    divergence = keep * budget.divergence + (1 - keep) * divergence
    num = budget.num_updates + 1
    after = replace(budget, nats=nats, divergence=divergence, num_updates=num)
    if not budget.beta0:
        return after
    error = math.log(max(nats, 1e-9) / budget.target)
    # LoRA starts at a KL of 0: beta does not fall before the KL could have grown.
    is_near = budget.is_near or nats >= NEAR_SHARE * budget.target or num >= START_UPDATES
    step = INTEGRAL * min(max(error, -1.0 if is_near else 0.0), 1.0)
    return replace(
        after,
        integral=_limited(budget.integral + step),
        is_near=is_near,
        errors=(*budget.errors, error)[-NUM_WATCHED:],
    )


def _limited(log_factor: float) -> float:
    return min(max(log_factor, -SPAN), SPAN)


def trouble(budget: Budget) -> tuple[str, str]:
    """Kind and sentence of what keeps the KL from its budget; empty if nothing does."""
    newest = budget.errors[-NUM_WATCHED // 2 :]
    if len(newest) < NUM_WATCHED // 2:
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
