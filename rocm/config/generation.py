"""Settings of the model, the prompts and the sampler."""

from functools import partial
from typing import Literal

from pydantic import BaseModel

from rocm.config.setting import setting

_setting = partial(setting, "Generation")

# Names of rocm.models.load.LOADERS, for readers without torch.
SAMPLERS = ["lcm", "ddim"]


class GenerationSettings(BaseModel):
    """Model, prompts and sampler."""

    model: str = _setting(
        "assets/tiny-lcm",
        "A few-step model: a folder in diffusers' layout, or owner/name or owner/name@revision on "
        "the hub. Add an LCM-LoRA or LCM U-Net with a plus: base+lora.",
        min_length=1,
    )
    prompts: str = _setting(
        "embedded",
        "embedded; a .txt file with one prompt per line; a .csv, .tsv, .json or .jsonl file; or a "
        "data set as hub:owner/name, optionally with @revision and :pattern of its files.",
        min_length=1,
    )
    prompt_column: str = _setting(
        "",
        "Column of the prompts in a table or data set. Empty: the first of prompt, caption, text.",
    )
    num_prompts: int = _setting(
        0,
        "Number of prompts to train on, sampled by the seed. 0: all but the evaluation prompts "
        "(paper: 4,000).",
        ge=0,
        le=10_000_000,
    )
    num_inference_steps: int = _setting(
        4,
        "Sampler steps N: 1-8 or 16 (paper: 8), with ddim 1-50. More steps take more time and "
        "memory.",
        basic=True,
        ge=1,
        le=50,
    )
    sampler: str = _setting(
        "lcm",
        "lcm: multistep consistency sampling. ddim: DDIM with eta 1 and classifier-free guidance, "
        "for an ordinary diffusion model.",
    )
    guidance_scale: float = _setting(
        8.5,
        "Guidance in diffusers' convention. A larger scale follows the prompt more closely; the "
        "model receives w = guidance_scale - 1.",
        ge=1,
        le=20,
    )
    grid: Literal["current", "rlcm"] = _setting(
        "current", "Timestep grid of lcm: current diffusers, or the older grid that RLCM used."
    )
