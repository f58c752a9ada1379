"""The memory of a device, and errors that say that it is full."""

import psutil
import torch


def free_bytes(device: torch.device) -> int:
    """Memory free on the device now, in bytes; on CUDA with what torch keeps for later tensors."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return psutil.virtual_memory().available


def total_bytes(device: torch.device) -> int:
    """Memory of the device, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return psutil.virtual_memory().total


def used_mb(device: torch.device) -> float:
    """Memory in use: the process's resident set, or on CUDA the peak of allocated memory, in MB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return psutil.Process().memory_info().rss / 1e6


def is_memory_full(error: RuntimeError) -> bool:
    """Whether torch could not allocate: on a CPU that is an ordinary error with these words."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
