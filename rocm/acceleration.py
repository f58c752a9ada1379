"""What compiled blocks and a recorded update need, checked without torch."""

import os
import shutil
import sysconfig
from pathlib import Path

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.reward_names import parse_mixture

WITHOUT_FEATURES = ("imagereward",)  # rewards that read a prompt anew beside every picture


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
