"""Shipped settings: presets, families of presets that share a file, and overlays for hardware.

A family is a file of settings with `variants`, a list of axes. An axis gives each of its names some
settings; a preset takes one of each axis and is called family-name-name.
"""

import os
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from rocm.errors import ConfigError, MissingFile, did_you_mean
from rocm.storage import files
from rocm.storage.paths import ROOT

EXPECTED = "Expected lines like 'beta: 0.1'."
PRESETS = ROOT / "presets"
FAMILIES = PRESETS / "families"
FIRST_PRESET = "tiny-rocm-kl"
HARDWARE = PRESETS / "hardware"
VARIANTS = "variants"
# What a shipped preset's name begins with, and its group; the first that fits. The page has the
# same headings in assets/style.css.
GROUPS = {
    "tiny-rocm": "Embedded model: ROCM",
    "tiny-": "Embedded model: other methods",
    "paper-rocm": "Paper: ROCM on LCM Dreamshaper v7",
    "paper-": "Paper: baselines on the same model",
    "original-": "Baselines with their own papers' settings",
}


def preset_names() -> list[str]:
    """Names of the shipped presets: `FIRST_PRESET`, others with a file by name, the families'."""
    own = sorted({path.stem for path in PRESETS.glob("*.yaml")} - {FIRST_PRESET})
    return [FIRST_PRESET, *own, *family_presets()]


def preset_groups() -> dict[str, list[str]]:
    """Names of the shipped presets by their group's heading, in the order of `preset_names`."""
    groups: dict[str, list[str]] = {heading: [] for heading in GROUPS.values()}
    for name in preset_names():
        start = next(start for start in GROUPS if name.startswith(start))
        groups[GROUPS[start]].append(name)
    return groups


@lru_cache(maxsize=1)
def family_presets() -> dict[str, dict[str, Any]]:
    """Settings of every preset of a family, by name; families by name, variants as they stand."""
    presets = {}
    for path in sorted(FAMILIES.glob("*.yaml")):
        shared = read_yaml(path)
        axes = shared.pop(VARIANTS)
        for chosen in product(*(axis.items() for axis in axes)):
            settings = dict(shared)
            for _, own in chosen:
                settings |= own
            settings["description"] = settings["description"].format(**settings)
            presets["-".join([path.stem, *(name for name, _ in chosen)])] = settings
    return presets


def hardware_names() -> list[str]:
    """Names of the overlays for hardware, the smallest card first."""
    return sorted((path.stem for path in HARDWARE.glob("*.yaml")), key=gigabytes)


def gigabytes(hardware: str) -> int:
    """Memory of the card that an overlay is for, in GB."""
    return int(hardware.removesuffix("gb"))


def read_settings(source: str | Path) -> dict[str, Any]:
    """The values of a preset or a YAML file by setting name, unchecked."""
    if str(source) in family_presets():
        return dict(family_presets()[str(source)])
    return read_yaml(_find(source))


def read_yaml(path: Path) -> dict[str, Any]:
    """A file of settings, unchecked; ConfigError if it is none."""
    values = files.read_yaml(path, EXPECTED)
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no settings. {EXPECTED}")
    return {str(name): value for name, value in values.items()}


def _find(source: str | Path) -> Path:
    preset = PRESETS / f"{source}.yaml"
    if os.path.isfile(preset):
        return preset
    path = Path(source)
    if os.path.isfile(path):
        return path
    hint = did_you_mean(str(source), preset_names())
    raise MissingFile(
        f"'{str(source)[:200]}' is neither a preset nor a file.{hint} "
        f"Presets: {', '.join(preset_names())}."
    )
