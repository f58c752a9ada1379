"""What bfloat16, compiled blocks and a recorded update need, checked without torch."""

import os
import shutil
import sysconfig
from pathlib import Path

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.reward_names import parse_mixture

WITHOUT_FEATURES = ("imagereward",)  # rewards that read a prompt anew beside every picture
BFLOAT16_SINCE = 8.0  # compute capability of Ampere; older cards emulate it slowly or not at all


def check_precision(config: RunConfig, capability: float | None) -> None:
    """Refuse bfloat16 on a card that has none.

    Args:
        config: of a run.
        capability: CUDA's compute capability of the card that computes; None without one.

    Raises:
        ConfigError: says which cards have it, and what to set instead.
    """
    if config.precision == "bf16" and capability is not None and capability < BFLOAT16_SINCE:
        raise ConfigError(
            f"precision=bf16 needs a card of compute capability {BFLOAT16_SINCE:.1f} (Ampere) or "
            f"newer, and this one has {capability:.1f}. Leave --hardware out, which sets it, and "
            "set precision=fp16, with which the paper's presets need a card of 24 GB, or fp32."
        )


def check_compiler(config: RunConfig) -> None:
    """Refuse to compile blocks where no compiler is.

    Args:
        config: of a run.

    Raises:
        ConfigError: a C++ compiler or Python's headers are missing.
    """
    if not config.compile_blocks:
        return
    compiler = os.environ.get("CXX", "g++")  # as torch looks for it
    missing = []
    if shutil.which(compiler) is None:
        missing.append(f"the C++ compiler {compiler}")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        missing.append("Python's headers (Python.h)")
    if missing:
        raise ConfigError(
            f"compile_blocks=true, but {' and '.join(missing)} cannot be found. "
            "Install g++ and python3-dev, or set compile_blocks=false."
        )


def check_recording(config: RunConfig, is_cuda: bool, num_processes: int = 1) -> None:
    """Refuse to record an update that cannot be repeated as it was.

    Args:
        config: of a run.
        is_cuda: whether it computes on CUDA.
        num_processes: that share it.

    Raises:
        ConfigError: says what cannot be recorded, and what can.
    """
    if not config.cuda_graph:
        return
    unread = [name for name in parse_mixture(config.reward) if name in WITHOUT_FEATURES]
    is_sampled = config.divergence == "js" and config.js_estimator == "sampled"
    obstacles = (
        (not is_cuda, "no CUDA device is used here", "Use device=cuda on a machine that has one"),
        (config.algorithm != "rocm", f"algorithm={config.algorithm} scores pictures between passes"
         " of the network", "Set algorithm=rocm"),
        (config.backprop in ("random_k", "refl", "draft_lv"), f"backprop={config.backprop} draws "
         "anew what an update does", "Set backprop to full, last_k or drtune"),
        (is_sampled, "js_estimator=sampled draws on the CPU", "Set js_estimator=quadrature"),
        (bool(unread), f"reward={''.join(unread[:1])} reads the prompt on the CPU",
         "Train on another reward"),
        (config.precision == "fp16", "precision=fp16 reads out whether an update fits",
         "Set precision to bf16 or fp32"),
        (not config.flat_lora, "without flat_lora gradients change their place",
         "Set flat_lora=true"),
        (num_processes > 1, f"the run is shared by {num_processes} processes", "Start it in one"),
    )  # fmt: skip
    for is_met, reason, advice in obstacles:
        if is_met:
            raise ConfigError(
                f"cuda_graph=true repeats one recorded update, but {reason}. "
                f"{advice}, or set cuda_graph=false."
            )
