"""A tiny autoencoder (TAESD) in the place of a model's decoder: cheaper, not the same picture."""

from collections.abc import Callable
from functools import partial

import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from rocm.errors import ConfigError, MissingFile
from rocm.models.consistency import decoded
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
    setting = f"decoder={folder[:200]}"
    try:
        path = find_folder(folder)
    except MissingFile as error:
        raise MissingFile(
            f"{setting} is not a folder on this disk. Give the folder of an "
            "AutoencoderTiny, such as madebyollin/taesd once downloaded, or leave decoder empty."
        ) from error
    if read_object(path / "config.json", setting).get("_class_name") != "AutoencoderTiny":
        raise ConfigError(
            f"{setting} is not an AutoencoderTiny. Give TAESD, or leave decoder empty."
        )
    network = load_network(AutoencoderTiny, path, setting, dtype)
    if network.config.latent_channels != latent_channels:
        raise ConfigError(
            f"{setting} decodes latents of {network.config.latent_channels} channels, and "
            f"the model's have {latent_channels}. Take the tiny autoencoder of the same family."
        )
    return partial(decoded, network.to(device).requires_grad_(False).eval())
