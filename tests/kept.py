"""What a computation keeps for backward."""

from collections.abc import Callable

import torch


def kept_bytes(call: Callable[[], object]) -> int:
    """Bytes that `call` keeps for backward besides parameters."""
    storages = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        call()
    return sum(storage.nbytes() for storage in storages.values())
