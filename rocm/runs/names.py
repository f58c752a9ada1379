"""The name of a run that people see everywhere, and its short id."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from rocm.config import RunConfig
from rocm.config.presets import preset_names
from rocm.config.training import EvaluationSettings, MachineSettings
from rocm.errors import RocmError

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
DATED = re.compile(r"(.+)-\d{8}-\d{6}-(\w{4})")
MOST_CHANGES = 3
# Settings of the machine and of evaluations change no adapter.
UNTOLD = {"description", *MachineSettings.model_fields, *EvaluationSettings.model_fields}
WORDS = {"num_steps": "updates", "num_inference_steps": "N"}


def run_name(path: Path, about: dict[str, Any], config: RunConfig | None) -> str:
    """The run's title, else its preset and what was changed: `tiny-rocm-kl beta 10 seed 1`.

    `path` is the run's folder; `about` has its `title` and `preset`.
    """
    if about.get("title"):
        return str(about["title"])
    dated = DATED.fullmatch(path.name)
    preset = about.get("preset") or (dated[1] if dated else path.name)
    base = _preset(preset, path.parent.parent / "presets")
    return " ".join([preset, *(_changes(config, base) if config and base else ())])


def short_id(run_id: str) -> str:
    """The four random characters of a run's id, or a whole id without them."""
    dated = DATED.fullmatch(run_id)
    return dated[2] if dated else run_id.rpartition("-sweep-")[2]


def run_label(run_id: str, name: str) -> str:
    """Name and short id, which tell a run from all others."""
    short = short_id(run_id)
    return name if name == short else f"{name} ({short})"


def _changes(config: RunConfig, base: RunConfig) -> list[str]:
    told = [name for name in RunConfig.model_fields if name not in UNTOLD]
    changed = [name for name in told if getattr(config, name) != getattr(base, name)]
    words = [_words(name, getattr(config, name)) for name in changed[:MOST_CHANGES]]
    more = len(changed) - MOST_CHANGES
    return [*words, f"and {more} more"] if more > 0 else words


def _words(name: str, value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    said = f"{value:g}" if is_number else {True: "on", False: "off", "": "none"}.get(value, value)
    return f"{WORDS.get(name, name.replace('_', ' '))} {str(said)[:40]}"


def _preset(name: str, own: Path) -> RunConfig | None:
    """The settings of a shipped preset or of one saved in `own`; None for neither."""
    if name in preset_names():
        return _shipped(name)
    file = own / f"{name}.yaml"
    try:
        return RunConfig.load(file) if file.is_file() else None
    except RocmError:  # the list of presets says what is wrong with it
        return None


@lru_cache(maxsize=64)
def _shipped(name: str) -> RunConfig:
    return RunConfig.load(name)
