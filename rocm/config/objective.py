"""What a run optimises: reward, divergence, and the way of the gradient."""

from typing import Literal

from pydantic import BaseModel

from rocm.config.setting import setting


class ObjectiveSettings(BaseModel):
    """The loss."""

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
