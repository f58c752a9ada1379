"""What every algorithm optimises: two networks, a decoder and a reward, as functions of tensors."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from rocm.trajectory import Network


@dataclass(frozen=True)
class Problem:
    """The policy to train, what it is kept near, and what its pictures are worth.

    Attributes:
        policy: network with gradient to its parameters.
        reference: the same network without the adapter.
        prediction_type: of both, as in diffusers' scheduler config.
        decode: latents (B, C, H, W) -> pictures (B, 3, H', W').
        reward: pictures -> (B,).
    """

    policy: Network
    reference: Network
    prediction_type: str
    decode: Callable[[Tensor], Tensor]
    reward: Callable[[Tensor], Tensor]
