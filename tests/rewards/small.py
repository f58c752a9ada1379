"""The published rewards at small size: their files with random weights, read by the real code."""

from functools import partial

import torch
from transformers import CLIPConfig

from rocm.rewards.blip import BlipSizes, load_blipscore, load_imagereward
from rocm.rewards.files import PUBLISHED
from rocm.rewards.hpsv2 import load_hpsv2
from rocm.rewards.published import LOADERS
from scripts.reference import checkpoints

OPEN_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 28, "layers": 2, "width": 32, "head_width": 8, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2},
}
VISION = {"image_size": 32, "vision_width": 32, "vision_layers": 2, "vision_heads": 4}
BLIP = BlipSizes(**VISION, text_width=48, text_layers=2, vocabulary=300, embedding=16)
SMALL_LOADERS = {
    **LOADERS,
    "hpsv2": partial(load_hpsv2, architecture=OPEN_CLIP),
    "hpsv2.1": partial(load_hpsv2, architecture=OPEN_CLIP),
    "imagereward": partial(load_imagereward, sizes=BLIP),
    "blipscore": partial(load_blipscore, sizes=BLIP),
}
CPU = torch.device("cpu")


def clip_config(act="quick_gelu"):
    """As the hub's older files: the text's end token is said to be 2, which it is not."""
    tower = {"hidden_size": 32, "intermediate_size": 64, "hidden_act": act}
    tower |= {"num_hidden_layers": 2, "num_attention_heads": 4}
    return CLIPConfig(
        text_config={**tower, "eos_token_id": 2, "bos_token_id": 0},
        vision_config={**tower, "image_size": 28, "patch_size": 14},
        projection_dim=24,
        initializer_factor=4.0,
    )


def write_all(folder):
    """Every published reward's files below a weights folder."""
    checkpoints.write_hpsv2(folder / "HPSv2" / "HPS_v2_compressed.pt", OPEN_CLIP, seed=0)
    checkpoints.write_hpsv2(folder / "HPSv2" / "HPS_v2.1_compressed.pt", OPEN_CLIP, seed=1)
    checkpoints.write_clip(folder / "PickScore_v1", clip_config("gelu"), seed=2)
    checkpoints.write_clip(folder / "clip-vit-large-patch14", clip_config(), seed=3)
    head = folder / "improved-aesthetic-predictor" / "sac+logos+ava1-l14-linearMSE.pth"
    checkpoints.write_head(head, 24, seed=4)
    checkpoints.write_imagereward(folder / "ImageReward" / "ImageReward.pt", BLIP, seed=5)
    checkpoints.write_blip(folder / "BLIP" / "model_large.pth", BLIP, seed=6)
    checkpoints.write_vocabulary(folder / "bert-base-uncased" / "vocab.txt", 298)


def load(name, dtype=torch.float32):
    """A reward from the files that the weights folder holds."""
    paths = [file.find() for file in PUBLISHED[name].files]
    return SMALL_LOADERS[name](name, paths, CPU, dtype)


def pictures(num=3, size=(28, 28), seed=0):
    """Smooth pictures within 0.2 to 0.8, so that bicubic weights overshoot no limit."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 0.2 + 0.6 * torch.rand(num, 3, 7, 7, generator=generator)
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear")
