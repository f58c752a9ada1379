"""Writes the table of docs/paper.md: `python -m scripts.paper_runs`.

Counted by `scripts.paper_counts`: FLOPs, operations and memory of an update. Predicted from these:
which way of spending memory training would choose on a card, and how long a run takes.
"""

import json
from dataclasses import dataclass
from typing import Any

from rocm.config import RunConfig
from rocm.config.hardware import with_hardware
from rocm.storage.paths import ROOT

PAGE = ROOT / "docs" / "paper.md"
COUNTS = ROOT / "docs" / "data" / "paper-runs.json"
START, END = "<!-- table: start -->\n", "<!-- table: end -->\n"
FAMILIES = {family: f"paper-{family}-hpsv2" for family in ("rlcm", "ddpo", "d3po", "dpok")}
FAMILIES = {"rocm": "paper-rocm-kl-hpsv2", **FAMILIES}
SHARE_OF_FREE = 0.8  # as rocm/training/memory.py plans
CUDA_MIB = 512  # assumed: what CUDA itself takes
SHARE_OF_RATE = 0.4  # assumed: of the card's stated rate that the matrix products reach
OPERATION_S = 6e-6  # assumed: of the CPU, to launch one operation


@dataclass(frozen=True)
class Card:
    """A graphics card as its maker states it.

    Attributes:
        name: of the card.
        hardware: the overlay for it.
        mib: memory.
        tflops: dense 16-bit matrix products with 32-bit sums, TFLOP/s.
    """

    name: str
    hardware: str
    mib: int
    tflops: float


CARDS = (
    Card("RTX 3060", "12gb", 12_288, 25.5),
    Card("RTX 4090", "24gb", 24_564, 165.2),
    Card("A100 80 GB", "80gb", 81_920, 312.0),
    Card("H100 SXM", "80gb", 81_559, 989.4),
)


def key_of(family: str, batch: int, precision: str) -> str:
    """Under which name a count is kept: in bf16, the overlays' number format, none is named."""
    return f"{family}/{batch}" + (f"/{precision}" if precision != "bf16" else "")


def peak_gib(counts: dict[str, Any], way: str) -> float:
    """Most that an update in one way, or an evaluation's decoding, holds, all weights included."""
    largest = max(counts["ways"][way]["peak MiB"], counts["drawing MiB"])
    return (largest + counts["besides MiB"]) / 1024


def way_of(config: RunConfig, counts: dict[str, Any], card: Card) -> str:
    """The way that training would choose: the first that keeps at most 80 % of what is free."""
    if config.gradient_checkpointing == "on":
        return "recomputed"
    free = card.mib - CUDA_MIB - counts["loaded MiB"]
    for way in ("all kept", "lean"):
        if counts["ways"][way]["kept MiB"] <= SHARE_OF_FREE * free:
            return way
    return "recomputed"


def hours(config: RunConfig, counts: dict[str, Any], way: str, card: Card) -> float:
    """Predicted time of a run: what is longer of computing and of launching, evaluations included.

    Args:
        config: of the run, at the card's batch.
        counts: of its family and batch.
        way: of spending memory.
        card: that it runs on.

    Returns:
        Hours; loading, saving and the scoring of further rewards are left out.
    """
    rate = card.tflops * SHARE_OF_RATE
    batch = counts["ways"][way]
    batch_s = max(batch["TFLOP"] / rate, batch["operations"] * OPERATION_S)
    num_evaluations = 1 + -(-config.num_steps // config.eval_every)
    drawn_s = config.num_eval_prompts * counts["drawing TFLOP"] / rate
    updates_s = config.num_steps * config.gradient_accumulation * batch_s
    return (updates_s + num_evaluations * drawn_s) / 3600


def table(families: dict[str, Any]) -> str:
    """The table of the page, in Markdown."""
    lines = [
        "| presets | card | updates x pictures | at once | way | TFLOP a picture | GiB | hours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for family, preset in FAMILIES.items():
        name = family.replace("rocm", "rocm-*")
        for card in CARDS:
            config = with_hardware(RunConfig.load(preset), card.hardware)
            counts = families[key_of(family, config.batch_size, config.precision)]
            way = way_of(config, counts, card)
            chosen = counts["ways"][way]
            pictures = config.batch_size * config.gradient_accumulation
            cells = [
                f"`paper-{name}-*`",
                card.name,
                f"{config.num_steps:,} x {pictures}",
                str(config.batch_size),
                way,
                f"{chosen['TFLOP'] / config.batch_size:.1f}",
                f"{peak_gib(counts, way):.1f}",
                f"{hours(config, counts, way, card):.2g}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def document(text: str) -> str:
    """`text` with everything between the marker lines replaced by the table."""
    families = json.loads(COUNTS.read_text(encoding="utf-8"))
    head, rest = text.split(START)
    return head + START + "\n" + table(families) + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(document(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
