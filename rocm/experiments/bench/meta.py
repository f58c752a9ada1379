"""The meta device made to choose what a CUDA device chooses: attention kernel and autocast.

A meta tensor has a shape and no values, so a step of any size can be followed without a GPU. Torch
knows no autocast there and takes attention apart; inside `like_cuda` both are as on CUDA. What
stays: gradients are clipped tensor by tensor, two operations for each, where CUDA takes a list.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, Self
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

attention = F.scaled_dot_product_attention
# Those of CUDA's lists that U-Nets, autoencoders and towers call.
LOWERED = {F.linear, F.conv2d, torch.conv2d, torch.matmul, torch.bmm, torch.mm, torch.addmm}
LOWERED |= {torch.baddbmm, Tensor.matmul, Tensor.__matmul__, Tensor.bmm, Tensor.mm, attention}
RAISED = {F.group_norm, torch.group_norm, F.layer_norm, torch.layer_norm, torch.softmax, F.softmax}


def flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *others: Any,
    **options: Any,
) -> Tensor:
    """`torch.nn.functional.scaled_dot_product_attention` as one flash kernel, if CUDA has one.

    That is in half precision without a mask; `is_causal` and `scale` reach the kernel.
    """
    options |= dict(zip(("dropout_p", "is_causal"), others, strict=False))
    if attn_mask is not None or query.dtype not in (torch.bfloat16, torch.float16):
        return attention(query, key, value, attn_mask, **options)
    kept = {name: options[name] for name in ("is_causal", "scale") if name in options}
    attended: Tensor = torch.ops.aten._scaled_dot_product_flash_attention(
        query, key, value, **kept
    )[0]
    return attended


class Autocast(TorchFunctionMode):
    """Replaces `torch.autocast` on the meta device, with CUDA's lists and cache."""

    entered: ClassVar[list["Autocast"]] = []

    def __init__(
        self, device_type: str, dtype: torch.dtype = torch.bfloat16, enabled: bool = True
    ) -> None:
        """As `torch.autocast`; `device_type` is not used."""
        super().__init__()
        self.dtype, self.enabled = dtype, enabled
        self._weights: dict[int, Tensor] = {}

    def __enter__(self) -> Self:
        self._weights = {}
        self.entered.append(self)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.entered.pop()
        super().__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry out one function with its arguments in the format that CUDA would choose."""
        kwargs = kwargs or {}
        if self.enabled and func in LOWERED:
            args = tuple(self._lowered(value) for value in args)
            kwargs = {name: self._lowered(value) for name, value in kwargs.items()}
        if self.enabled and func in RAISED:
            args = tuple(_raised(value) for value in args)
            kwargs = {name: _raised(value) for name, value in kwargs.items()}
        return flash_attention(*args, **kwargs) if func is attention else func(*args, **kwargs)

    def _lowered(self, value: Any) -> Any:
        if not _is_floating(value) or value.dtype == self.dtype:
            return value
        if not (value.is_leaf and value.requires_grad and torch.is_grad_enabled()):
            return value.to(self.dtype)
        if id(value) not in self._weights:
            self._weights[id(value)] = value.to(self.dtype)
        return self._weights[id(value)]


def _raised(value: Any) -> Any:
    return value.float() if _is_floating(value) else value


def _is_floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


@contextmanager
def like_cuda() -> Iterator[None]:
    """Inside, networks on the meta device use the kernels and formats they use on CUDA.

    Torch's functions are replaced, not hooked: recomputation in backward runs outside of any hook.
    """
    is_enabled, dtype_of = torch.is_autocast_enabled, torch.get_autocast_dtype

    def is_autocast_enabled(device: str | None = None) -> bool:
        if device != "meta":
            return is_enabled(device) if device else is_enabled()
        return bool(Autocast.entered) and Autocast.entered[-1].enabled

    def get_autocast_dtype(device: str) -> torch.dtype:
        return Autocast.entered[-1].dtype if device == "meta" else dtype_of(device)

    with ExitStack() as stack:
        stack.enter_context(patch.object(torch, "autocast", Autocast))
        stack.enter_context(patch.object(torch, "is_autocast_enabled", is_autocast_enabled))
        stack.enter_context(patch.object(torch, "get_autocast_dtype", get_autocast_dtype))
        stack.enter_context(patch.object(F, "scaled_dot_product_attention", flash_attention))
        yield
