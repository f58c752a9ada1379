"""The variants of the same update that the benchmarks compare, as settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rocm.config import RunConfig
from rocm.errors import ConfigError


@dataclass(frozen=True)
class Variant:
    """A variant of an update.

    `start` makes another update than training's from a run's parts: a function of the update's
    number, from 1. `measure` names the row with the same work and no repetition, whose FLOPs are
    the useful ones; empty without such a row.
    """

    name: str
    settings: dict[str, Any]  # of `RunConfig`, by name
    meaning: str
    start: Callable[[Any], Callable[[int], object]] | None = None
    measure: str = "plain"


ALL_OFF = {
    "gradient_checkpointing": "off",
    "lean_layers": "off",
    "flat_lora": False,
    "channels_last": "off",
    "reference_batch": 1,
    "keep_text": False,
    "compile_blocks": False,
    "cuda_graph": False,
}
BATCHED = ALL_OFF | {"reference_batch": 32, "keep_text": True}
FLAT = BATCHED | {"flat_lora": True, "channels_last": "auto"}
LEAN = FLAT | {"lean_layers": "on", "decode_batch": 1}
PLAIN = Variant("plain", ALL_OFF, "nothing recomputed, nothing optimized; others' measure")
NAIVE = Variant("naive", ALL_OFF | {"gradient_checkpointing": "on"}, "every call recomputed")
COUNTED = (
    PLAIN,
    NAIVE,
    Variant("batched", BATCHED, "the reference in one call, text features kept"),
    Variant("flat", FLAT, "the adapter as one vector besides, on a CPU with channels last"),
    Variant("lean", LEAN, "lean frozen layers, and pictures scored one at a time"),
    Variant("low-memory", LEAN | {"gradient_checkpointing": "on"}, "that, recomputed"),
)
VARIANTS = (
    *COUNTED,
    Variant("regional", FLAT | {"compile_blocks": True}, "flat, with compiled blocks"),
    Variant("graph", FLAT | {"cuda_graph": True}, "flat, recorded as one CUDA graph"),
)


def chosen(names: Sequence[str], among: tuple[Variant, ...] = VARIANTS) -> tuple[Variant, ...]:
    """Variants by name in the table's order, always with `plain`; all of `among` without a name.

    Raises ConfigError for an unknown name.
    """
    known = [variant.name for variant in among]
    for name in names:
        if name not in known:
            raise ConfigError(f"No variant '{name[:80]}'. Variants: {', '.join(known)}.")
    wanted = {PLAIN.name, *names} if names else set(known)
    return tuple(variant for variant in among if variant.name in wanted)


def settings_of(variant: Variant, base: RunConfig, ref_grad: str, batch: int) -> RunConfig:
    """A variant's settings for one update; no gradient is clipped, so that they can be compared."""
    return RunConfig.load(
        base.model_dump(),
        **variant.settings,
        ref_grad=ref_grad,
        batch_size=batch,
        gradient_accumulation=1,
        max_grad_norm=1e6,
        track="",
        judge="",
    )
