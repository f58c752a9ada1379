"""The settings of one fine-tuning run: their sections joined, checked, read and written.

Defaults, bounds and help are written once, in the modules beside this one.
Presets (YAML), command-line flags, page controls and docs/settings.md are all made from
`RunConfig.model_fields`. Values marked "(paper)" stand in arXiv 2503.06171; "(SPO default, not the
paper's)" are borrowed from SPO because the paper does not give them; the others are ours.
"""

import difflib
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import ConfigDict, ValidationError, model_validator

from rocm.config.generation import GenerationSettings
from rocm.config.machine import MachineSettings
from rocm.config.objective import ObjectiveSettings
from rocm.config.policy_gradient import PolicyGradientSettings
from rocm.config.presets import read_settings
from rocm.config.training import AdapterSettings, EvaluationSettings, OptimiserSettings
from rocm.errors import ConfigError
from rocm.storage.files import SHORT


# In pydantic the fields of the last base come first.
class RunConfig(
    MachineSettings,
    EvaluationSettings,
    AdapterSettings,
    OptimiserSettings,
    GenerationSettings,
    PolicyGradientSettings,
    ObjectiveSettings,
):
    """Every setting of a run. Frozen; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="after")
    def _check(self) -> Self:
        num = self.num_inference_steps
        if self.sampler == "lcm" and num > 8 and num != 16:
            raise ValueError(f"num_inference_steps={num} is outside 1-8 and 16.")
        if self.backprop in ("last_k", "drtune") and self.backprop_steps > num:
            raise ValueError(
                f"backprop_steps={self.backprop_steps} is more than num_inference_steps={num}."
            )
        if self.last_step == "skip" and num == 1 and self.beta > 0:
            raise ValueError(
                "last_step=skip with num_inference_steps=1 leaves no step with a divergence. "
                "Set beta=0, or last_step=smooth."
            )
        if self.algorithm != "rocm":
            self._check_policy_gradient()
        if self.algorithm == "d3po" or (self.algorithm, self.policy_loss) == ("rlcm", "rebel"):
            self._check_pairs()
        if self.algorithm == "hybrid":
            self._check_hybrid()
        if self.preferences and self.algorithm != "d3po":
            raise ValueError(
                f"preferences={self.preferences[:200]} is read by algorithm=d3po only. "
                "Choose that, or leave preferences empty."
            )
        return self

    @model_validator(mode="after")
    def _check_judge(self) -> Self:
        if self.judge != self.judge.strip() or "," in self.judge:
            raise ValueError(
                f"judge={self.judge[:200]!r} is not the name of one reward. Give one, and name "
                "others in track."
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
        for name, number in (
            ("batch_size", self.batch_size),
            ("pictures_per_prompt", self.pictures_per_prompt),
        ):
            if number % 2 and not (name == "pictures_per_prompt" and self.preferences):
                raise ValueError(
                    f"{name}={number} is odd, and this algorithm compares pairs of pictures of one "
                    f"prompt. Set {name} to an even number."
                )

    def _check_hybrid(self) -> None:
        num, group = self.batch_size, self.pictures_per_prompt
        if group < 2 or num % group:
            raise ValueError(
                f"batch_size={num} does not hold whole groups of pictures_per_prompt={group}: "
                "hybrid compares the pictures of one prompt with each other. Set "
                "pictures_per_prompt to 2 or more, and batch_size to a multiple of it."
            )
        if self.backprop in ("refl", "draft_lv"):
            raise ValueError(
                f"backprop={self.backprop} draws other pictures than the chain's, and hybrid needs "
                "those. Choose full, last_k, random_k or drtune."
            )

    @classmethod
    def load(cls, source: str | Path | dict[str, Any], **overrides: Any) -> Self:
        """Settings from a preset's name, a YAML file or a dictionary, with overrides.

        Args:
            source: preset name, path of a YAML file, or values by setting name.
            **overrides: values that replace those of the source.

        Returns:
            The checked settings.

        Raises:
            MissingFile: no such preset or file.
            ConfigError: broken YAML, unknown setting, value out of bounds.
        """
        values = dict(source) if isinstance(source, dict) else read_settings(source)
        return cls._checked({**values, **overrides})

    @classmethod
    def _checked(cls, values: dict[str, Any]) -> Self:
        for name in values:
            if name not in cls.model_fields:
                raise ConfigError(_unknown(name, list(cls.model_fields)))
        try:
            return cls(**values)
        except ValidationError as error:
            raise ConfigError(_sentence(error)) from error

    def to_yaml(self) -> str:
        """The settings as YAML text that `load` reads back."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True)


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"Unknown setting '{name}'.{hint} Settings: {', '.join(known)}."


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    name = str(first["loc"][0])
    allowed = message[0].lower() + message[1:]
    given = f"{name}={SHORT.repr(first['input'])}"
    if first["input"] is None:
        given = f"{name} without a value"
    return f"{given} is not allowed: {allowed}."
