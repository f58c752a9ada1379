"""The problem that every algorithm optimizes: networks, decoder and reward as functions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from rocm.algorithms.trajectory import Network


@dataclass(frozen=True)
class Problem:
    """The policy, its reference, the decoder and the reward.

    `decode` maps latents (B, C, H, W) to pictures (B, 3, H', W'), `reward` these to (B,); with a
    slice besides, pictures of those rows of the batch only. `at_once` is how many pictures `scored`
    takes at a time; 0 for all.
    """

    policy: Network
    reference: Network
    prediction_type: str
    decode: Callable[[Tensor], Tensor]
    reward: Callable[..., Tensor]
    at_once: int = 0

    def scored(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (B, 3, H', W') of clean latents (B, C, H, W), and their rewards (B,).

        A reward depends on its own picture alone. So with `at_once` its gradient is computed at
        once, and nothing of the decoder and the reward is kept for backward; the pictures then have
        no gradient.
        """
        if not self.at_once:
            images = self.decode(latents)
            return images, self.reward(images)
        places = [
            slice(first, min(first + self.at_once, len(latents)))
            for first in range(0, len(latents), self.at_once)
        ]
        parts = zip(*(self._scored_part(latents, rows) for rows in places), strict=True)
        images, rewards, gradients = (torch.cat(part) for part in parts)
        return images, _Scored.apply(latents, rewards, gradients)

    def _scored_part(self, latents: Tensor, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures, rewards and the rewards' gradient in the latents, of some pictures."""
        is_learned = torch.is_grad_enabled() and latents.requires_grad
        part = latents[rows].detach().requires_grad_(is_learned)
        images = self.decode(part)
        rewards = self.reward(images, rows)
        gradient = torch.zeros_like(part)
        if rewards.requires_grad:
            # Of what is minimized: the limit of pixels lets no other gradient back.
            (descent,) = torch.autograd.grad(-rewards.sum(), part)
            gradient = -descent
        return images.detach(), rewards.detach(), gradient


class _Scored(Function):
    """Rewards (B,) whose gradient in the latents is known."""

    @staticmethod
    def forward(ctx: Any, latents: Tensor, rewards: Tensor, gradients: Tensor) -> Tensor:
        ctx.save_for_backward(gradients)
        return rewards.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return gradient.view(-1, 1, 1, 1) * ctx.saved_tensors[0], None, None
