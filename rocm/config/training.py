"""How a run learns, what it changes, and how it is watched."""

from pydantic import BaseModel

from rocm.config.setting import setting


class OptimiserSettings(BaseModel):
    """Batches and AdamW."""

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


class AdapterSettings(BaseModel):
    """The LoRA adapter."""

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


class EvaluationSettings(BaseModel):
    """Evaluations, previews, checkpoints."""

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
