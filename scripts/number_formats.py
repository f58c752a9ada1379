"""How far a bfloat16 update's gradient is from float32's: `python -m scripts.number_formats`.

The embedded model's first update from a moved adapter, whole chain and picture included, on a CPU:
by CUDA's autocast (its lists, carried out here), as passes in bfloat16 compute, and with lean
layers besides. Of each, the median and the largest of five seeds.
"""

from dataclasses import fields
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F

from rocm.config import RunConfig
from rocm.experiments.bench import meta
from rocm.experiments.bench.step import Work, make_arm
from rocm.models.consistency import ConsistencyModel

WAYS = {
    "autocast": {"precision": "bf16"},
    "bf16": {"precision": "bf16"},
    "bf16, lean": {"precision": "bf16", "lean_layers": "on"},
}


class Autocasting(ConsistencyModel):
    """A model whose passes are autocast by CUDA's lists."""

    def _autocast(self) -> meta.Autocast:
        return meta.Autocast(self.device.type, self.dtype)


def gradient(config: RunConfig, is_autocast: bool) -> Tensor:
    """Of the first update in all adapter parameters, flat."""
    arm = make_arm(Work(config, None, 0), config)
    if is_autocast:
        model = arm.setup.model
        same = {field.name: getattr(model, field.name) for field in fields(model)}
        object.__setattr__(arm.setup, "model", Autocasting(**same))
    arm.advance()
    return torch.cat([parameter.grad.flatten() for parameter in arm.setup.learner.parameters])


def apart(estimate: Tensor, truth: Tensor) -> tuple[float, float]:
    """Relative error, and 1 minus the cosine, of two gradients (P,)."""
    estimate, truth = estimate.double(), truth.double()
    error = (estimate - truth).norm() / truth.norm()
    return error.item(), 1 - F.cosine_similarity(estimate, truth, dim=0).item()


def main() -> None:
    """Print relative error and cosine of every way."""
    names = ("error", "largest", "1 - cosine", "largest")
    meta.flash_attention = F.scaled_dot_product_attention  # CUDA's kernel is not on a CPU
    print(f"{'ref_grad':9} {'passes':11}" + "".join(f"{name:>12}" for name in names))
    for ref_grad in ("exact", "none"):
        rows: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
        for seed in range(5):
            fixed = {"device": "cpu", "track": "", "max_grad_norm": 1e6}
            fixed |= {"ref_grad": ref_grad, "seed": seed, "batch_size": 1}
            truth = gradient(RunConfig.load("tiny-rocm-kl", **fixed), is_autocast=False)
            for name, way in WAYS.items():
                config = RunConfig.load("tiny-rocm-kl", **fixed, **way)
                rows[name].append(apart(gradient(config, name == "autocast"), truth))
        for name, row in rows.items():
            figures = [of(values) for values in zip(*row, strict=True) for of in (median, max)]
            print(f"{ref_grad:9} {name:11}" + "".join(f"{value:12.2g}" for value in figures))


if __name__ == "__main__":
    main()
