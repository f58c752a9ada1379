"""Settings of the loss: reward, divergence, the path of the gradient; of policy gradients."""

from functools import partial
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from rocm.config.setting import setting

_setting = partial(setting, "Objective")
_policy = partial(setting, "Policy gradient")

# Names of rocm.algorithms.divergences.DIVERGENCES, for readers without torch.
DIVERGENCES = ["kl", "js", "hellinger", "fisher", "tv", "chi_square"]
AUTO = "auto"


class ObjectiveSettings(BaseModel):
    """The loss."""

    description: str = _setting(
        "", "One sentence: what this preset shows, and the hardware it last ran on."
    )
    algorithm: str = _setting(
        "rocm",
        "rocm: first order, back-propagates through the generation (the paper). Policy gradients, "
        "which use only the reward's value: rlcm (PPO, or REBEL with policy_loss), d3po "
        "(preferences within pairs), dpok (learned value). hybrid: rocm, with a policy gradient "
        "for rewards without a gradient.",
        basic=True,
    )
    reward: str = _setting(
        "tiny-preference",
        "The reward to maximize, or a mixture such as tiny-clip+0.3*colorfulness. A function "
        "of your own: path/to/file.py:name.",
        basic=True,
        min_length=1,
    )
    standardize: bool = _setting(
        True,
        "Subtract the base model's mean from each reward and divide by its standard deviation, so "
        "that one beta fits every reward. Off: raw values.",
    )
    beta: Annotated[float, Field(ge=0, le=10_000)] | Literal["auto"] = _setting(
        0.1,
        "Weight of the divergence from the base model. A larger beta keeps pictures closer to the "
        "base model; 0 disables the divergence and invites reward hacking. Its scale depends on "
        "reduction. auto: the same price for every nat, or whatever holds kl_budget.",
        basic=True,
    )
    kl_budget: float = _setting(
        0,
        "If beta is auto: joint KL from the base model in nats to hold, whatever divergence "
        "trains. 0: each nat has the same price, higher once the judge has fallen, and at the end "
        "the judge chooses the adapter's strength.",
        ge=0,
        le=1e6,
    )
    divergence: str = _setting(
        "kl",
        "Distance between policy and reference at every step: Kullback-Leibler, Jensen-Shannon, "
        "squared Hellinger, Fisher, total variation, chi-square (steepest: outliers cost most).",
        basic=True,
    )
    reduction: Literal["mean", "joint", "tempered"] = _setting(
        "mean",
        "mean: average of the divergence over latent elements. joint: divergence of the whole "
        "latent (saturates). tempered: the formula at the mean squared separation.",
    )
    last_step: Literal["smooth", "skip", "floor"] = _setting(
        "smooth",
        "Noise level of the last step's divergence, because that step draws no noise. smooth: the "
        "level of the last timestep (as RLCM). skip: leave the step out. floor: sigma_floor.",
    )
    sigma_floor: float = _setting(
        0.1, "Noise level of the last step if last_step is floor.", gt=0, le=1
    )
    ref_grad: Literal["exact", "detach", "none"] = _setting(
        "exact",
        "exact: the true gradient, also through the reference's dependence on the state. detach: "
        "the divergence sends no gradient into the state. none: the reference has no gradient "
        "(biased).",
    )
    js_estimator: Literal["quadrature", "sampled"] = _setting(
        "quadrature", "Jensen-Shannon by 64-node quadrature, or sampled as the paper describes."
    )
    js_samples: int = _setting(
        8,
        "Draws per latent element if js_estimator is sampled. More draws are slower and less "
        "noisy.",
        ge=1,
        le=256,
    )
    backprop: Literal["full", "last_k", "random_k", "drtune", "refl", "draft_lv"] = _setting(
        "full",
        "How far the gradient flows: through all steps (paper), the last backprop_steps (DRaFT-K), "
        "a random number of last steps (AlignProp), DRTune's linear path, the last step of a chain "
        "that ends early (ReFL), or the last step again from re-noised pictures (DRaFT-LV).",
    )
    backprop_steps: int = _setting(
        1,
        "K of last_k, trained steps of drtune, re-noised pictures of draft_lv. More steps take "
        "more time and memory.",
        ge=1,
        le=16,
    )


class PolicyGradientSettings(BaseModel):
    """Policy gradients and preferences."""

    policy_loss: Literal["ppo", "rebel"] = _policy(
        "ppo", "Loss of rlcm: PPO's clipped loss, or REBEL's regression on pairs of pictures."
    )
    rebel_eta: float = _policy(
        1.0,
        "REBEL: advantage of a log-ratio of 1. A larger value moves the policy less.",
        gt=0,
        le=1e6,
    )
    preference_beta: float = _policy(
        0.1,
        "Temperature of d3po's preferences, not the weight of a divergence (D3PO: 0.1).",
        gt=0,
        le=1e6,
    )
    preferences: str = _policy(
        "",
        "d3po: a .csv or .jsonl table with the columns prompt, seed, winner, loser, of which the "
        "last two are names of adapters. study:ID: the votes of a closed study. Empty: the reward "
        "decides.",
    )
    value_learning_rate: float = _policy(
        1e-3, "Adam's learning rate of dpok's value network (DPOK: 1e-4).", gt=0, le=1
    )
    value_epochs: int = _policy(
        5,
        "Steps of dpok's value network in each update (DPOK: 1, on five minibatches).",
        ge=1,
        le=1000,
    )
    clip_range: float = _policy(
        1e-4,
        "Clip range of the ratio of mean log-densities (RLCM and DPOK: 1e-4, D3PO: 0.1). A larger "
        "range allows larger updates.",
        gt=0,
        le=1,
    )
    inner_epochs: int = _policy(
        1,
        "Optimizer steps on the pictures of one update. More steps reuse the pictures more.",
        ge=1,
        le=64,
    )
    advantage_clip: float = _policy(10.0, "Largest absolute advantage (RLCM: 10).", gt=0, le=1e6)
    prompt_window: int = _policy(
        32, "Number of newest rewards kept for each prompt (RLCM: 32).", ge=2, le=4096
    )
    prompt_min_count: int = _policy(
        16,
        "Minimum rewards before a prompt gets its own baseline; until then the update's pictures "
        "are the baseline (RLCM: 16).",
        ge=2,
        le=4096,
    )
