"""What `beta: auto` remembers between updates; `rocm.training.steering` decides with it."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rocm.algorithms.budget import Budget, followed
from rocm.algorithms.sequential import Watch
from rocm.errors import RunError

State = dict[str, Any]


@dataclass
class BetaControl:
    """Controller and ratchet.

    `clean` is the learner's state at which the judge stood best so far, None if no judge steers.
    `strength` is the factor of the adapter's update that the judge chose at the end. `said` are
    kinds of sentences that were told.
    """

    budget: Budget
    watch: Watch = field(default_factory=Watch)
    clean: State | None = None
    clean_step: int = 0
    strength: float = 1.0
    said: list[str] = field(default_factory=list)

    def follow(self, row: dict[str, Any]) -> dict[str, float]:
        """Take in an update's measurements; returns its `beta` and, if given, `kl_budget`."""
        used = {"beta": self.budget.beta}
        if self.budget.target:
            used["kl_budget"] = self.budget.target
        self.budget = followed(self.budget, row["kl_nats"], row["divergence"])
        return used

    def state_dict(self) -> State:
        """Everything as plain data and tensors."""
        own = {name: getattr(self, name) for name in ("clean", "clean_step", "strength")}
        own |= {"budget": asdict(self.budget), "watch": asdict(self.watch)}
        return {**own, "said": list(self.said)}

    def load_state_dict(self, state: State) -> None:
        """Go on from another object's `state_dict`; RunError if an older version wrote it."""
        if state.keys() != self.state_dict().keys():
            raise RunError(
                "This run began with an older version of beta=auto, which chose beta in another "
                "way. Train it anew; its checkpoints and adapter stay usable."
            )
        self.budget, self.watch = Budget(**state["budget"]), Watch(**state["watch"])
        for name in ("clean", "clean_step", "strength"):
            setattr(self, name, state[name])
        self.said = list(state["said"])
