"""Every family of models at the smallest size, and how diffusers' documentation loads it."""

from pathlib import Path

import numpy
import torch
from diffusers import (
    DiffusionPipeline,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image

from rocm.generation.draw import Sampling, draw
from rocm.models.consistency import ConsistencyModel
from rocm.models.lora import add_adapter
from rocm.rewards.preprocess import to_pil
from tests.tiny_pipeline import (
    XL,
    random_diffusion,
    random_pipeline,
    random_unet,
    random_xl,
    save_lcm_lora,
)

PROMPT = "a red apple"
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
# Model, U-Net passes of a picture in 4 steps at guidance 2 and 1.
FAMILIES = {"lcm": (4, 4), "sd+lora": (8, 4), "xl+lora": (8, 4), "xl+unet": (4, 4), "turbo": (8, 4)}


def name_of(models: Path, family: str) -> str:
    """The setting `model` of a family."""
    base, _, part = family.partition("+")
    return str(models / base) + (f"+{models / base}-{part}" if part else "")


def stock(models: Path, family: str) -> DiffusionPipeline:
    """The family as diffusers' documentation loads it."""
    if family == "lcm":
        return LatentConsistencyModelPipeline.from_pretrained(models / "lcm")
    base, _, part = family.partition("+")
    kind = StableDiffusionXLPipeline if base == "xl" else StableDiffusionPipeline
    options = {}
    if part == "unet":
        options["unet"] = UNet2DConditionModel.from_pretrained(models / "xl-unet")
    pipeline = kind.from_pretrained(models / base, **options)
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    if part == "lora":
        pipeline.load_lora_weights(str(models / f"{base}-lora"), adapter_name="lcm")
    return pipeline


def stock_picture(
    pipeline: DiffusionPipeline, guidance_scale: float, prompt: str = PROMPT, seed: int = 7, num=4
) -> Image.Image:
    """A picture in `num` steps."""
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(seed)
    settings = {"num_inference_steps": num, "guidance_scale": guidance_scale}
    return pipeline(prompt, generator=generator, **settings).images[0]


def our_picture(model: ConsistencyModel, guidance_scale: float) -> Image.Image:
    sampling = Sampling(num_inference_steps=4, guidance_scale=guidance_scale)
    return to_pil(next(draw(model, [PROMPT], [7], sampling))[0])


def random_adapter(unet: UNet2DConditionModel, alpha: float = 8) -> list[torch.nn.Parameter]:
    """Add a trainable adapter of rank 4 that moves the policy away from the reference."""
    parameters = add_adapter(unet, 4, alpha, TARGETS, seed=0)
    generator = torch.Generator().manual_seed(0)
    for parameter in parameters:
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return parameters


def levels_apart(ours: Image.Image, theirs: Image.Image) -> int:
    """Largest difference of two PIL pictures, in 1/255."""
    return numpy.abs(numpy.asarray(ours).astype(int) - numpy.asarray(theirs).astype(int)).max()


def save_families(root: Path) -> Path:
    """Write the parts of every family into one folder."""
    random_pipeline(seed=0).save_pretrained(root / "lcm")
    diffusion, large = random_diffusion(seed=1), random_xl(seed=2)
    diffusion.save_pretrained(root / "sd")
    large.save_pretrained(root / "xl")
    save_lcm_lora(diffusion.unet, root / "sd-lora", seed=3)
    save_lcm_lora(large.unet, root / "xl-lora", seed=4)
    torch.manual_seed(5)
    random_unet(**XL).save_pretrained(root / "xl-unet")
    random_diffusion(seed=6, is_turbo=True).save_pretrained(root / "turbo")
    return root
