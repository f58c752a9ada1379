"""The graphics card, asked of its driver, and settings that suit a card's memory."""

import shutil
import subprocess

from rocm.config import RunConfig
from rocm.config.presets import HARDWARE, gigabytes, hardware_names, read_yaml
from rocm.errors import ConfigError

SHARE_OF_CARD = 0.9  # a card of 24 GB has a little less than that


def card_mb(field: str) -> float | None:
    """`memory.free` or `memory.total` of the first CUDA card in MB, from its driver, or None."""
    mib = _asked(field)
    return None if mib is None else mib * 1.048576


def card_capability() -> float | None:
    """Compute capability of the first CUDA card, asked of the driver; None without a card."""
    return _asked("compute_cap")


def _asked(field: str) -> float | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = answer.stdout.split()
    return float(lines[0]) if lines else None


def with_hardware(config: RunConfig, name: str) -> RunConfig:
    """The settings for a card, with as many pictures in an update as before.

    The overlay sets number format, recomputation and at most its batch size, a larger one if the
    algorithm compares the pictures of a batch. `auto` is the largest overlay that this machine's
    card has room for, or ConfigError.
    """
    if name == "auto":
        name = _detected()
    if name not in hardware_names():
        raise ConfigError(
            f"--hardware {name[:80]} is not known. Give {', '.join(hardware_names())} or auto."
        )
    overlay = read_yaml(HARDWARE / f"{name}.yaml")
    pictures, most = config.batch_size * config.gradient_accumulation, overlay["batch_size"]
    sizes = [n for n in range(1, pictures + 1) if pictures % n == 0]
    refused = []
    # The largest that the card should hold, otherwise the smallest that is larger.
    for batch in sorted(sizes, key=lambda n: (n > most, abs(n - most))):
        overlay |= {"batch_size": batch, "gradient_accumulation": pictures // batch}
        try:
            return RunConfig.load(config.model_dump(), **overlay)
        except ConfigError as error:  # the algorithm compares the pictures of a batch
            refused.append(error)
    raise refused[0]


def _detected() -> str:
    total = card_mb("memory.total") or 0.0
    fitting = [name for name in hardware_names() if gigabytes(name) * SHARE_OF_CARD <= total / 1e3]
    if not fitting:
        raise ConfigError(
            f"--hardware auto found no CUDA card of at least {hardware_names()[0]}"
            f"{f', only one of {total / 1e3:.0f} GB' if total else ''}. "
            "Give the settings themselves: batch_size, precision, gradient_checkpointing."
        )
    return fitting[-1]
