"""An adapter that changes pictures, made for the embedded model or the random one."""

import time

import pytest
import torch

from rocm.models.consistency import load_model
from rocm.models.lora import add_adapter, save_adapter


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def write_adapter(model, folder, seed=0, rank=4):
    folder.mkdir(parents=True, exist_ok=True)
    unet = load_model(str(model), "cpu").pipeline.unet
    generator = torch.Generator().manual_seed(seed)
    for parameter in add_adapter(unet, rank, 2 * rank, ["to_q", "to_k", "to_v"], seed=0):
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    save_adapter(unet, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_adapters(tmp_path_factory, tiny_pipeline_dir):
    """Two adapters of the random model."""
    home = tmp_path_factory.mktemp("adapters")
    return [write_adapter(tiny_pipeline_dir, home / name, seed) for seed, name in enumerate("ab")]
