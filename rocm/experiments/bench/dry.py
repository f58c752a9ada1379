"""What an update would do on a GPU, counted on the meta device: no GPU, no timing, no noise.

The update is training's own, in bf16 on networks of Stable Diffusion 1.5's size by default. Memory
is that of tensors alive at once: no allocator's slack, no workspace of a convolution, no optimizer
state before the first update.
"""

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from rocm.config import RunConfig
from rocm.experiments.bench.counter import Counter, saved_bytes
from rocm.experiments.bench.meta import like_cuda
from rocm.experiments.bench.random_model import Size, random_setup
from rocm.experiments.bench.step import weights_bytes
from rocm.experiments.bench.timing import Report, Row
from rocm.experiments.bench.variants import Variant, settings_of
from rocm.training.setup import Setup
from rocm.training.update import update

META = torch.device("meta")
MIB = 2**20


def bench_dry(
    base: RunConfig, size: Size, variants: Sequence[Variant], ref_grads: Sequence[str], batch: int
) -> Report:
    """Count the parts of an update, then whole updates; None for what a row does not count."""
    parts, updates = [], []
    with like_cuda():
        for ref_grad, variant in product(ref_grads, variants):
            setup = random_setup(settings_of(variant, base, ref_grad, batch), size, META)
            if ref_grad == ref_grads[0]:  # a part does not depend on it
                parts += _parts(setup, variant)
            updates.append(_step(setup, variant))
    rows = parts + updates
    facts = {
        "size": size.name,
        "algorithm": base.algorithm,
        "precision": base.precision,
        "num_inference_steps": base.num_inference_steps,
        "batch_size": batch,
        "torch": torch.__version__,
    }
    return Report("Counted on the meta device", rows, facts)


def figures(report: Report) -> dict[str, Row]:
    """The rows of a report by name, such as `update/plain/exact`."""
    words = ("what", "variant", "ref_grad")
    return {
        "/".join(str(row[word]) for word in words if row[word]): {
            name: value for name, value in row.items() if name not in words and value is not None
        }
        for row in report.rows
    }


def _parts(setup: Setup, variant: Variant) -> list[Row]:
    """One call of each network for one picture: forward, and backward to its input."""
    config, model = setup.config, setup.model
    context = model.encode(["a picture"])
    latent = torch.zeros((1, *model.latent_shape), device=META, requires_grad=True)
    picture = model.decode(latent).detach().requires_grad_()
    timesteps = torch.zeros(1, dtype=torch.long, device=META)
    policy = model.policy(context, config.guidance_scale)
    reference = model.reference(context, config.guidance_scale)
    (reward,) = setup.rewards.by_name.values()
    calls: dict[str, Callable[[], Tensor]] = {
        "policy": lambda: policy(latent, timesteps),
        "reference": lambda: reference(latent, timesteps),
        "decode": lambda: model.decode(latent),
        "reward": lambda: reward(picture, ["a picture"]),
    }
    return [row for name, call in calls.items() for row in _part(name, variant, call)]


def _part(name: str, variant: Variant, call: Callable[[], Tensor]) -> list[Row]:
    saved = saved_bytes(call)
    with Counter() as counter:
        answer = call()
        forward = _row(f"{name} forward", variant, "", counter) | {"saved MiB": saved / MIB}
        counter.reset()
        answer.sum().backward()
        return [forward, _row(f"{name} backward", variant, "", counter)]


def _step(setup: Setup, variant: Variant) -> Row:
    mixture = setup.rewards.mixture()
    optimizer = setup.learner.optimizer
    for group in optimizer.param_groups:
        group["foreach"] = not group["fused"]  # what AdamW chooses on CUDA, unless it is fused
    for parameter in setup.learner.parameters:
        parameter.grad = torch.zeros_like(parameter)
    with Counter() as counter:
        optimizer.step()  # makes its state: what is counted is a later update than the first
        counter.reset()
        update(setup, mixture, 1)
        row = _row("update", variant, setup.config.ref_grad, counter)
    weights = weights_bytes(setup) / MIB
    return row | {"weights MiB": weights, "peak MiB": weights + counter.counts.peak_bytes / MIB}


def _row(work: str, variant: Variant, ref_grad: str, counter: Counter) -> Row:
    counts = counter.counts
    return {
        "what": work,
        "variant": variant.name,
        "ref_grad": ref_grad,
        "operations": counts.operations,
        "syncs": counts.synchronizations,
        "TFLOP": counts.flops / 1e12,
        "saved MiB": None,
        "weights MiB": None,
        "peak MiB": None,
    }
