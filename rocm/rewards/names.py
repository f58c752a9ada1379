"""Names of the rewards and how a mixture of them is written, for readers that hold no torch."""

import difflib
import math
import os
import re
from collections.abc import Iterable

from rocm.errors import ConfigError, MissingDependency
from rocm.rewards.files import PUBLISHED, is_usable

WITHOUT_GRADIENT = ("compressibility", "incompressibility")
PIXEL_NAMES = ("colorfulness", "saturation", "smoothness", *WITHOUT_GRADIENT)
CLIP_FOLDERS = {"tiny-clip": "assets/tiny-clip", "tiny-judge": "assets/tiny-judge"}
EMBEDDED_MODEL = "assets/tiny-lcm"
EMBEDDED = ("tiny-clip", "colorfulness", "saturation")
NAMES = (*PIXEL_NAMES, *CLIP_FOLDERS, *PUBLISHED)
OFFICIAL = tuple(f"official:{name}" for name in ("hpsv2", "hpsv2.1", "imagereward", "blipscore"))
KL = "kl_nats"
STATISTIC_NAMES = ("saturation", "contrast", "edge_density", "color_entropy")


def check_reward(name: str) -> str:
    """The name, if it is one.

    Args:
        name: of `NAMES`, or `clip:FOLDER`.

    Returns:
        The name.

    Raises:
        ConfigError: unknown name.
    """
    if name in NAMES or (name.startswith("clip:") and name != "clip:"):
        return name
    near = difflib.get_close_matches(name, NAMES, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise ConfigError(f"Unknown reward '{name}'.{hint} Rewards: {', '.join(NAMES)}, clip:FOLDER.")


def check_measured(name: str) -> str:
    """The name, if pictures can be measured by it: a reward, or one as its own package has it.

    Args:
        name: of `OFFICIAL`, or as in `check_reward`.

    Returns:
        The name.

    Raises:
        ConfigError: unknown name.
        MissingDependency: the official packages are not installed, or not named.
    """
    if name not in OFFICIAL:
        return check_reward(name)
    if not os.environ.get("ROCM_REFERENCE_PYTHON"):
        raise MissingDependency(
            f"{name} needs the official packages, and ROCM_REFERENCE_PYTHON names no environment "
            "of them. Run: python -m scripts.reference FOLDER, and set the variable as it says."
        )
    return name


def measurable() -> list[str]:
    """What can be measured here, to choose from: the official packages too where they are."""
    official = OFFICIAL if os.environ.get("ROCM_REFERENCE_PYTHON") else ()
    here = usable_published()
    return [*EMBEDDED, *here, *(name for name in official if name.partition(":")[2] in here)]


def check_gradient(names: Iterable[str], algorithm: str) -> None:
    """Refuse to back-propagate through what is only a number, or to estimate what is not.

    Args:
        names: of the trained rewards.
        algorithm: as in `RunConfig`.

    Raises:
        ConfigError: rocm needs a gradient that one of them does not have, or hybrid a reward
            without one.
    """
    missing = [name for name in names if name in WITHOUT_GRADIENT]
    if missing and algorithm == "rocm":
        raise ConfigError(
            f"reward={missing[0]} has no gradient, and algorithm=rocm needs one. "
            "Set algorithm=hybrid or algorithm=rlcm, or leave that reward out."
        )
    if algorithm == "hybrid" and not missing:
        raise ConfigError(
            "Every part of the reward has a gradient, so that nothing is left for hybrid's policy "
            f"gradient. Set algorithm=rocm, or add one of {', '.join(WITHOUT_GRADIENT)}."
        )


def tracked(track: str, reward: str, model: str) -> list[str]:
    """The rewards that are measured besides the trained one.

    Args:
        track: as in `RunConfig`: names separated by commas, or `auto`.
        reward: what is trained.
        model: that is trained.

    Returns:
        Names in order; those of `auto` are usable.

    Raises:
        ConfigError: the trained mixture cannot be read.
    """
    if track.strip() != "auto":
        return [name.strip() for name in track.split(",") if name.strip()]
    # A published reward takes seconds a picture on a CPU: too long for the embedded model's runs.
    is_small = model == EMBEDDED_MODEL and not set(parse_mixture(reward)) & set(PUBLISHED)
    return [*EMBEDDED, *(() if is_small else usable_published())]


def usable_published() -> list[str]:
    """Published rewards whose files are on this disk."""
    return [name for name in PUBLISHED if is_usable(name)]


def parse_mixture(text: str) -> dict[str, float]:
    """Reward names and weights from text such as `0.7*tiny-clip+0.3*colorfulness`.

    Args:
        text: names joined by +, each with an optional weight and * in front.

    Returns:
        Weight by name, in order.

    Raises:
        ConfigError: not of that form, a name twice, or every weight 0.
    """
    weights: dict[str, float] = {}
    for term in re.split(r"\s*\+\s*", text.strip()):
        weight, star, name = term.rpartition("*")
        try:
            value = float(weight) if star else 1.0
        except ValueError:
            value = math.nan
        if not name.strip() or name.strip() in weights or not math.isfinite(value):
            raise ConfigError(
                f"reward={text!r} cannot be read. Write one reward, or a mixture such as "
                "0.7*tiny-clip+0.3*colorfulness, each name once."
            )
        weights[name.strip()] = value
    if not any(weights.values()):
        raise ConfigError(f"reward={text!r} has no weight but 0, so nothing would be trained.")
    return weights
