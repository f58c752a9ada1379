"""Settings that only policy gradients read."""

from functools import partial
from typing import Literal

from pydantic import BaseModel

from rocm.config.setting import setting

_setting = partial(setting, "Policy gradient")


class PolicyGradientSettings(BaseModel):
    """Policy gradients and preferences."""

    policy_loss: Literal["ppo", "rebel"] = _setting(
        "ppo", "Loss of rlcm: PPO's clipped loss, or REBEL's regression on pairs of pictures."
    )
    rebel_eta: float = _setting(
        1.0,
        "REBEL: advantage of a log-ratio of 1. A larger value moves the policy less.",
        gt=0,
        le=1e6,
    )
    preference_beta: float = _setting(
        0.1,
        "Temperature of d3po's preferences, not the weight of a divergence (D3PO: 0.1).",
        gt=0,
        le=1e6,
    )
    preferences: str = _setting(
        "",
        "d3po: a .csv or .jsonl table with the columns prompt, seed, winner, loser, of which the "
        "last two are names of adapters. study:ID: the votes of a closed study. Empty: the reward "
        "decides.",
    )
    value_learning_rate: float = _setting(
        1e-3, "Adam's learning rate of dpok's value network (DPOK: 1e-4).", gt=0, le=1
    )
    value_epochs: int = _setting(
        5,
        "Steps of dpok's value network in each update (DPOK: 1, on five minibatches).",
        ge=1,
        le=1000,
    )
    clip_range: float = _setting(
        1e-4,
        "Clip range of the ratio of mean log-densities (RLCM and DPOK: 1e-4, D3PO: 0.1). A larger "
        "range allows larger updates.",
        gt=0,
        le=1,
    )
    inner_epochs: int = _setting(
        1,
        "Optimizer steps on the pictures of one update. More steps reuse the pictures more.",
        ge=1,
        le=64,
    )
    advantage_clip: float = _setting(10.0, "Largest absolute advantage (RLCM: 10).", gt=0, le=1e6)
    prompt_window: int = _setting(
        32, "Number of newest rewards kept for each prompt (RLCM: 32).", ge=2, le=4096
    )
    prompt_min_count: int = _setting(
        16,
        "Minimum rewards before a prompt gets its own baseline; until then the update's pictures "
        "are the baseline (RLCM: 16).",
        ge=2,
        le=4096,
    )
