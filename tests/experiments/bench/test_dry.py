"""The counts of an update: they add up, and stay below those that are committed."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from rocm.config import RunConfig
from rocm.experiments.bench.counter import Counter
from rocm.experiments.bench.dry import bench_dry, figures
from rocm.experiments.bench.random_model import SD15, SMALL, random_model
from rocm.experiments.bench.timing import Report
from rocm.experiments.bench.variants import COUNTED, NAIVE, PLAIN

DATA = Path(__file__).resolve().parents[3] / "docs" / "data"
SLACK = 1.01  # another release of a library may take an operation more
NUM = 2
REF_GRADS = ("exact", "none")
CONFIG = {"num_inference_steps": NUM, "precision": "bf16"}


@pytest.fixture(scope="module")
def small() -> Report:
    config = RunConfig.load("tiny-rocm-kl", **CONFIG)
    return bench_dry(config, SMALL, [PLAIN, NAIVE], REF_GRADS, 1)


def assert_below(found: dict, file: str) -> None:
    committed = figures(Report("", json.loads((DATA / file).read_text())["rows"], {}))
    assert set(found) <= set(committed)
    risen = {
        f"{row}: {name} {value:g} > {committed[row][name]:g}"
        for row, values in found.items()
        for name, value in values.items()
        if value > SLACK * committed[row][name]
    }
    assert not risen


@pytest.mark.slow
def test_no_variant_takes_more_than_what_is_committed():
    report = bench_dry(RunConfig.load("tiny-rocm-kl", **CONFIG), SMALL, COUNTED, REF_GRADS, 1)
    assert set(figures(report)) >= {"update/plain/exact", "update/naive/none"}
    assert_below(figures(report), "dry-small.json")


@pytest.mark.slow
def test_real_update_takes_no_more_than_what_is_committed():
    config = RunConfig.load("tiny-rocm-kl", num_inference_steps=8, precision="bf16")
    assert_below(figures(bench_dry(config, SD15, [PLAIN], ["exact"], 1)), "dry-real.json")


def test_exact_reference_costs_its_backward_passes_and_naive_the_repeated_forward_passes(small):
    flops = {name: row["TFLOP"] for name, row in figures(small).items()}
    # No gradient returns to the noise, which is the state of the first reference call.
    num_calls = {"policy": NUM, "reference": NUM - 1}
    forward = {name: num * flops[f"{name} forward/plain"] for name, num in num_calls.items()}
    backward = num_calls["reference"] * flops["reference backward/plain"]
    plain, none = flops["update/plain/exact"], flops["update/plain/none"]
    assert plain - none == pytest.approx(backward, rel=1e-9)
    # Recomputation ends at the last tensor that backward needs, before the output's convolution.
    assert flops["update/naive/none"] - none == pytest.approx(forward["policy"], rel=1e-2)
    again = forward["policy"] + forward["reference"]
    assert flops["update/naive/exact"] - plain == pytest.approx(again, rel=1e-2)


def test_meta_device_counts_the_flops_that_the_cpu_really_does(small):
    config = RunConfig(device="cpu")
    model = random_model(config, SMALL, torch.device("cpu"))
    network = model.reference(model.encode(["a picture"]), config.guidance_scale)
    # Torch does not count the FLOPs of its fused attention on a CPU.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), Counter() as counter:
        network(torch.zeros(1, *model.latent_shape), torch.zeros(1, dtype=torch.long))
    counted = figures(small)["reference forward/plain"]["TFLOP"]
    assert counter.counts.flops / 1e12 == pytest.approx(counted, rel=1e-9)
