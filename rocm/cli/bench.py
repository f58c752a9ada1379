"""`python -m rocm bench`: time updates, drawing and rewards, or count an update without a GPU."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.generation.picture import Picture

if TYPE_CHECKING:
    from rocm.experiments.bench.step import Work
    from rocm.experiments.bench.table import Report
    from rocm.experiments.bench.variants import Variant

    Load = Callable[[RunConfig], tuple[Variant, ...]]

WORDS = ("step", "parts", "generate", "reward", "draw", "dry")
SIZES = ("embedded", "small", "real")
NUM_INFERENCE_STEPS = {"real": 8, "small": 2}
LARGEST = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `bench` takes.

    Args:
        parser: of the command.
    """
    parser.add_argument(
        "what",
        choices=WORDS,
        help="step: whole updates, a row for each variant. parts: where an update's time goes. "
        "generate: drawing. reward: scores and their gradient. draw: a request to the app's "
        "drawing process. dry: operations, FLOPs and memory of an update, counted without a GPU",
    )
    parser.add_argument(
        "--rewards",
        nargs="+",
        default=["tiny-clip", "tiny-judge", "colorfulness"],
        metavar="NAME",
        help="that are timed by reward",
    )
    add_step_arguments(parser)


def add_step_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `bench step` takes.

    Args:
        parser: of the command.
    """
    parser.add_argument("--preset", default="tiny-rocm-kl", help="settings of the update")
    parser.add_argument("--rounds", type=int, default=5, help="how often each row is timed")
    parser.add_argument(
        "--batch", type=int, nargs="+", help="pictures at once; the preset's if not given"
    )
    parser.add_argument(
        "--variants", nargs="+", default=[], metavar="NAME", help="rows; all if not given"
    )
    parser.add_argument(
        "--ref-grad",
        nargs="+",
        choices=("exact", "none"),
        default=["exact", "none"],
        help="gradient through the reference; both if not given",
    )
    parser.add_argument(
        "--size",
        choices=SIZES,
        help="embedded: the preset's model. real: Stable Diffusion 1.5 and ViT-H with random "
        "weights, bf16, 8 steps. small: the same parts, tiny, 2 steps. By the device if not given",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")


def bench(options: argparse.Namespace, load_more: "Load | None" = None) -> str:
    """Do what was asked for.

    Args:
        options: parsed.
        load_more: gives rows that `step` times beside ours, from the benchmark's settings.

    Returns:
        The table.

    Raises:
        ConfigError: a number is out of range, or the size does not fit the device.
        RunError: the JSON file cannot be written.
    """
    for name, values in (("--rounds", [options.rounds]), ("--batch", options.batch or [])):
        if any(not 1 <= value <= LARGEST for value in values):
            raise ConfigError(f"{name} is 1 to {LARGEST}.")
    if options.json and not options.json.parent.is_dir():
        raise ConfigError(f"--json {options.json} is in no folder that is here. Make it first.")
    base = RunConfig.load(options.preset)
    if options.what in ("draw", "parts"):
        return _without_report(options, base)
    report = _dry(options, base) if options.what == "dry" else _timed(options, base, load_more)
    if options.json:
        report.save(options.json)
    return report.text()


def _without_report(options: argparse.Namespace, base: RunConfig) -> str:
    if options.json:
        raise ConfigError(f"bench {options.what} writes no JSON. Leave --json out.")
    if options.what == "draw":
        from rocm.experiments.bench.generation import PROMPT, latency_table

        return latency_table(Picture(PROMPT), options.rounds)
    from rocm.experiments.bench.parts import bench_parts, parts_table

    return parts_table(bench_parts(base, options.rounds))


def _dry(options: argparse.Namespace, base: RunConfig) -> "Report":
    from rocm.experiments.bench import random_model
    from rocm.experiments.bench.dry import bench_dry
    from rocm.experiments.bench.variants import COUNTED, chosen

    size = options.size or "real"
    if size == "embedded" or len(options.batch or [1]) > 1:
        raise ConfigError("bench dry takes --size real or small, and one --batch.")
    (batch,) = options.batch or [1]
    base, variants = _resized(base, size, "bf16"), chosen(options.variants, COUNTED)
    return bench_dry(base, random_model.SIZES[size], variants, options.ref_grad, batch)


def _resized(base: RunConfig, size: str, precision: str) -> RunConfig:
    num = NUM_INFERENCE_STEPS[size]
    return RunConfig.load(base.model_dump(), num_inference_steps=num, precision=precision)


def _timed(options: argparse.Namespace, base: RunConfig, load_more: "Load | None") -> "Report":
    from rocm.experiments.bench.generation import bench_drawing
    from rocm.experiments.bench.scoring import bench_scoring
    from rocm.experiments.bench.step import bench_steps
    from rocm.experiments.bench.variants import COUNTED, VARIANTS, chosen
    from rocm.models.consistency import resolve_device

    work = _work(options, base)
    batches = options.batch or ([1, 4] if work.size else [work.base.batch_size])
    if options.what == "generate":
        return bench_drawing(work, batches)
    if options.what == "reward":
        return bench_scoring(work, options.rewards, batches)
    # The smallest networks compile for more than a minute on a CPU: by name only.
    is_cuda = resolve_device(base.device).type == "cuda"
    among = VARIANTS if is_cuda or options.variants else COUNTED
    variants = chosen(options.variants, among)
    variants += load_more(work.base) if load_more else ()
    return bench_steps(work, variants, options.ref_grad, batches)


def _work(options: argparse.Namespace, base: RunConfig) -> "Work":
    from rocm.experiments.bench import random_model
    from rocm.experiments.bench.step import Work
    from rocm.models.consistency import resolve_device

    device = resolve_device(base.device).type
    size = options.size or ("real" if device == "cuda" else "embedded")
    if size == "real" and device != "cuda":
        raise ConfigError(
            "--size real is timed on a CUDA device only, and none is used here. "
            "Count it with bench dry, or give --size small or embedded."
        )
    if size == "embedded":
        return Work(base, None, options.rounds)
    base = _resized(base, size, "bf16" if device == "cuda" else "fp32")
    return Work(base, random_model.SIZES[size], options.rounds)
