"""Settings that only policy gradients read."""

from typing import Literal

from pydantic import BaseModel

from rocm.config.setting import setting


class PolicyGradientSettings(BaseModel):
    """Policy gradients and preferences."""

    policy_loss: Literal["ppo", "rebel"] = setting(
        "ppo",
        "Policy gradient",
        "Loss of rlcm: PPO's clipped loss, or REBEL's regression on pairs of pictures.",
    )
    rebel_eta: float = setting(
        1.0,
        "Policy gradient",
        "REBEL: advantage of a log-ratio of 1. A larger value moves the policy less.",
        gt=0,
        le=1e6,
    )
    preference_beta: float = setting(
        0.1,
        "Policy gradient",
        "Temperature of d3po's preferences, not the weight of a divergence (D3PO: 0.1).",
        gt=0,
        le=1e6,
    )
    preferences: str = setting(
        "",
        "Policy gradient",
        "d3po: a .csv or .jsonl table with the columns prompt, seed, winner, loser, of which the "
        "last two are 'base' or adapter folders. study:ID: the votes of a closed study. Empty: the "
        "reward decides.",
    )
    value_learning_rate: float = setting(
        1e-3, "Policy gradient", "Adam's learning rate of dpok's value network.", gt=0, le=1
    )
    value_epochs: int = setting(
        5,
        "Policy gradient",
        "Steps of dpok's value network in each update (DPOK: 5).",
        ge=1,
        le=1000,
    )
    clip_range: float = setting(
        1e-4,
        "Policy gradient",
        "Clip range of the ratio of mean log-densities (RLCM and DPOK: 1e-4, D3PO: 0.1). A larger "
        "range allows larger updates.",
        gt=0,
        le=1,
    )
    inner_epochs: int = setting(
        1,
        "Policy gradient",
        "Optimizer steps on the pictures of one update. More steps reuse the pictures more.",
        ge=1,
        le=64,
    )
    advantage_clip: float = setting(
        10.0, "Policy gradient", "Largest absolute advantage (RLCM: 10).", gt=0, le=1e6
    )
    prompt_window: int = setting(
        32,
        "Policy gradient",
        "Number of newest rewards kept for each prompt (RLCM: 32).",
        ge=2,
        le=4096,
    )
    prompt_min_count: int = setting(
        16,
        "Policy gradient",
        "Minimum rewards before a prompt gets its own baseline; until then the update's pictures "
        "are the baseline (RLCM: 16).",
        ge=2,
        le=4096,
    )
