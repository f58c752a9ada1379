"""Muon on the weight matrices, AdamW on everything else, as one optimizer.

Muon (Jordan et al. 2024; torch.optim.Muon) orthogonalises the momentum of a matrix. A convolution
counts as the matrix (output channels) x (input channels x rows x columns). The step is scaled as
by Moonshot AI (arXiv 2502.16982), so that one learning rate suits both optimizers.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

ADAM_SHARE = 0.3
DECAY = 0.01


def weight_matrices(modules: Iterable[nn.Module], excluded: tuple[str, ...]) -> list[nn.Parameter]:
    """Weights of at least two dimensions whose name contains no word of `excluded`."""
    return [
        parameter
        for module in modules
        for name, parameter in module.named_parameters()
        if parameter.ndim >= 2 and not any(word in name for word in excluded)
    ]


class MuonAdamW:
    """One update rule for several modules. Has the state that a checkpoint needs."""

    def __init__(self, modules: Iterable[nn.Module], excluded: tuple[str, ...]):
        """Takes all parameters that require gradients.

        Args:
            modules: the trained modules.
            excluded: words in the names of matrices that AdamW takes: first and last layers,
                embeddings.
        """
        modules = list(modules)
        self.parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
        trained = {id(parameter) for parameter in self.parameters}
        self._weights = [p for p in weight_matrices(modules, excluded) if id(p) in trained]
        matrices = {id(parameter) for parameter in self._weights}
        # Views that share the storage: torch's Muon takes two-dimensional parameters only.
        self._views = [nn.Parameter(weight.data.flatten(1)) for weight in self._weights]
        rest = [p for p in self.parameters if id(p) not in matrices]
        self._muon = torch.optim.Muon(
            self._views, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"
        )
        self._adam = torch.optim.AdamW(rest, betas=(0.9, 0.99), weight_decay=DECAY)

    def step(self, loss: Tensor, lr: float) -> None:
        """One clipped update: Muon at `lr`, AdamW at `ADAM_SHARE` of it."""
        for optimizer, share in ((self._muon, 1.0), (self._adam, ADAM_SHARE)):
            for group in optimizer.param_groups:
                group["lr"] = share * lr
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for view, weight in zip(self._views, self._weights, strict=True):
            view.grad = None if weight.grad is None else weight.grad.flatten(1)
        self._muon.step()
        self._adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Both optimizers' states."""
        return {"muon": self._muon.state_dict(), "adam": self._adam.state_dict()}

    def load_state_dict(self, states: dict[str, Any]) -> None:
        """Restores `state_dict`."""
        self._muon.load_state_dict(states["muon"])
        self._adam.load_state_dict(states["adam"])
