"""Checks before a run starts, which need neither a model nor torch."""

import os
import shutil
import sysconfig
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from rocm.config import RunConfig
from rocm.config.hardware import card_capability, card_mb
from rocm.errors import ConfigError, RocmError
from rocm.models.files import check_model
from rocm.prompts.split import prompts_of
from rocm.rewards.files import PUBLISHED, find_weights
from rocm.rewards.names import (
    audited,
    check_gradient,
    check_reward,
    check_tracked,
    parse_mixture,
    tracked,
)
from rocm.rewards.preference_files import check_base, is_preference
from rocm.rewards.user_files import is_user_reward
from rocm.storage.paths import find_folder
from rocm.training.estimate import Estimate
from rocm.training.preferences import load_preferences


def problems(
    config: RunConfig, forecast: Estimate, runs: Path | None = None, is_here: bool = True
) -> list[str]:
    """One sentence for each reason that a run with these settings would fail or learn nothing.

    `runs` is the folder of the runs that a table of preferences may name. Without `is_here` the
    run is trained on another machine, whose devices and memory are not known.
    """
    checks: list[Callable[[], object]] = [
        lambda: check_model(config.model),
        lambda: prompts_of(config),
        *(partial(_check_files, *named) for named in _named(config)),
        lambda: check_gradient(parse_mixture(config.reward), config.method),
        lambda: check_base(parse_mixture(config.reward), config.model),
        *([lambda: load_preferences(config.preferences, (), runs)] if config.preferences else []),
    ]
    checks_here: list[Callable[[], object]] = [
        lambda: check_precision(config, None if config.device == "cpu" else card_capability()),
        lambda: check_compiler(config),
        lambda: check_recording(
            config, is_cuda=config.device != "cpu" and card_mb("memory.free") is not None
        ),
    ]
    checks += [*checks_here * is_here, lambda: _check_judge(config)]
    checks += [lambda: _check_card(config), lambda: _check_memory(config, forecast)] * is_here
    return list(dict.fromkeys(filter(None, map(_sentence, checks))))


def _named(config: RunConfig) -> list[tuple[str, Callable[[str], str]]]:
    """Every reward of a run with the check of its name."""
    try:
        trained = list(parse_mixture(config.reward))
    except RocmError:
        return []  # said by the check of the mixture itself
    # The judge's highest score may choose the adapter, so it is no mere measurement.
    optimized = [(name, check_reward) for name in [*trained, *filter(None, [config.judge])]]
    measured = [*tracked(config), *filter(None, [audited(config)])]
    return [*optimized, *((name, check_tracked) for name in measured)]


def _check_files(name: str, check: Callable[[str], str]) -> None:
    check(name)
    if name in PUBLISHED:
        find_weights(name)
    if name.startswith("clip:"):
        find_folder(name.removeprefix("clip:"))


def _sentence(check: Callable[[], object]) -> str:
    try:
        check()
    except RocmError as error:
        return str(error)
    return ""


def _check_judge(config: RunConfig) -> None:
    trained = parse_mixture(config.reward)
    for setting, name in (("judge", config.judge), ("audit", audited(config))):
        if name and name in trained:
            raise ConfigError(
                f"{setting}={name} is also trained, so nothing is held out. "
                f"Choose another {setting}, or leave it empty."
            )


def _check_card(config: RunConfig) -> None:
    if config.device == "cuda" and card_mb("memory.free") is None:
        raise ConfigError("device=cuda, but no CUDA device is visible. Use device=cpu or auto.")


def _check_memory(config: RunConfig, forecast: Estimate) -> None:
    if forecast.memory_mb is None or config.gradient_checkpointing != "off":
        return  # with recomputation a batch takes little more than one pass
    free_mb, whose = None if config.device == "cpu" else card_mb("memory.free"), "the GPU"
    if free_mb is None:
        free_mb, whose = psutil.virtual_memory().available / 1e6, "this machine"
    if forecast.memory_mb > free_mb:
        raise ConfigError(
            f"batch_size={config.batch_size} needs about {forecast.memory_mb:,.0f} MB, and {whose} "
            f"has {free_mb:,.0f} MB free. Lower batch_size and raise gradient_accumulation, or set "
            "gradient_checkpointing=auto."
        )


BFLOAT16_SINCE = 8.0  # compute capability of Ampere; older cards emulate it slowly or not at all


def check_precision(config: RunConfig, capability: float | None) -> None:
    """Refuse bfloat16 on a card without it, by CUDA's compute capability; None without a card."""
    if config.precision == "bf16" and capability is not None and capability < BFLOAT16_SINCE:
        raise ConfigError(
            f"precision=bf16 needs a card of compute capability {BFLOAT16_SINCE:.1f} (Ampere) or "
            f"newer, and this one has {capability:.1f}. Leave --hardware out, which sets it, and "
            "set precision=fp16, with which the paper's presets need a card of 24 GB, or fp32."
        )


def check_compiler(config: RunConfig) -> None:
    """Refuse to compile blocks without a C++ compiler and Python's headers."""
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


def _reads_prompts(name: str) -> bool:
    """Whether a reward reads a prompt again beside every picture, instead of kept features."""
    return name == "imagereward" or is_user_reward(name) or is_preference(name)


def check_recording(config: RunConfig, is_cuda: bool, num_processes: int = 1) -> None:
    """Refuse to record an update that cannot be repeated as it was; says what can be recorded."""
    if not config.cuda_graph:
        return
    unread = [name for name in parse_mixture(config.reward) if _reads_prompts(name)]
    is_sampled = config.divergence == "js" and config.js_estimator == "sampled"
    obstacles = (
        (not is_cuda, "no CUDA device is used here", "Use device=cuda on a machine that has one"),
        (not config.method.needs_gradient, f"algorithm={config.algorithm} scores pictures between "
         "passes of the network", "Set algorithm=rocm"),
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
