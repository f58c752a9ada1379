r"""The adapter as one vector, and its layers with fewer operations.

.. math:: y = W x + b + s B A x, \qquad s = \alpha / r

The weights of all layers are views of one vector, their gradients of another, so that the optimizer
and the gradient's norm take one tensor instead of hundreds. A pass casts that vector once to its
own number format and lends the layers views of the cast; their gradients come back as one tensor
too, and add up in float32. Names, files and figures are PEFT's.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners import lora
from torch import Tensor, nn
from torch.autograd.function import Function, once_differentiable
from torch.nn import functional as F

from rocm.models.lean_layers import pass_dtype
from rocm.models.lora import NAME


class FlatAdamW(torch.optim.AdamW):
    """AdamW on one vector; its `state_dict` is that of AdamW on the parameters themselves."""

    found_inf: Tensor | None
    """0-d, read by torch's fused step: 1 leaves the step out."""

    def __init__(self, parameters: Sequence[nn.Parameter], **options: Any):
        """Move the parameters, float32 on one device, into one vector; options as of AdamW."""
        self.parameters = list(parameters)
        self._sizes = [parameter.numel() for parameter in self.parameters]
        vector = torch.cat([parameter.detach().flatten() for parameter in self.parameters])
        self.vector = nn.Parameter(vector)
        self.vector.grad = torch.zeros_like(vector)
        for parameter, part in zip(self.parameters, self._parts(vector), strict=True):
            parameter.data = part
        super().__init__([self.vector], **options)
        self._gradients = self._parts(self.vector.grad)
        self.collect()

    def collect(self) -> None:
        """Make every parameter's gradient a view again, with the value that it was given."""
        for parameter, view in zip(self.parameters, self._gradients, strict=True):
            if parameter.grad is None:
                view.zero_()
            elif parameter.grad is not view:
                view.copy_(parameter.grad)
            parameter.grad = view

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradient to zero; it is kept, whatever `set_to_none` says."""
        assert self.vector.grad is not None, "allocated when the optimizer was made"
        self.vector.grad.zero_()
        for parameter, view in zip(self.parameters, self._gradients, strict=True):
            parameter.grad = view

    def step(self, closure: Any = None) -> Any:
        """One step of AdamW on the vector."""
        self.collect()
        return super().step(closure)

    def cast(self, cast: Tensor) -> list[Tensor]:
        """Views of `cast` (P,), which takes the values; gradients in them reach the vector."""
        return self._parts(_Cast.apply(self.vector, cast))

    def state_dict(self) -> dict[str, Any]:
        """As AdamW's on the parameters themselves."""
        known = super().state_dict()
        (group,) = known["param_groups"]
        states = [
            {name: self._part(value, number) for name, value in known["state"][0].items()}
            for number in range(len(self.parameters))
            if known["state"]
        ]
        group = {**group, "params": list(range(len(self.parameters)))}
        return {"state": dict(enumerate(states)), "param_groups": [group]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the `state_dict` of this class or of AdamW on the parameters."""
        states = [state_dict["state"][number] for number in sorted(state_dict["state"])]
        joined = {}
        for name in states[0] if states else ():
            values = [state[name] for state in states]
            is_count = values[0].ndim == 0
            joined[name] = values[0] if is_count else torch.cat([part.flatten() for part in values])
        (group,) = state_dict["param_groups"]
        state = {0: joined} if joined else {}
        super().load_state_dict({"state": state, "param_groups": [{**group, "params": [0]}]})

    def _part(self, value: Tensor, number: int) -> Tensor:
        # A copy: of a view, a file would hold the whole vector.
        return (value if value.ndim == 0 else self._parts(value)[number]).clone()

    def _parts(self, vector: Tensor) -> list[Tensor]:
        """Views of a vector in the shapes of the parameters."""
        return [
            part.view(parameter.shape)
            for part, parameter in zip(vector.split(self._sizes), self.parameters, strict=True)
        ]


class _Cast(Function):
    """A vector in the number format and the memory of another."""

    @staticmethod
    def forward(ctx: Any, vector: Tensor, cast: Tensor) -> Tensor:
        # Written past autograd, which would take it for a change of what earlier passes have kept:
        # within an update the values are the same.
        cast.data.copy_(vector)
        return cast.data

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.float(), None


class _Adapted(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, base: tuple[Any, ...], down: Tensor, up: Tensor) -> Tensor:
        weight, bias, scale = base
        rows = x.reshape(-1, x.shape[-1])
        inner = rows @ down.T
        result = F.linear(rows, weight, bias).addmm_(inner, up.T, alpha=scale)
        ctx.save_for_backward(rows, inner, weight, down, up)
        ctx.scale, ctx.shape = scale, x.shape
        return result.view(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, inner, weight, down, up = ctx.saved_tensors
        gradient = gradient.reshape(-1, len(weight))
        outer = gradient @ up
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (gradient @ weight).addmm_(outer, down, alpha=ctx.scale).view(ctx.shape)
        # With beta 0 the first tensor gives its shape only: scaled products in one operation each.
        of_down = torch.addmm(down, outer.T, rows, beta=0, alpha=ctx.scale)
        of_up = torch.addmm(up, gradient.T, inner, beta=0, alpha=ctx.scale)
        return of_x, None, of_down, of_up


class LeanLora(lora.Linear):
    """PEFT's adapted layer; with one adapter on, product and correction are one operation.

    `lent` are A and B in a pass's number format; None for the layer's own.
    """

    lent: tuple[Tensor, Tensor] | None = None

    def enable_adapters(self, enabled: bool) -> None:
        """Switch the correction on or off; unlike PEFT's, its weights stay trainable."""
        self._disable_adapters = not enabled

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        if self.disable_adapters and not (self.merged or args or kwargs):
            return self.base_layer(x)
        active = [name for name in self.active_adapters if name in self.lora_A]
        if self.disable_adapters or self.merged or len(active) != 1 or args or kwargs:
            return super().forward(x, *args, **kwargs)
        (name,), base = active, self.get_base_layer()
        down, up = self.lora_A[name].weight, self.lora_B[name].weight
        if self.lent and name == NAME:
            down, up = self.lent
        dtype = pass_dtype(x, base.weight.dtype)
        bias = None if base.bias is None else base.bias.to(dtype)
        frozen = (base.weight.to(dtype), bias, self.scaling[name])
        return _Adapted.apply(x.to(dtype), frozen, down.to(dtype), up.to(dtype))


def make_lean_lora(network: nn.Module) -> None:
    """Replace a network's layers that `add_adapter` has adapted; the result stays the same."""
    for module in network.modules():
        if type(module) is lora.Linear:
            module.__class__ = LeanLora


class Lender:
    """Lends the layers of a network their trained weights, all of them in one cast."""

    def __init__(self, network: nn.Module, optimizer: FlatAdamW, dtype: torch.dtype):
        """Find each layer's weights in the vector of `optimizer`; `dtype` is that of the passes."""
        self._optimizer = optimizer
        self._cast = torch.empty_like(optimizer.vector, dtype=dtype, requires_grad=False)
        places = {id(parameter): number for number, parameter in enumerate(optimizer.parameters)}
        layers = [module for module in network.modules() if isinstance(module, LeanLora)]
        self._layers = [
            (layer, places[id(layer.lora_A[NAME].weight)], places[id(layer.lora_B[NAME].weight)])
            for layer in layers
        ]

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Inside, layers compute with the vector's present values and give it their gradient."""
        parts = self._optimizer.cast(self._cast)
        for layer, down, up in self._layers:
            layer.lent = parts[down], parts[up]
        try:
            yield
        finally:
            for layer, _, _ in self._layers:
                layer.lent = None
