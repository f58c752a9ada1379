"""Counts what a computation does: operations, FLOPs, synchronizations, memory alive and saved.

Counted at torch's dispatcher, below autograd, on any device. Views and bare allocations are no
operations. On the meta device nothing is computed: a number read out is 1, and a tensor copied to
the CPU is 0 everywhere.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
NO_KERNEL = {aten.empty, aten.empty_strided, aten.empty_like, aten.new_empty, aten._unsafe_view}


@dataclass(frozen=True)
class Counts:
    """Counts of one computation."""

    operations: int  # kernels, without views and bare allocations
    flops: int  # of matrix products, convolutions and attention, 2 for each multiply and add
    synchronizations: int  # values read out, for which a GPU must be waited for
    peak_bytes: int  # most bytes alive at once, of tensors made inside


class Counter(TorchDispatchMode):
    """Counts everything inside the context, since the start or the last `reset`.

    Memory taken inside counts as alive until it is freed, after a reset too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._alive: dict[int, int] = {}
        self._bytes = 0
        self.reset()

    def reset(self) -> None:
        """Count from 0 again."""
        self._operations = self._flops = self._synchronizations = 0
        self._peak = self._bytes

    @property
    def counts(self) -> Counts:
        """The counts so far."""
        return Counts(self._operations, self._flops, self._synchronizations, self._peak)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry out one operation and count it."""
        kwargs = kwargs or {}
        if _is_read_out(func, args, kwargs):
            self._synchronizations += 1
            if args[0].is_meta:
                return _read_out(func, args[0], kwargs)
        result = func(*args, **kwargs)
        packet = func._overloadpacket
        self._operations += not (func.is_view or packet in NO_KERNEL)
        if packet in flop_registry:
            self._flops += flop_registry[packet](*args, **kwargs, out_val=result)
        if not (func.is_view or func._schema.is_mutable):  # these give what was there before
            for value in tree_leaves(result):
                if isinstance(value, Tensor):
                    self._note(value)
        return result

    def has_made(self, tensor: Tensor) -> bool:
        """Whether the tensor's memory was taken inside and is alive."""
        return tensor.untyped_storage()._cdata in self._alive

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        self._alive[key] = storage.nbytes()
        self._bytes += self._alive[key]
        self._peak = max(self._peak, self._bytes)
        weakref.finalize(storage, self._release, key).atexit = False

    def _release(self, key: int) -> None:
        self._bytes -= self._alive.pop(key)


def saved_bytes(call: Callable[[], object]) -> int:
    """Bytes that a computation makes and autograd keeps for its backward pass.

    Tensors that existed before are left out, also frozen weights, which autograd keeps transposed.
    The sum is over distinct storages.
    """
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address comes twice
    counter = Counter()

    def note(tensor: Tensor) -> Tensor:
        if counter.has_made(tensor):
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage
        return tensor

    with counter, torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        call()
    return sum(storage.nbytes() for storage in kept.values())


def _is_read_out(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether values leave a device that is not the CPU."""
    if func is aten._local_scalar_dense.default:
        return bool(args[0].device.type != "cpu")
    target = kwargs.get("device")
    if func is not aten._to_copy.default or target is None:
        return False
    return bool(torch.device(target).type == "cpu" and args[0].device.type != "cpu")


def _read_out(func: Any, tensor: Tensor, kwargs: dict[str, Any]) -> Any:
    if func is aten._local_scalar_dense.default:
        return torch.ones((), dtype=tensor.dtype).item()
    return torch.zeros(tensor.shape, dtype=kwargs.get("dtype") or tensor.dtype)
