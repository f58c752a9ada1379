"""The runs of the comparison: methods, seeds, tuning, budgets.

Fair by construction: every method gets the same number of tuning runs on the same grid, with seeds
that no reported run has; every run has the same two budgets, over which its learning rate falls to
0. Runs with equal settings are one run.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from rocm.config import RunConfig

NUM_SEEDS = 3
NUM_HEADLINE_SEEDS = 5
TUNING_SEED = 1000
LEARNING_RATE_FACTORS = (1.0, 3.0, 1 / 3)
BETAS = (0.0, 1.5, 3.0, 6.0, 12.0, 24.0)
SECOND_REWARD = "tiny-clip"
MANY_UPDATES = 100_000  # the budgets end a run, not its number of updates
Budget = dict[str, float]
"""What a run may spend, all of it: largest totals of `seconds` (of updates, without evaluations),
`reward_queries` or `updates`."""


@dataclass(frozen=True)
class Method:
    """A row of the comparison."""

    key: str
    label: str
    preset: str  # settings that it is tuned from
    kind: str  # `divergence` (ROCM with one), `first-order` (without), or `policy gradient`
    is_headline: bool = False  # gets five seeds


METHODS = (
    Method("rocm-kl", "ROCM, KL", "tiny-rocm-kl", "divergence", is_headline=True),
    Method("rocm-js", "ROCM, Jensen-Shannon", "tiny-rocm-js", "divergence"),
    Method("rocm-hellinger", "ROCM, Hellinger", "tiny-rocm-hellinger", "divergence"),
    Method("rocm-fisher", "ROCM, Fisher", "tiny-rocm-fisher", "divergence"),
    Method("beta0", "beta = 0", "tiny-rocm-beta0", "first-order", is_headline=True),
    Method("alignprop", "AlignProp", "tiny-alignprop", "first-order"),
    Method("draft-1", "DRaFT-1", "tiny-draft-1", "first-order"),
    Method("rlcm", "RLCM", "tiny-rlcm", "policy gradient", is_headline=True),
    Method("ddpo", "DDPO", "tiny-ddpo", "policy gradient"),
    Method("dpok", "DPOK", "tiny-dpok", "policy gradient"),
    Method("d3po", "D3PO", "tiny-d3po", "policy gradient"),
)
SECOND_METHODS = ("rocm-kl", "rlcm")


@dataclass(frozen=True)
class Job:
    """A run of the plan; its role is `tuning`, `result`, `beta` or `second`."""

    method: Method
    config: RunConfig
    role: str

    @property
    def name(self) -> str:
        """Folder of the run: equal for equal settings."""
        settings = self.config.model_dump(exclude={"description"})
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        return f"run-{digest[:12]}"


@dataclass(frozen=True)
class Plan:
    """The whole comparison."""

    budget: Budget  # of every run
    num_seeds: int = NUM_SEEDS  # reported seeds of a method, from 0
    num_headline_seeds: int = NUM_HEADLINE_SEEDS  # of the headline methods and of each beta
    is_quick: bool = False  # too short to be evidence
    common: tuple[tuple[str, Any], ...] = ()  # settings that replace the presets' in every run

    def tuning(self) -> list[Job]:
        """Every method with every learning rate of the grid, one seed."""
        return [
            self._job(method, "tuning", TUNING_SEED, learning_rate=rate)
            for method in METHODS
            for rate in self.learning_rates(method)
        ]

    def learning_rates(self, method: Method) -> list[float]:
        """The grid of a method: its preset's learning rate; unless quick, times 3 and 1/3 too."""
        rate = RunConfig.load(method.preset).learning_rate
        return [rate * factor for factor in LEARNING_RATE_FACTORS[: 1 if self.is_quick else None]]

    def results(self, chosen: dict[str, float]) -> list[Job]:
        """The reported runs: all methods, the betas of ROCM with KL, the second reward.

        `chosen` has the tuned learning rate of each method.
        """
        jobs = [
            self._job(method, "result", seed, learning_rate=chosen[method.key])
            for method in METHODS
            for seed in range(self.seeds_of(method))
        ]
        by_key = {method.key: method for method in METHODS}
        kl = by_key["rocm-kl"]
        jobs += [
            self._job(kl, "beta", seed, learning_rate=chosen[kl.key], beta=beta)
            for beta in BETAS
            for seed in range(self.num_headline_seeds)
        ]
        for key in SECOND_METHODS:
            # The weight of the divergence that belongs to this reward.
            settings: dict[str, Any] = {"reward": SECOND_REWARD, "learning_rate": chosen[key]}
            if key == kl.key:
                settings["beta"] = RunConfig.load("tiny-rocm-kl-clip").beta
            jobs += [
                self._job(by_key[key], "second", seed, **settings) for seed in range(self.num_seeds)
            ]
        return jobs

    def seeds_of(self, method: Method) -> int:
        """Number of reported seeds of a method."""
        return self.num_headline_seeds if method.is_headline else self.num_seeds

    def _job(self, method: Method, role: str, seed: int, **settings: Any) -> Job:
        endless = {"num_steps": MANY_UPDATES, "eval_every": MANY_UPDATES, "lr_end_factor": 0.0}
        config = RunConfig.load(
            method.preset, **{**endless, **dict(self.common), **settings, "seed": seed}
        )
        return Job(method, config, role)


def make_plan(seconds: float, reward_queries: int, is_quick: bool) -> Plan:
    """The comparison with its budgets per run; `is_quick` for one seed and two updates."""
    plan = Plan({"seconds": seconds, "reward_queries": reward_queries})
    if not is_quick:
        return plan
    small = (("num_inference_steps", 2), ("batch_size", 4), ("num_eval_prompts", 4), ("track", ""))
    one_seed = {"num_seeds": 1, "num_headline_seeds": 1}
    return replace(plan, budget={"updates": 2}, common=small, is_quick=True, **one_seed)
