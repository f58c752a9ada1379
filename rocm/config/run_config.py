"""The settings of one fine-tuning run: their sections joined, checked, read and written.

Defaults, bounds and help are written once, in the modules beside this one.
Presets (YAML), command-line flags, page controls and docs/settings.md are all made from
`RunConfig.model_fields`. Values marked "(paper)" stand in arXiv 2503.06171; "(SPO default, not the
paper's)" are borrowed from SPO because the paper does not give them; the others are ours.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin

import yaml
from pydantic import ConfigDict, ValidationError, ValidationInfo, field_validator, model_validator

from rocm.config.algorithms import ALGORITHMS, Algorithm
from rocm.config.generation import SAMPLERS, GenerationSettings
from rocm.config.objective import AUTO, DIVERGENCES, ObjectiveSettings, PolicyGradientSettings
from rocm.config.presets import read_settings
from rocm.config.training import (
    AdapterSettings,
    EvaluationSettings,
    MachineSettings,
    OptimizerSettings,
)
from rocm.errors import ConfigError, SettingsError, did_you_mean
from rocm.storage.files import SHORT

USER_REWARD = re.compile(r"[^+*,]+\.py:\w+")
# Settings whose values are the names of a table; docs/extending.md adds to these tables.
TABLES: dict[str, Collection[str]] = {
    "algorithm": ALGORITHMS,
    "divergence": DIVERGENCES,
    "sampler": SAMPLERS,
}


# In pydantic the fields of the last base come first.
class RunConfig(
    MachineSettings,
    EvaluationSettings,
    AdapterSettings,
    OptimizerSettings,
    GenerationSettings,
    PolicyGradientSettings,
    ObjectiveSettings,
):
    """Every setting of a run. Frozen; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @property
    def method(self) -> Algorithm:
        """The needs of the run's algorithm."""
        algorithm = ALGORITHMS[self.algorithm]
        return algorithm.variants.get(self.policy_loss, algorithm)

    @property
    def has_penalty(self) -> bool:
        """Whether the loss has a divergence."""
        return self.beta == AUTO or float(self.beta) > 0

    @property
    def is_judge_steering(self) -> bool:
        """Whether the judge raises beta and chooses the strength, and is not held out any more."""
        return self.beta == AUTO and not self.kl_budget

    @property
    def beta_words(self) -> str:
        """Beta as a text: a number, `auto`, or `auto (5 nats)`."""
        if self.beta != AUTO:
            return f"{self.beta:g}"
        return f"{AUTO} ({self.kl_budget:g} nats)" if self.kl_budget else AUTO

    @property
    def user_rewards(self) -> list[str]:
        """Rewards from the user's own files, `path/to/file.py:name`, whose code a run executes."""
        text = ",".join((self.reward, self.track, self.judge, self.audit))
        return list(dict.fromkeys(name.strip() for name in USER_REWARD.findall(text)))

    @field_validator(*TABLES)
    @classmethod
    def _check_name(cls, value: str, info: ValidationInfo) -> str:
        *most, last = map(repr, choices(str(info.field_name)))
        if value not in TABLES[str(info.field_name)]:
            raise ValueError(f"Input should be {', '.join(most)} or {last}")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        num = self.num_inference_steps
        if self.sampler == "lcm" and num > 8 and num != 16:
            raise ValueError(f"num_inference_steps={num} is outside 1-8 and 16.")
        if self.backprop in ("last_k", "drtune") and self.backprop_steps > num:
            raise ValueError(
                f"backprop_steps={self.backprop_steps} is more than num_inference_steps={num}."
            )
        if self.last_step == "skip" and num == 1 and self.has_penalty:
            raise ValueError(
                "last_step=skip with num_inference_steps=1 leaves no step with a divergence. "
                "Set beta=0 or last_step=smooth."
            )
        if self.method.is_policy_gradient:
            self._check_policy_gradient()
        if self.method.compares_pairs:
            self._check_pairs()
        if self.method.estimates_blind:
            self._check_groups()
        if self.preferences and not self.method.reads_preferences:
            readers = [name for name, method in ALGORITHMS.items() if method.reads_preferences]
            raise ValueError(
                f"preferences={self.preferences[:200]} needs algorithm={' or '.join(readers)}. "
                "Set that, or leave preferences empty."
            )
        return self

    @model_validator(mode="after")
    def _check_penalty(self) -> Self:
        if self.divergence == "chi_square" and self.reduction == "joint":
            raise ValueError(
                "divergence=chi_square with reduction=joint is exp of a sum over the whole latent, "
                "which no number format holds. Set reduction to mean or tempered."
            )
        if self.is_judge_steering and not self.judge:
            raise ValueError(
                "beta=auto needs a judge, which takes a run back that gets worse. Set judge, or "
                "kl_budget in nats."
            )
        if self.kl_budget and self.beta != AUTO:
            raise ValueError(f"kl_budget={self.kl_budget:g} needs beta=auto. Set that, or 0.")
        return self

    @model_validator(mode="after")
    def _check_judge(self) -> Self:
        if self.judge != self.judge.strip() or "," in self.judge:
            raise ValueError(
                f"judge={self.judge[:200]!r} is not the name of one reward. Give one name, and "
                "list other rewards in track."
            )
        if self.audit and self.audit == self.judge:
            raise ValueError(
                f"audit={self.audit[:200]} is the judge, which it is to check. Give another reward."
            )
        return self

    def _check_policy_gradient(self) -> None:
        if self.num_inference_steps == 1:
            raise ValueError(
                f"algorithm={self.algorithm} with num_inference_steps=1 has no step whose noise "
                "reaches the picture. Set num_inference_steps to 2 or more, or algorithm=rocm."
            )
        if self.prompt_min_count > self.prompt_window:
            raise ValueError(
                f"prompt_min_count={self.prompt_min_count} is more than "
                f"prompt_window={self.prompt_window}, so it is never reached. Lower it."
            )

    def _check_pairs(self) -> None:
        sizes = {"batch_size": self.batch_size}
        if not self.preferences:
            sizes["pictures_per_prompt"] = self.pictures_per_prompt
        for name, number in sizes.items():
            if number % 2:
                raise ValueError(
                    f"{name}={number} is odd, but this algorithm compares pairs of pictures of one "
                    f"prompt. Set {name} to an even number."
                )

    def _check_groups(self) -> None:
        num, group = self.batch_size, self.pictures_per_prompt
        if group < 2 or num % group:
            raise ValueError(
                f"batch_size={num} does not hold whole groups of pictures_per_prompt={group}, but "
                f"{self.algorithm} compares the pictures of one prompt with each other. Set "
                "pictures_per_prompt to 2 or more, and batch_size to a multiple of it."
            )
        if self.backprop in ("refl", "draft_lv"):
            raise ValueError(
                f"backprop={self.backprop} draws other pictures than the chain's, which "
                f"{self.algorithm} needs. Set backprop to full, last_k, random_k or drtune."
            )

    @classmethod
    def load(cls, source: str | Path | dict[str, Any], **overrides: Any) -> Self:
        """Settings from a preset's name, a YAML file or a dictionary, with overrides."""
        values = dict(source) if isinstance(source, dict) else read_settings(source)
        values |= overrides
        for name in values:
            if name not in cls.model_fields:
                hint = did_you_mean(name, cls.model_fields)
                known = ", ".join(cls.model_fields)
                raise ConfigError(f"Unknown setting '{name}'.{hint} Settings: {known}.")
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError(_sentences(error)) from error

    def to_yaml(self) -> str:
        """The settings as YAML text that `load` reads back."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True)


def choices(name: str) -> tuple[str, ...]:
    """The allowed values of a setting that is one of some names; empty for other settings."""
    kind = RunConfig.model_fields[name].annotation
    return tuple(TABLES.get(name, ())) or (get_args(kind) if get_origin(kind) is Literal else ())


def _sentences(error: ValidationError) -> dict[str, str]:
    """A sentence for every setting that is not allowed, by its name."""
    faults: dict[str, str] = {}
    for problem in error.errors():
        message = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            faults.setdefault(re.split(r"\W", message, maxsplit=1)[0], message)
            continue
        name = str(problem["loc"][0])
        allowed = message[0].lower() + message[1:]
        if name == "beta":
            allowed = "give a number from 0 to 10000, or auto"
        given = f"{name}={SHORT.repr(problem['input'])}"
        if problem["input"] is None:
            given = f"{name} without a value"
        faults.setdefault(name, f"{given} is not allowed: {allowed}.")
    return faults
