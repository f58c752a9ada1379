"""Settings of the optimizer, the adapter, the evaluations and the machine."""

from functools import partial
from typing import Literal

from pydantic import BaseModel

from rocm.config.setting import setting

optimizer = partial(setting, "Optimizer")
adapter = partial(setting, "Adapter")
evaluation = partial(setting, "Evaluation")
machine = partial(setting, "Machine")


class OptimizerSettings(BaseModel):
    """Batches and AdamW."""

    num_steps: int = optimizer(80, "Number of optimizer updates.", basic=True, ge=1, le=1_000_000)
    batch_size: int = optimizer(
        4, "Pictures per backward pass (paper: 1). A larger batch needs more memory.", ge=1, le=1024
    )
    gradient_accumulation: int = optimizer(
        1,
        "Backward passes per update. More passes take more time but no more memory.",
        ge=1,
        le=1024,
    )
    pictures_per_prompt: int = optimizer(
        1, "Pictures drawn of each prompt before the next prompt.", ge=1, le=1024
    )
    learning_rate: float = optimizer(
        6e-5,
        "AdamW's learning rate (paper: 6e-5). A larger rate learns faster and less stably.",
        basic=True,
        gt=0,
        le=1,
    )
    lr_end_factor: float = optimizer(
        1.0,
        "Share of the learning rate that is left at the end, after an even fall (RLCM: 2/3). A "
        "larger share learns more and ends less steadily; 1 is a constant rate.",
        ge=0,
        le=1,
    )
    adam_beta1: float = optimizer(
        0.9, "AdamW's first beta (SPO default, not the paper's).", ge=0, lt=1
    )
    adam_beta2: float = optimizer(
        0.999, "AdamW's second beta (SPO default, not the paper's).", ge=0, lt=1
    )
    adam_epsilon: float = optimizer(
        1e-8, "AdamW's epsilon (SPO default, not the paper's).", gt=0, le=1
    )
    weight_decay: float = optimizer(
        1e-4, "AdamW's weight decay (SPO default, not the paper's).", ge=0, le=1
    )
    max_grad_norm: float = optimizer(
        1.0,
        "Gradients with a larger norm are scaled down to it (SPO default, not the paper's).",
        gt=0,
        le=1e6,
    )
    seed: int = optimizer(0, "Seed of prompts, noise and adapter.", ge=0, le=2**31 - 1)


class AdapterSettings(BaseModel):
    """The LoRA adapter."""

    lora_rank: int = adapter(
        16, "Rank of the LoRA adapter (paper: 16). A larger rank has more parameters.", ge=1, le=256
    )
    lora_alpha: float = adapter(
        32, "LoRA alpha; the update is scaled by alpha / rank (paper: 32).", gt=0, le=1024
    )
    lora_targets: str = adapter(
        "to_q,to_k,to_v,to_out.0",
        "U-Net modules that get an adapter, separated by commas (attention projections, as RLCM).",
        min_length=1,
    )


class EvaluationSettings(BaseModel):
    """Evaluations, previews, checkpoints."""

    num_eval_prompts: int = evaluation(
        32,
        "Number of held-out prompts that every evaluation draws with fixed noise. More prompts are "
        "slower and more precise.",
        ge=2,
        le=4096,
    )
    eval_every: int = evaluation(
        20, "Updates between evaluations; step 0 and the end always count.", ge=1
    )
    num_samples: int = evaluation(
        8, "Number of evaluation pictures saved as previews.", ge=1, le=64
    )
    track: str = evaluation(
        "auto",
        "Rewards measured at every evaluation besides the trained reward, separated by commas. "
        "auto: tiny-preference, tiny-clip, colorfulness and saturation, and taste on the embedded "
        "model's own prompts; for another model, or if a published reward is trained, also every "
        "published reward on this disk.",
    )
    judge: str = evaluation(
        "tiny-judge",
        "Held-out reward that is never trained on; empty for none. With beta=auto and no kl_budget "
        "it steers, and audit is the held-out one.",
    )
    audit: str = evaluation(
        "auto",
        "A second held-out reward that neither beta nor the adapter's strength is chosen by; empty "
        "for none. auto: taste if the judge steers on the embedded model's prompts, else none.",
    )
    checkpoint_every: int = evaluation(20, "Updates between checkpoints.", ge=1)
    stop_on_warning: bool = evaluation(
        False,
        "Stop at the first warning (hacking, collapse, saturation) and keep the checkpoint with "
        "the judge's highest score as the adapter.",
    )


class MachineSettings(BaseModel):
    """Device, number format, memory, speed."""

    device: Literal["auto", "cpu", "cuda"] = machine(
        "auto", "Where to compute; auto uses CUDA if present."
    )
    precision: Literal["fp32", "bf16", "fp16"] = machine(
        "fp32", "Number format of the network passes; the mathematics stays in fp32."
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = machine(
        "auto", "Recompute network passes in backward to save memory; auto decides by free memory."
    )
    lean_layers: Literal["auto", "on", "off"] = machine(
        "auto",
        "Frozen layers keep only what backward needs; results are the same. auto: if memory is "
        "short.",
    )
    flat_lora: bool = machine(
        True,
        "Store the adapter as one vector, with fewer operations in its layers; files are the same.",
    )
    channels_last: Literal["auto", "on", "off"] = machine(
        "auto",
        "Store a pixel's channels side by side in memory; results are the same. auto: on a CPU, "
        "where it is faster.",
    )
    reference_batch: int = machine(
        32,
        "Maximum states in one call of the reference, at least those of one step. More states need "
        "more memory; 1: a call for each step.",
        ge=1,
        le=4096,
    )
    keep_text: bool = machine(
        True, "Encode each prompt once and keep up to 64 MB of text features."
    )
    decode_batch: int = machine(
        0,
        "Pictures that an update decodes and scores at a time. Fewer pictures need less memory; 0: "
        "all together.",
        ge=0,
        le=1024,
    )
    compile_blocks: bool = machine(
        False,
        "Compile the networks' repeated blocks; the first update then takes minutes. Not yet run "
        "on a GPU.",
    )
    cuda_graph: bool = machine(
        False,
        "Record ROCM's update on CUDA once and replay it, which saves kernel launches. Not yet run "
        "on a GPU.",
    )
    decoder: str = machine(
        "",
        "A folder with diffusers' AutoencoderTiny (TAESD) that decodes the trained pictures: "
        "cheaper updates, another gradient. Evaluations use the model's own decoder. Empty: the "
        "model's own.",
    )
