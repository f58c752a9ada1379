"""The algorithms and their needs; no other file compares an algorithm with a name.

`RunConfig.method` gives the entry of a run. docs/extending.md adds one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Algorithm:
    """The needs of an algorithm, and its functions in `rocm.training.policy_update`.

    `loss` and `advantages` are names of `LOSSES` and `ADVANTAGES`, not used by back-propagation.
    With `estimates_blind` a policy gradient of the rewards without gradient joins it.
    `needs_reference`: also when beta is 0. `has_value`: a value network is trained besides.
    `reads_preferences`: a table may replace the reward. `variants` by `policy_loss` stand in place
    of this entry.
    """

    is_backprop: bool = False
    loss: str = ""
    advantages: str = "prompt"
    estimates_blind: bool = False
    compares_pairs: bool = False
    needs_reference: bool = False
    has_value: bool = False
    reads_preferences: bool = False
    variants: Mapping[str, "Algorithm"] = field(default_factory=dict)

    @property
    def is_policy_gradient(self) -> bool:
        """Whether a policy gradient is estimated, alone or besides back-propagation."""
        return self.estimates_blind or not self.is_backprop

    @property
    def needs_gradient(self) -> bool:
        """Whether every part of the reward must have a gradient."""
        return self.is_backprop and not self.estimates_blind


ALGORITHMS = {
    "rocm": Algorithm(is_backprop=True),
    "rlcm": Algorithm(loss="ppo", variants={"rebel": Algorithm(loss="rebel", compares_pairs=True)}),
    "d3po": Algorithm(
        loss="d3po",
        advantages="preferences",
        compares_pairs=True,
        needs_reference=True,
        reads_preferences=True,
    ),
    "dpok": Algorithm(loss="dpok", advantages="value", has_value=True),
    "hybrid": Algorithm(is_backprop=True, estimates_blind=True),
}
