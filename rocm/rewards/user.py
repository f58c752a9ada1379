"""A reward from the user's own file: a function of pictures and prompts, checked at every call."""

import importlib.util
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from rocm.errors import ConfigError, TrainingError
from rocm.rewards.user_files import check_user_reward, wrong_signature

PROMPTS = ("a red apple", "a blue car")


class UserReward:
    """A function of a Python file as a `Reward`; running the file runs the user's code."""

    name: str
    has_gradient: bool
    """Whether its values depend on the pictures differentiably; `probe` finds out."""

    def __init__(self, name: str, file: Path | None = None):
        """Run the file, or the copy `file` of it.

        Raises `MissingFile` without the file, `ConfigError` without a function of pictures and
        prompts of that name.
        """
        self.name, self.has_gradient = name, True
        self._function = _function(name, file or check_user_reward(name))

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Score B pictures (B, 3, H, W) in [0, 1]; returns (B,).

        Raises `TrainingError` if the function returns another shape, or values that are not finite.
        """
        values = self._function(images, prompts)
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        if shape != (len(images),):
            raise TrainingError(
                f"reward={self.name} returned {shape} for {len(images)} pictures. Return a tensor "
                f"of shape ({len(images)},), one value per picture."
            )
        if not values.isfinite().all():
            raise TrainingError(
                f"reward={self.name} returned values that are not finite. Return finite numbers "
                "for all pictures in [0, 1]."
            )
        return values.to(images)

    def probe(self, device: torch.device, size: int) -> None:
        """Call the function on two pictures (3, size, size) to see if it has a finite gradient."""
        pixels = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
        images = pixels.to(device).requires_grad_()
        with torch.enable_grad():
            values = self(images, PROMPTS)
        gradient = None
        if values.requires_grad:
            (gradient,) = torch.autograd.grad(values.sum(), images, allow_unused=True)
        self.has_gradient = gradient is not None
        if gradient is not None and not gradient.isfinite().all():
            raise ConfigError(
                f"reward={self.name} has a gradient that is not finite. Avoid operations such as "
                "sqrt or division at 0."
            )


def _function(name: str, file: Path) -> Callable[..., Tensor]:
    spec = importlib.util.spec_from_file_location(f"user_reward_{file.stem}", file)
    assert spec is not None, f"{file} does not end in .py"
    assert spec.loader is not None, f"{file} does not end in .py"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[..., Tensor] = getattr(module, name.rpartition(":")[2])
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError) as error:
        raise wrong_signature(name) from error
    return function
