"""Whether a training step fits into memory, judged by what autograd really keeps."""

from collections.abc import Callable

import psutil
import torch
from torch import Tensor

from rocm.config import RunConfig
from rocm.models.consistency import ConsistencyModel

SHARE_OF_FREE = 0.8


def free_bytes(device: torch.device) -> int:
    """Memory free on the device now, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def used_mb(device: torch.device) -> float:
    """Memory in use: the process's resident set, or on CUDA the peak of allocated memory, in MB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return psutil.Process().memory_info().rss / 1e6


def needs_checkpointing(model: ConsistencyModel, config: RunConfig) -> bool:
    """Whether a step without recomputation would take more than 80 % of the free memory.

    Args:
        model: with adapter, not checkpointed.
        config: of the run.

    Returns:
        True if the activations of all network passes (one is measured) and of the decoder do
        not fit.
    """
    context = model.encode([""])
    state = torch.zeros((1, *model.latent_shape), device=model.device, requires_grad=True)
    timesteps = torch.zeros(1, dtype=torch.long, device=model.device)
    per_call = _saved_bytes(lambda: model.policy(context, config.guidance_scale)(state, timesteps))
    per_decode = _saved_bytes(lambda: model.decode(state))
    has_reference_graph = config.ref_grad != "none" and config.beta > 0
    has_reference_graph = has_reference_graph and config.algorithm in ("rocm", "hybrid")
    calls = config.num_inference_steps * (2 if has_reference_graph else 1)
    needed = config.batch_size * (calls * per_call + per_decode)
    return needed > SHARE_OF_FREE * free_bytes(model.device)


def _saved_bytes(call: Callable[[], object]) -> int:
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        call()
    return sum(storages.values())
