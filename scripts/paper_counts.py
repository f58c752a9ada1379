"""Counts an update of each family of the paper's presets: `python -m scripts.paper_counts`.

Names of families as arguments count only these.

On the meta device, without a GPU, at the batches and in the number format that `--hardware` gives
it, ROCM's also in the preset's own; a family takes about three minutes of one core. Then
`python -m scripts.paper_runs` writes the page's table anew.
"""

import json
import sys
from typing import Any

import torch
from transformers import CLIPTextConfig, CLIPTextModel

from rocm.config import RunConfig
from rocm.config.hardware import with_hardware
from rocm.config.presets import hardware_names
from rocm.experiments.bench.counter import Counter
from rocm.experiments.bench.dry import META, MIB, bench_dry, figures
from rocm.experiments.bench.meta import like_cuda
from rocm.experiments.bench.random_model import SD15, random_model, random_reward
from rocm.experiments.bench.variants import Variant
from rocm.training.setup import EVALUATION_BATCH
from scripts.paper_runs import COUNTS, FAMILIES, key_of

WAYS = (
    Variant("all kept", {"lean_layers": "off", "gradient_checkpointing": "off"}, ""),
    Variant("lean", {"lean_layers": "on", "gradient_checkpointing": "off"}, ""),
    Variant("recomputed", {"lean_layers": "on", "gradient_checkpointing": "on"}, ""),
)
LARGEST_RECOMPUTED = 2  # a card for more at once keeps everything or is lean


def count(family: str, batch: int, precision: str) -> dict[str, Any]:
    """Count a family's update at one batch on the meta device.

    Args:
        family: of `FAMILIES`.
        batch: pictures at once.
        precision: of the network passes.

    Returns:
        FLOPs, operations and memory of a batch by way, and what does not depend on the way.
    """

    config = RunConfig.load(FAMILIES[family], precision=precision)
    variants = [way for way in WAYS if way.name != "recomputed" or batch <= LARGEST_RECOMPUTED]
    rows = figures(bench_dry(config, SD15, variants, [config.ref_grad], batch))
    num = config.num_inference_steps
    calls = 2 * num - 1 if family == "rocm" else num
    ways = {}
    for way in (variant.name for variant in variants):
        row = rows[f"update/{way}/{config.ref_grad}"]
        saved = [rows[f"{part} forward/{way}"]["saved MiB"] for part in ("policy", "decode")]
        ways[way] = {name: row[name] for name in ("TFLOP", "operations", "peak MiB")}
        ways[way]["kept MiB"] = batch * (calls * saved[0] + saved[1])
    flops = {part: rows[f"{part} forward/lean"]["TFLOP"] for part in ("policy", "decode", "reward")}
    besides = _besides_mib()
    weights = rows[f"update/lean/{config.ref_grad}"]["weights MiB"]
    return {
        "ways": ways,
        "loaded MiB": weights + besides,
        "besides MiB": besides,
        "drawing TFLOP": num * flops["policy"] + flops["decode"] + 2 * flops["reward"],
        "drawing MiB": weights + _decoding_mib(config),
    }


def _besides_mib() -> float:
    """Weights that the bench leaves out: the model's text encoder, and the judge's two towers."""

    with META:
        text = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072))
    judge = random_reward(SD15, META, torch.bfloat16).encoder.model
    weights = [*text.to(torch.bfloat16).parameters(), *judge.parameters()]
    return sum(weight.numel() * weight.element_size() for weight in weights) / MIB


def _decoding_mib(config: RunConfig) -> float:
    """Peak of decoding an evaluation's batch, without gradient and weights."""

    with like_cuda(), torch.no_grad():
        model = random_model(config, SD15, META)
        latents = torch.zeros((EVALUATION_BATCH, *model.latent_shape), device=META)
        with Counter() as counter:
            model.decode(latents)
            return counter.counts.peak_bytes / MIB


def count_all(families: list[str]) -> None:
    """Count families at the batches that the overlays give them, and keep the figures.

    Args:
        families: of `FAMILIES`.
    """
    counts = json.loads(COUNTS.read_text(encoding="utf-8")) if COUNTS.is_file() else {}
    for family in families:
        preset = RunConfig.load(FAMILIES[family])
        fitted = [with_hardware(preset, name) for name in hardware_names()]
        wanted = {(config.batch_size, config.precision) for config in fitted}
        if family == "rocm":
            wanted.add((preset.batch_size, preset.precision))
        for batch, precision in sorted(wanted):
            key = key_of(family, batch, precision)
            counts[key] = count(family, batch, precision)
            COUNTS.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
            print(key, flush=True)


if __name__ == "__main__":
    count_all(sys.argv[1:] or list(FAMILIES))
