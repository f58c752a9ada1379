"""How pictures are drawn, and of which prompts."""

from typing import Literal

from pydantic import BaseModel

from rocm.config.setting import setting


class GenerationSettings(BaseModel):
    """Model, prompts and sampler."""

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
