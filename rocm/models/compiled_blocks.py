"""The blocks that a network repeats, compiled by torch: one after another, not the network whole.

Blocks of one kind and one shape share what was compiled for the first of them, so that minutes
become tens of seconds. What surrounds them - the loop over steps, the adapter's switch,
recomputation in backward - stays as it is.
"""

from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass

import torch
from torch import nn

BACKEND = "inductor"
# Of diffusers' networks, then of the picture towers of open_clip and transformers.
BLOCKS = ("BasicTransformerBlock", "ResnetBlock2D")
TOWER_BLOCKS = ("ResidualAttentionBlock", "CLIPEncoderLayer", "BlipEncoderLayer")
# Each shape is compiled for policy and reference, with and without gradient of its input.
RECOMPILE_LIMIT = 512


def compile_blocks(networks: Iterable[nn.Module]) -> None:
    """Compile the repeated blocks of networks, each at its first call."""
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
    torch._dynamo.config.accumulated_recompile_limit = RECOMPILE_LIMIT
    for network in networks:
        for block in repeated_blocks(network):
            block.compile(backend=BACKEND, dynamic=False)


def repeated_blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The blocks of a network to compile; none of a text tower, whose answers are kept."""
    for path, module in network.named_modules():
        kind = type(module).__name__
        if kind in BLOCKS or (kind in TOWER_BLOCKS and path.startswith("vis")):
            yield module


def networks_in(part: object) -> Iterator[nn.Module]:
    """The outermost networks that a reward, or one of its fields, holds."""
    if isinstance(part, nn.Module):
        yield part
    elif is_dataclass(part):
        for value in vars(part).values():
            yield from networks_in(value)
