"""The settings of one fine-tuning run: defaults, bounds and help, written once.

Presets (YAML), command-line flags, page controls and docs/settings.md are all made from
`RunConfig.model_fields`. Values marked "(paper)" stand in arXiv 2503.06171; "(SPO default, not the
paper's)" are borrowed from SPO because the paper does not give them; the others are ours.
"""

import difflib
import os
from pathlib import Path
from reprlib import Repr
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.config import JsonDict

from rocm.errors import ConfigError, MissingFile
from rocm.presets import PRESETS as PRESETS
from rocm.presets import ROOT, read_settings
from rocm.presets import preset_names as preset_names

SHORT = Repr()  # of what was given: aliases of YAML can stand for gigabytes
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother = 2, 200, 200

Group = Literal[
    "Objective", "Policy gradient", "Generation", "Optimiser", "Adapter", "Evaluation", "Machine"
]


def setting(
    default: Any, group: Group, help_text: str, *, basic: bool = False, **bounds: Any
) -> Any:
    """A field of `RunConfig`; the page always shows `basic` settings and folds the rest."""
    extra: JsonDict = {"group": group, "basic": basic}
    return Field(default, description=help_text, json_schema_extra=extra, **bounds)


class RunConfig(BaseModel):
    """Every setting of a run. Frozen; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    description: str = setting(
        "", "Objective", "One sentence: what this preset shows, and the hardware it last ran on."
    )

    algorithm: Literal["rocm", "rlcm", "d3po", "dpok", "hybrid"] = setting(
        "rocm",
        "Objective",
        "rocm: first order, back-propagates through the generation (the paper). Policy gradients, "
        "which only ask for the reward's value: rlcm (PPO, or REBEL by policy_loss), d3po "
        "(preferences within pairs), dpok (learned value). hybrid: rocm, with a policy gradient "
        "for the parts of the reward that have no gradient.",
        basic=True,
    )
    reward: str = setting(
        "colorfulness",
        "Objective",
        "What is maximised: one reward, or a mixture such as 0.7*tiny-clip+0.3*colorfulness.",
        basic=True,
        min_length=1,
    )
    standardize: bool = setting(
        True,
        "Objective",
        "Measure each reward in deviations of the base model around the base model's mean, so that "
        "one beta fits every reward. Off: raw values.",
    )
    beta: float = setting(
        0.1,
        "Objective",
        "Weight of the divergence from the base model. 0 disables it and invites reward hacking. "
        "Its scale depends on reduction.",
        basic=True,
        ge=0,
        le=10_000,
    )
    divergence: Literal["kl", "js", "hellinger", "fisher", "tv"] = setting(
        "kl",
        "Objective",
        "Distance between policy and reference at every step: Kullback-Leibler, Jensen-Shannon, "
        "squared Hellinger, Fisher, total variation.",
        basic=True,
    )
    reduction: Literal["mean", "joint", "tempered"] = setting(
        "mean",
        "Objective",
        "mean: average of the divergence over latent elements. joint: divergence of the whole "
        "latent (saturates). tempered: the formula at the mean squared separation.",
    )
    last_step: Literal["smooth", "skip", "floor"] = setting(
        "smooth",
        "Objective",
        "The last step draws no noise, so its divergence needs a choice: smooth uses the noise "
        "level of the last timestep (as RLCM), skip leaves the step out, floor uses sigma_floor.",
    )
    sigma_floor: float = setting(
        0.1, "Objective", "Noise level of the last step when last_step is floor.", gt=0, le=1
    )
    ref_grad: Literal["exact", "detach", "none"] = setting(
        "exact",
        "Objective",
        "exact: true gradient, through the reference's dependence on the state too. detach: the "
        "divergence sends no gradient into the state. none: reference without gradient (biased).",
    )
    js_estimator: Literal["quadrature", "sampled"] = setting(
        "quadrature",
        "Objective",
        "Jensen-Shannon by 64-node quadrature, or sampled as the paper describes.",
    )
    js_samples: int = setting(
        8, "Objective", "Draws per latent element when js_estimator is sampled.", ge=1, le=256
    )
    backprop: Literal["full", "last_k", "random_k", "drtune", "refl", "draft_lv"] = setting(
        "full",
        "Objective",
        "How far the gradient flows: through all steps (paper), the last backprop_steps (DRaFT-K), "
        "a random number of last steps (AlignProp), DRTune's linear path, the last step of a chain "
        "that ends early (ReFL), or the last step again from re-noised pictures (DRaFT-LV).",
    )
    backprop_steps: int = setting(
        1,
        "Objective",
        "K of last_k, trained steps of drtune, re-noised pictures of draft_lv.",
        ge=1,
        le=16,
    )

    policy_loss: Literal["ppo", "rebel"] = setting(
        "ppo",
        "Policy gradient",
        "Of rlcm: PPO's clipped loss, or REBEL's regression on pairs of pictures.",
    )
    rebel_eta: float = setting(
        1.0,
        "Policy gradient",
        "Advantage that a log-ratio of 1 stands for, under rebel.",
        gt=0,
        le=1e6,
    )
    preference_beta: float = setting(
        0.1,
        "Policy gradient",
        "Temperature of d3po's preferences; no weight of a divergence (D3PO: 0.1).",
        gt=0,
        le=1e6,
    )
    preferences: str = setting(
        "",
        "Policy gradient",
        "Of d3po: a .csv or .jsonl table with the columns prompt, seed, winner, loser; the last "
        "two are 'base' or adapter folders. Empty: the reward decides.",
    )
    value_learning_rate: float = setting(
        1e-3, "Policy gradient", "Adam's learning rate of dpok's value.", gt=0, le=1
    )
    value_epochs: int = setting(
        5, "Policy gradient", "Steps of dpok's value in each update (DPOK: 5).", ge=1, le=1000
    )
    clip_range: float = setting(
        1e-4,
        "Policy gradient",
        "Clip range of the ratio of mean log-densities (RLCM and DPOK: 1e-4, D3PO: 0.1).",
        gt=0,
        le=1,
    )
    inner_epochs: int = setting(
        1, "Policy gradient", "Optimiser steps on the pictures of one update.", ge=1, le=64
    )
    advantage_clip: float = setting(
        10.0, "Policy gradient", "Largest absolute advantage (RLCM: 10).", gt=0, le=1e6
    )
    prompt_window: int = setting(
        32, "Policy gradient", "Newest rewards kept of each prompt (RLCM: 32).", ge=2, le=4096
    )
    prompt_min_count: int = setting(
        16,
        "Policy gradient",
        "Rewards from which on a prompt is compared with itself, not with the update's pictures "
        "(RLCM: 16).",
        ge=2,
        le=4096,
    )

    model: str = setting(
        "assets/tiny-lcm",
        "Generation",
        "A few-step model: a folder in diffusers' layout, or owner/name or owner/name@revision on "
        "the hub. Behind a plus, an LCM-LoRA or LCM U-Net for it.",
        min_length=1,
    )
    prompts: str = setting(
        "embedded",
        "Generation",
        "embedded; a file: .txt with one prompt per line, .csv, .tsv, .json or .jsonl; or a data "
        "set as hub:owner/name, with @revision and :pattern of its files if need be.",
        min_length=1,
    )
    prompt_column: str = setting(
        "",
        "Generation",
        "Column of the prompts in a table or data set; empty: the first of prompt, caption, text.",
    )
    num_prompts: int = setting(
        0,
        "Generation",
        "Prompts to train on, a sample by the seed; 0: all but the evaluation's (paper: 4,000).",
        ge=0,
        le=10_000_000,
    )
    num_inference_steps: int = setting(
        4,
        "Generation",
        "N, steps of the sampler: 1-8 or 16 (paper: 8); with ddim 1-50.",
        basic=True,
        ge=1,
        le=50,
    )
    sampler: Literal["lcm", "ddim"] = setting(
        "lcm",
        "Generation",
        "lcm: multistep consistency sampling. ddim: DDIM with eta 1 and classifier-free guidance, "
        "for an ordinary diffusion model such as the teacher of one.",
    )
    guidance_scale: float = setting(
        8.5,
        "Generation",
        "Guidance in diffusers' convention; the model is told w = guidance_scale - 1.",
        ge=1,
        le=20,
    )
    grid: Literal["current", "rlcm"] = setting(
        "current",
        "Generation",
        "Timestep grid of lcm: of today's diffusers, or the older one that RLCM used.",
    )

    num_steps: int = setting(
        80, "Optimiser", "Number of optimiser updates.", basic=True, ge=1, le=1_000_000
    )
    batch_size: int = setting(
        4, "Optimiser", "Pictures per backward pass (paper: 1).", ge=1, le=1024
    )
    gradient_accumulation: int = setting(
        1, "Optimiser", "Backward passes per update.", ge=1, le=1024
    )
    pictures_per_prompt: int = setting(
        1, "Optimiser", "Pictures drawn of a prompt before the next one's turn.", ge=1, le=1024
    )
    learning_rate: float = setting(
        6e-5, "Optimiser", "AdamW's learning rate (paper: 6e-5).", basic=True, gt=0, le=1
    )
    adam_beta1: float = setting(
        0.9, "Optimiser", "AdamW's first beta (SPO default, not the paper's).", ge=0, lt=1
    )
    adam_beta2: float = setting(
        0.999, "Optimiser", "AdamW's second beta (SPO default, not the paper's).", ge=0, lt=1
    )
    adam_epsilon: float = setting(
        1e-8, "Optimiser", "AdamW's epsilon (SPO default, not the paper's).", gt=0, le=1
    )
    weight_decay: float = setting(
        1e-4, "Optimiser", "AdamW's weight decay (SPO default, not the paper's).", ge=0, le=1
    )
    max_grad_norm: float = setting(
        1.0,
        "Optimiser",
        "Gradients with a larger norm are scaled down to it (SPO default, not the paper's).",
        gt=0,
        le=1e6,
    )
    seed: int = setting(0, "Optimiser", "Seed of prompts, noise and adapter.", ge=0, le=2**31 - 1)

    lora_rank: int = setting(16, "Adapter", "Rank of the LoRA adapter (paper: 16).", ge=1, le=256)
    lora_alpha: float = setting(
        32,
        "Adapter",
        "LoRA alpha; the update is scaled by alpha / rank (paper: 32).",
        gt=0,
        le=1024,
    )
    lora_targets: str = setting(
        "to_q,to_k,to_v,to_out.0",
        "Adapter",
        "U-Net modules that get an adapter, separated by commas (attention projections, as RLCM).",
        min_length=1,
    )

    num_eval_prompts: int = setting(
        32,
        "Evaluation",
        "Fixed prompts, never trained on, that every evaluation draws with fixed noise.",
        ge=2,
        le=4096,
    )
    eval_every: int = setting(
        20, "Evaluation", "Updates between evaluations; step 0 and the end always.", ge=1
    )
    num_samples: int = setting(
        8, "Evaluation", "Evaluation pictures that are saved as previews.", ge=1, le=64
    )
    track: str = setting(
        "auto",
        "Evaluation",
        "Rewards measured at every evaluation besides the trained one, separated by commas. auto: "
        "tiny-clip, colorfulness and saturation; with another model than the embedded one, or a "
        "published reward trained, also every published reward whose files are here.",
    )
    judge: str = setting(
        "tiny-judge",
        "Evaluation",
        "Held-out reward that nothing is trained against; empty for none.",
    )
    checkpoint_every: int = setting(20, "Evaluation", "Updates between checkpoints.", ge=1)
    stop_on_warning: bool = setting(
        False,
        "Evaluation",
        "Stop at the first warning (hacking, collapse, saturation) and keep the checkpoint that "
        "the judge liked best as the adapter.",
    )

    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "Machine", "Where to compute; auto takes CUDA where present."
    )
    precision: Literal["fp32", "bf16", "fp16"] = setting(
        "fp32", "Machine", "Number format of the network passes; the mathematics stays in fp32."
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = setting(
        "auto",
        "Machine",
        "Recompute network passes in backward to save memory; auto decides by free memory.",
    )

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


def check_text(name: str, text: str) -> str:
    """The text, if it can be stored and sent.

    Args:
        name: what it is, for the sentence.
        text: as the user gave it.

    Returns:
        The same text.

    Raises:
        ConfigError: it holds half a character, as a terminal of another encoding gives.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"The {name} holds {text[error.start]!a}, which is no character. Type it in UTF-8."
        ) from error
    return text


def find_folder(model: str) -> Path:
    """The folder of a model or reward.

    Args:
        model: path, absolute, or relative to the working directory or to the project.

    Returns:
        An existing folder.

    Raises:
        MissingFile: neither the working directory nor the project has it.
    """
    for folder in (Path(os.path.expanduser(model)), ROOT / model):
        if os.path.isdir(folder):  # unlike Path.is_dir, also for a text that can be no path
            return folder
    raise MissingFile(
        f"No folder '{model[:200]}' in {Path.cwd()} or {ROOT}. "
        "Give a folder in diffusers' layout, such as assets/tiny-lcm."
    )


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
