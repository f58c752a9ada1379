r"""Per-prompt advantages: the reward of a picture relative to the usual reward of its prompt.

.. math:: A = \mathrm{clip}\Big(\frac{R - \mu}{s + 10^{-6}},\ \pm A_{max}\Big)
"""

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

EPSILON = 1e-6


class PromptStatistics:
    """The newest rewards of every prompt, as in RLCM and DDPO.

    Mean and deviation (of the population, divided by n) are the prompt's own once it has
    `min_count` rewards, those of the round included, and the round's before.
    """

    def __init__(self, window: int, min_count: int):
        """Keep the newest `window` rewards of a prompt."""
        self.window, self.min_count = window, min_count
        self._rewards: dict[str, deque[float]] = {}

    def advantages(self, prompts: Sequence[str], rewards: Tensor, limit: float) -> Tensor:
        """Take in the rewards (B,) of B prompts' pictures and compare them.

        Returns (B,), without gradient, in [-limit, limit].
        """
        rewards = rewards.detach()
        for prompt, reward in zip(prompts, rewards.tolist(), strict=True):
            known = self._rewards.setdefault(prompt, deque(maxlen=self.window))
            known.append(reward)
        standardized = []
        for prompt, reward in zip(prompts, rewards.double(), strict=True):
            own = rewards.new_tensor(self._rewards[prompt], dtype=torch.float64)
            usual = own if len(own) >= self.min_count else rewards.double()
            standardized.append((reward - usual.mean()) / (usual.std(correction=0) + EPSILON))
        return torch.stack(standardized).clamp(-limit, limit).to(rewards)

    def state_dict(self) -> dict[str, list[float]]:
        """The rewards by prompt, oldest first."""
        return {prompt: list(rewards) for prompt, rewards in self._rewards.items()}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        """Go on from another object's `state_dict`."""
        self._rewards = {
            prompt: deque(rewards, maxlen=self.window) for prompt, rewards in state.items()
        }
