"""What cannot work, said before a run starts: the checks that need no model loaded."""

from collections.abc import Callable

import psutil

from rocm.acceleration import check_compiler, check_precision, check_recording
from rocm.config import RunConfig, find_folder
from rocm.errors import RocmError
from rocm.estimate import Estimate
from rocm.hardware import card_capability, card_mb
from rocm.model_files import check_model
from rocm.preferences import load_preferences
from rocm.prompts import prompts_of
from rocm.reward_files import PUBLISHED, find_weights
from rocm.reward_names import check_gradient, check_reward, parse_mixture, tracked


def problems(config: RunConfig, forecast: Estimate) -> list[str]:
    """Why a run with these settings would fail or teach nothing.

    Args:
        config: the settings.
        forecast: what it will take.

    Returns:
        One sentence each; empty if nothing is known.
    """
    checks: list[Callable[[], object]] = [
        lambda: check_model(config.model),
        lambda: prompts_of(config),
        *(lambda name=name: _check_reward(name) for name in _named(config)),
        lambda: check_gradient(parse_mixture(config.reward), config.algorithm),
        *([lambda: load_preferences(config.preferences, ())] if config.preferences else []),
        lambda: check_precision(config, None if config.device == "cpu" else card_capability()),
        lambda: check_compiler(config),
        lambda: check_recording(config, is_cuda=_has_card(config)),
    ]
    found = [_sentence(check) for check in checks]
    found += [_judge_is_trained(config), _no_card(config), _too_large(config, forecast)]
    return list(dict.fromkeys(sentence for sentence in found if sentence))


def free_memory_mb(device: str) -> tuple[float, str]:
    """Memory that a trainer may take now, in MB, and whose it is: the card's or the machine's."""
    card = None if device == "cpu" else card_mb("memory.free")
    if card is not None:
        return card, "the GPU"
    return psutil.virtual_memory().available / 1e6, "this machine"


def _named(config: RunConfig) -> list[str]:
    try:
        trained = list(parse_mixture(config.reward))
    except RocmError:
        return []  # said by the check of the mixture itself
    others = [*tracked(config.track, config.reward, config.model), config.judge]
    return [*trained, *filter(None, others)]


def _check_reward(name: str) -> None:
    check_reward(name)
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


def _judge_is_trained(config: RunConfig) -> str:
    try:
        trained = parse_mixture(config.reward)
    except RocmError:
        return ""
    if not config.judge or config.judge not in trained:
        return ""
    return (
        f"judge={config.judge} is also trained, so nothing is held out. "
        "Choose another judge, or leave it empty."
    )


def _has_card(config: RunConfig) -> bool:
    return config.device != "cpu" and card_mb("memory.free") is not None


def _no_card(config: RunConfig) -> str:
    if config.device != "cuda" or card_mb("memory.free") is not None:
        return ""
    return "device=cuda, but no CUDA device is visible. Use device=cpu or auto."


def _too_large(config: RunConfig, forecast: Estimate) -> str:
    if forecast.memory_mb is None or config.gradient_checkpointing != "off":
        return ""  # with recomputation a batch takes little more than one pass
    free_mb, whose = free_memory_mb(config.device)
    if forecast.memory_mb <= free_mb:
        return ""
    return (
        f"batch_size={config.batch_size} needs about {forecast.memory_mb:,.0f} MB, and {whose} has "
        f"{free_mb:,.0f} MB free. Lower batch_size and raise gradient_accumulation, or set "
        "gradient_checkpointing=auto."
    )
