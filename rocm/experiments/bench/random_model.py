"""Networks of a given size with random weights: the cost of a step does not depend on the weights.

`SD15` is Stable Diffusion 1.5's U-Net with a guidance embedding and its autoencoder, and the ViT-H
of HPSv2 and PickScore as the reward, as LCM Dreamshaper v7 is trained; `SMALL` has the same parts
and costs next to nothing. The text encoder is left out: its features are given.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import open_clip
import torch
from diffusers import (
    AutoencoderKL,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    UNet2DConditionModel,
)
from torch import Tensor

from rocm.config import RunConfig
from rocm.models.consistency import ConsistencyModel
from rocm.models.pipelines import DTYPES, NO_CHECKER, freeze
from rocm.prompts.split import prompts_of
from rocm.rewards.base import Reward
from rocm.rewards.hpsv2 import ARCHITECTURE, OpenClipEncoder
from rocm.rewards.tower import CosineReward, unit
from rocm.rewards.tower import freeze as freeze_tower
from rocm.training.setup import Setup, prepare

NUM_TOKENS = 77
GIVEN: dict[str, Any] = {"reward": "hpsv2.1", "judge": "", "preferences": ""}
GIVEN |= {"prompts": "embedded", "num_prompts": 0, "num_eval_prompts": 2}
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@dataclass(frozen=True)
class Size:
    """Sizes of the networks: diffusers' configurations, and open_clip's of the reward."""

    name: str
    unet: dict[str, Any]  # settings of `UNet2DConditionModel` besides its defaults
    vae: dict[str, Any]  # of `AutoencoderKL`
    tower: dict[str, Any] = field(default_factory=lambda: open_clip.get_model_config(ARCHITECTURE))


def _vae(channels: tuple[int, ...], layers: int, groups: int) -> dict[str, Any]:
    num = len(channels)
    return {
        "latent_channels": 4,
        "layers_per_block": layers,
        "block_out_channels": channels,
        "norm_num_groups": groups,
        "down_block_types": ("DownEncoderBlock2D",) * num,
        "up_block_types": ("UpDecoderBlock2D",) * num,
    }


SD15 = Size(
    "real",
    unet={"sample_size": 64, "cross_attention_dim": 768, "time_cond_proj_dim": 256},
    vae=_vae((128, 256, 512, 512), layers=2, groups=32),
)
VISION = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
SMALL = Size(
    "small",
    unet={
        "sample_size": 8,
        "cross_attention_dim": 32,
        "time_cond_proj_dim": 32,
        "layers_per_block": 1,
        "block_out_channels": (16,),
        "norm_num_groups": 8,
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",),
        "attention_head_dim": 2,
    },
    vae=_vae((16,), layers=1, groups=8),
    tower={
        "embed_dim": 16,
        "vision_cfg": VISION,
        "text_cfg": {"context_length": 77, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
    },
)
SIZES = {size.name: size for size in (SD15, SMALL)}


class RandomModel(ConsistencyModel):
    """A model without a text encoder: every prompt has the same random features."""

    def _features(self, prompts: list[str], is_empty: bool) -> Tensor:
        width = self.pipeline.unet.config.cross_attention_dim
        generator = torch.Generator().manual_seed(0)
        features = torch.randn((1, NUM_TOKENS, width), generator=generator)
        return features.expand(len(prompts), -1, -1).to(self.device, self.dtype)


class RandomEncoder(OpenClipEncoder):
    """A reward's encoder with given text features, as in training, where they are cached."""

    def embed_texts(self, prompts: Sequence[str]) -> Tensor:
        """The same unit embedding (B, D) for every prompt."""
        width = self.model.text_projection.shape[1]
        features = torch.randn((1, width), generator=torch.Generator().manual_seed(0))
        return unit(features).expand(len(prompts), -1).to(self.model.logit_scale.device)


def random_setup(config: RunConfig, size: Size, device: torch.device) -> Setup:
    """A run's parts with random weights, on `meta` too; names in the settings are ignored."""
    config = config.model_copy(update=GIVEN)
    model = random_model(config, size, device)
    rewards: dict[str, Reward] = {config.reward: random_reward(size, device, model.dtype)}
    return prepare(config, model, rewards, prompts_of(config))


def random_reward(size: Size, device: torch.device, dtype: torch.dtype) -> CosineReward:
    """HPSv2 with random weights, frozen."""
    with _from_seed(device):
        towers = open_clip.CLIP(**size.tower)
    return CosineReward("hpsv2.1", RandomEncoder(freeze_tower(towers, device, dtype)))


def random_model(config: RunConfig, size: Size, device: torch.device) -> RandomModel:
    """A few-step model with random weights."""
    with _from_seed(device):
        unet, vae = UNet2DConditionModel(**size.unet), AutoencoderKL(**size.vae)
    scheduler = LCMScheduler(**BETAS, original_inference_steps=50, clip_sample=False)
    absent = dict.fromkeys(("text_encoder", "tokenizer", "feature_extractor"))
    pipeline = LatentConsistencyModelPipeline(
        vae=vae, unet=unet, scheduler=scheduler, **absent, **NO_CHECKER
    )
    dtype = DTYPES[config.precision]
    for network in (unet, vae):
        torch.nn.Module.to(network, dtype)  # diffusers' own warns of layers that these have not
    freeze(pipeline, device, dtype)
    return RandomModel(pipeline, device, dtype)


@contextmanager
def _from_seed(device: torch.device) -> Iterator[None]:
    """Networks made inside are on the device, with the same random weights every time."""
    with torch.random.fork_rng(), device:
        torch.manual_seed(0)
        yield
