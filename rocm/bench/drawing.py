"""Pictures drawn without training: the base model, and the same with its adapter on."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch

from rocm.bench.counter import Counter
from rocm.bench.step import Work, make_arm
from rocm.bench.table import Report, Row
from rocm.bench.timing import environment, interleaved, matmul_rate, rates, speed_up, summary
from rocm.bench.variants import PLAIN, settings_of
from rocm.generate import Sampling, draw
from rocm.models.consistency import ConsistencyModel, resolve_device
from rocm.models.lora import adapter_off
from rocm.models.pipelines import DTYPES

PROMPT = "a glossy emoji of a red apple"


def bench_drawing(work: Work, batches: Sequence[int]) -> Report:
    """Time drawing, noise to pixels on the CPU.

    Args:
        work: the model and the steps.
        batches: pictures that are drawn at once.

    Returns:
        The table; `x base` compares rounds that were timed in turn.
    """
    device = resolve_device(work.base.device)
    rate = matmul_rate(device, DTYPES[work.base.precision])
    model = make_arm(work, settings_of(PLAIN, work.base, "none", 1)).setup.model
    rows: list[Row] = []
    for batch in batches:
        calls = {
            "base": _drawn(model, work, batch, is_base=True),
            "adapter": _drawn(model, work, batch, is_base=False),
        }
        for call in calls.values():
            call()
        with Counter() as counter:
            calls["base"]()
        spent = interleaved(calls, device, work.num_rounds)
        for name, own in spent.items():
            row: Row = {"model": name, "batch": batch, **summary(own)}
            row["pictures/s"] = 1000 * batch / row["ms"]
            row["x base"] = speed_up(spent["base"], own)
            rows.append(row | rates(counter.counts.flops, row["ms"], rate))
    facts = environment(device) | {"matmul TFLOP/s": rate / 1e12, "rounds": work.num_rounds}
    facts |= {"size": work.size.name if work.size else work.base.model}
    facts |= {"num_inference_steps": work.base.num_inference_steps}
    return Report("Drawing", rows, facts)


def _drawn(model: ConsistencyModel, work: Work, batch: int, is_base: bool) -> Callable[[], None]:
    config = work.base
    sampling = Sampling(config.num_inference_steps, config.guidance_scale, config.grid, batch)

    def call() -> None:
        with adapter_off(model.pipeline.unet) if is_base else nullcontext(), torch.no_grad():
            list(draw(model, [PROMPT] * batch, range(batch), sampling))

    return call
