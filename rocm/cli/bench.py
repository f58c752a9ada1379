"""`python -m rocm bench`: time updates, drawing and rewards, or count an update without a GPU."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rocm.cli.lazy import lazy
from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.experiments.bench.variants import COUNTED, VARIANTS, chosen
from rocm.generation.picture import Picture

if TYPE_CHECKING:
    from rocm.experiments.bench.step import Work
    from rocm.experiments.bench.timing import Report
    from rocm.experiments.bench.variants import Variant

    Load = Callable[[RunConfig], tuple[Variant, ...]]

bench_drawing = lazy("rocm.experiments.bench.pictures:bench_drawing")
latency_table = lazy("rocm.experiments.bench.pictures:latency_table")
bench_parts = lazy("rocm.experiments.bench.parts:bench_parts")
parts_table = lazy("rocm.experiments.bench.parts:parts_table")
bench_scoring = lazy("rocm.experiments.bench.pictures:bench_scoring")
bench_steps = lazy("rocm.experiments.bench.step:bench_steps")
make_work = lazy("rocm.experiments.bench.step:Work")
bench_dry = lazy("rocm.experiments.bench.dry:bench_dry")
random_model = lazy("rocm.experiments.bench.random_model")
resolve_device = lazy("rocm.models.consistency:resolve_device")
silence_libraries = lazy("rocm.cli.trainer:silence_libraries")

WORDS = ("step", "parts", "generate", "reward", "draw", "dry")
SIZES = ("embedded", "small", "real")
NUM_INFERENCE_STEPS = {"real": 8, "small": 2}
LARGEST = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bench`."""
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
        help="rewards that `bench reward` times",
    )
    add_step_arguments(parser)
    parser.set_defaults(run=bench)


def add_step_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `bench step`."""
    add = parser.add_argument
    add("--preset", default="tiny-rocm-kl", help="settings of the update")
    add("--rounds", type=int, default=5, help="timings of each row")
    add("--batch", type=int, nargs="+", help="batch sizes; default: the preset's")
    add("--variants", nargs="+", default=[], metavar="NAME", help="rows; default: all")
    add(
        "--ref-grad",
        nargs="+",
        choices=("exact", "none"),
        default=["exact", "none"],
        help="gradient through the reference; default: both",
    )
    add(
        "--size",
        choices=SIZES,
        help="embedded: the preset's model. real: Stable Diffusion 1.5 and ViT-H with random "
        "weights, bf16, 8 steps. small: the same parts, tiny, 2 steps. Default: by the device",
    )
    add("--json", type=Path, metavar="FILE", help="also write the figures here")


def bench(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Print the table of a benchmark."""
    print(bench_text(options))


def bench_text(options: argparse.Namespace, load_more: "Load | None" = None) -> str:
    """The table of a benchmark; `load_more` gives rows that `step` times beside ours."""
    for name, values in (("--rounds", [options.rounds]), ("--batch", options.batch or [])):
        if any(not 1 <= value <= LARGEST for value in values):
            raise ConfigError(f"{name} is 1 to {LARGEST}.")
    if options.json and not options.json.parent.is_dir():
        raise ConfigError(f"--json {options.json}: there is no such folder. Create it first.")
    base = RunConfig.load(options.preset)
    if options.what in ("draw", "parts") and options.json:
        raise ConfigError(f"bench {options.what} writes no JSON. Leave --json out.")
    silence_libraries()
    if options.what == "draw":
        return str(latency_table(Picture("a glossy emoji of a red apple"), options.rounds))
    if options.what == "parts":
        return str(parts_table(bench_parts(base, options.rounds)))
    report = _dry(options, base) if options.what == "dry" else _timed(options, base, load_more)
    if options.json:
        report.save(options.json)
    return report.text()


def _dry(options: argparse.Namespace, base: RunConfig) -> "Report":
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
    device = resolve_device(base.device).type
    size = options.size or ("real" if device == "cuda" else "embedded")
    if size == "real" and device != "cuda":
        raise ConfigError(
            "--size real is timed on a CUDA device only, and none is used here. "
            "Count it with bench dry, or give --size small or embedded."
        )
    if size == "embedded":
        return make_work(base, None, options.rounds)
    base = _resized(base, size, "bf16" if device == "cuda" else "fp32")
    return make_work(base, random_model.SIZES[size], options.rounds)
