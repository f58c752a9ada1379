r"""Frozen layers that keep only what the gradient of their input needs.

PyTorch's convolution keeps its input for its weight's gradient even where the weight is frozen, and
GroupNorm, SiLU and GELU each keep a tensor that another kept one gives back. Of what is kept here:

- convolution: nothing but the weight;
- GroupNorm and the SiLU behind it: their common input, the norm computed again in backward;
- GEGLU: its input, the GELU computed again.

No product of matrices and no convolution is computed again. Layers are exchanged by their class, so
weights, names and adapters stay where they are.
"""

from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.autograd.function import Function, once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

PLAIN_NORMS = ("default", "group")  # a U-Net's and a decoder's: the SiLU follows at once


class _Convolution(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.Conv2d, weight: Tensor, bias: Any) -> Tensor:
        ctx.shape, ctx.layer = x.shape, layer
        ctx.save_for_backward(weight)
        return F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), layer = ctx.saved_tensors, ctx.layer
        steps = (layer.stride, layer.padding, layer.dilation, layer.groups)
        return conv2d_input(ctx.shape, weight, gradient, *steps), None, None, None


class LeanConv2d(nn.Conv2d):
    """A frozen convolution that keeps its weight only."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not (torch.is_grad_enabled() and input.requires_grad):
            return super()._conv_forward(input, weight, bias)
        dtype = pass_dtype(input, weight.dtype)
        bias = None if bias is None else bias.to(dtype)
        return _Convolution.apply(input.to(dtype), self, weight.to(dtype), bias)


class _NormSilu(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.GroupNorm) -> Tensor:
        ctx.layer = layer
        ctx.save_for_backward(x)
        return F.silu(_normalized(x, layer)[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x,), layer = ctx.saved_tensors, ctx.layer
        normal, mean, rstd = _normalized(x, layer)
        # On CPUs torch 2.11 returns a wrong gradient if it lies in memory in another order than x.
        inner = torch.ops.aten.silu_backward(gradient.contiguous(), normal)
        sizes = (len(x), x.shape[1], x[0, 0].numel(), layer.num_groups)
        weight = layer.weight.to(x.dtype)
        only_x = [True, False, False]
        backward = torch.ops.aten.native_group_norm_backward
        return backward(inner, x, mean, rstd, weight, *sizes, only_x)[0], None


class LeanNormSilu(nn.GroupNorm):
    """A frozen GroupNorm with the SiLU that follows it, which must pass pictures on."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return _NormSilu.apply(input.contiguous(), self)


class PassPictures(nn.SiLU):
    """SiLU of anything but pictures (B, C, H, W), whose SiLU the norm before has computed."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return input if input.ndim == 4 else super().forward(input)


class _GatedGelu(Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        ctx.save_for_backward(both)
        values, gate = both.chunk(2, dim=-1)
        return values * F.gelu(gate)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        values, gate = ctx.saved_tensors[0].chunk(2, dim=-1)
        inner = torch.ops.aten.gelu_backward(gradient * values, gate)
        return torch.cat([gradient * F.gelu(gate), inner], dim=-1)


class LeanGEGLU(GEGLU):
    """diffusers' gated linear unit that keeps its projection's output only."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, L, D) to (B, L, inner)."""
        return _GatedGelu.apply(self.proj(hidden_states))


def make_lean(network: nn.Module) -> None:
    """Replace the layers of a frozen U-Net or decoder of diffusers; the result stays the same."""
    for module in network.modules():
        if type(module) is nn.Conv2d and _is_plain(module):
            module.__class__ = LeanConv2d
        elif type(module) is GEGLU:
            module.__class__ = LeanGEGLU
        elif type(module) is ResnetBlock2D and module.time_embedding_norm in PLAIN_NORMS:
            _join(module, "nonlinearity", "norm1", "norm2")
        elif hasattr(module, "conv_norm_out"):
            _join(module, "conv_act", "conv_norm_out")


def _is_plain(convolution: nn.Conv2d) -> bool:
    is_frozen = not any(parameter.requires_grad for parameter in convolution.parameters())
    is_padded_by_number = not isinstance(convolution.padding, str)
    return is_frozen and is_padded_by_number and convolution.padding_mode == "zeros"


def _join(block: nn.Module, activation: str, *norms: str) -> None:
    """Let a block's norms compute the activation that follows them."""
    layers = [getattr(block, name) for name in norms]
    if type(getattr(block, activation)) is not nn.SiLU:
        return
    if any(type(layer) is not nn.GroupNorm for layer in layers):
        return
    for layer in layers:
        layer.__class__ = LeanNormSilu
    setattr(block, activation, PassPictures())


def _normalized(x: Tensor, layer: nn.GroupNorm) -> tuple[Tensor, Tensor, Tensor]:
    """The norm of x, (B, C, H, W), and the mean and 1 / deviation of its groups."""
    weight, bias = layer.weight.to(x.dtype), layer.bias.to(x.dtype)
    sizes = (len(x), x.shape[1], x[0, 0].numel(), layer.num_groups)
    return torch.native_group_norm(x, weight, bias, *sizes, layer.eps)


def pass_dtype(x: Tensor, otherwise: torch.dtype) -> torch.dtype:
    """The number format of products with x: autocast's where it is on, else `otherwise`."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else otherwise
