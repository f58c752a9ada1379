"""Loaders of models by the setting `sampler`; docs/extending.md adds one."""

from collections.abc import Callable

from rocm.models.consistency import ConsistencyModel, load_model
from rocm.models.ddim import load_diffusion

LOADERS: dict[str, Callable[[str, str, str], ConsistencyModel]] = {
    "lcm": load_model,
    "ddim": load_diffusion,
}
"""(model, device, precision), as in `load_model` -> the model, frozen and without adapter."""
