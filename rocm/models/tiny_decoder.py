"""A tiny autoencoder (TAESD) in the place of a model's decoder: cheaper, not the same picture."""

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from rocm.errors import ConfigError, MissingFile
from rocm.storage.networks import load_network, read_object
from rocm.storage.paths import find_folder


def load_decoder(
    folder: str, device: torch.device, dtype: torch.dtype, latent_channels: int
) -> Callable[[Tensor], Tensor]:
    """Load the decoder of an `AutoencoderTiny` in diffusers' layout, frozen.

    It maps latents (B, C, h, w) to pictures (B, 3, H, W), float32, nominally in [0, 1]. Raises
    `MissingFile` without the folder or a file, `ConfigError` for another kind of autoencoder, a
    damaged file or other latents.
    """
    path = _folder(folder)
    if (
        read_object(path / "config.json", f"decoder={folder}").get("_class_name")
        != "AutoencoderTiny"
    ):
        raise ConfigError(
            f"decoder={folder} is not an AutoencoderTiny. Give TAESD, or leave decoder empty."
        )
    network = load_network(AutoencoderTiny, path, f"decoder={folder}", dtype)
    if network.config.latent_channels != latent_channels:
        raise ConfigError(
            f"decoder={folder} decodes latents of {network.config.latent_channels} channels, and "
            f"the model's have {latent_channels}. Take the tiny autoencoder of the same family."
        )
    network.to(device).requires_grad_(False).eval()

    def decode(latents: Tensor) -> Tensor:
        scaled = latents / network.config.scaling_factor
        pictures = network.decode(scaled.to(network.dtype), return_dict=False)[0]
        return pictures.float() / 2 + 0.5

    return decode


def _folder(folder: str) -> Path:
    try:
        return find_folder(folder)
    except MissingFile as error:
        raise MissingFile(
            f"decoder={folder[:200]} is not a folder on this disk. Give the folder of an "
            "AutoencoderTiny, such as madebyollin/taesd once downloaded, or leave decoder empty."
        ) from error
