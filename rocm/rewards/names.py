"""Names of the rewards and the syntax of mixtures; no torch."""

import math
import os
import re
from collections.abc import Collection

from rocm.config import RunConfig
from rocm.config.algorithms import Algorithm
from rocm.errors import ConfigError, MissingDependency, did_you_mean
from rocm.rewards.files import PUBLISHED, is_usable
from rocm.rewards.preference_files import is_preference, learned_here, read_preference
from rocm.rewards.user_files import check_user_reward, is_user_reward

WITHOUT_GRADIENT = ("compressibility", "incompressibility")
PIXEL_NAMES = ("colorfulness", "saturation", "smoothness", *WITHOUT_GRADIENT)
CLIP_FOLDERS = {
    "tiny-preference": "assets/tiny-preference",
    "tiny-clip": "assets/tiny-clip",
    "tiny-judge": "assets/tiny-judge",
}
EMBEDDED_MODEL = "assets/tiny-lcm"
EMBEDDED = ("tiny-preference", "tiny-clip", "colorfulness", "saturation")
TASTE = "taste"
"""The gold reward of the embedded world: measured, never trained on, read by no judge."""
NAMES = (*PIXEL_NAMES, *CLIP_FOLDERS, *PUBLISHED)
OFFICIAL = tuple(f"official:{name}" for name in ("hpsv2", "hpsv2.1", "imagereward", "blipscore"))
KL = "kl_nats"
STATISTIC_NAMES = ("saturation", "contrast", "edge_density", "color_entropy")


def check_reward(name: str) -> str:
    """The name, if it is of `NAMES` or of a form that the ConfigError lists."""
    if name == TASTE:
        raise ConfigError(
            "taste is the gold reward that simulated raters vote by: it is only measured (track), "
            "so that it can tell what training on a learned reward did. Train on tiny-preference."
        )
    if name in NAMES or (name.startswith("clip:") and name != "clip:"):
        return name
    if is_user_reward(name):
        check_user_reward(name)
        return name
    if is_preference(name):
        read_preference(name)
        return name
    raise ConfigError(
        f"Unknown reward '{name}'.{did_you_mean(name, NAMES)} Rewards: {', '.join(NAMES)}, "
        "clip:FOLDER, preference:NAME, path/to/file.py:name."
    )


def check_tracked(name: str) -> str:
    """The name, if it is `TASTE` or as in `check_reward`."""
    return name if name == TASTE else check_reward(name)


def check_measured(name: str) -> str:
    """The name, if it is of `OFFICIAL` and its packages are known, or as in `check_tracked`."""
    if name not in OFFICIAL:
        return check_tracked(name)
    if not os.environ.get("ROCM_REFERENCE_PYTHON"):
        raise MissingDependency(
            f"{name} needs the official packages, but ROCM_REFERENCE_PYTHON is not set. "
            "Run: python -m scripts.reference FOLDER, and set the variable as it says."
        )
    return name


def measurable() -> list[str]:
    """Names that pictures can be measured by on this machine, official packages included."""
    official = OFFICIAL if os.environ.get("ROCM_REFERENCE_PYTHON") else ()
    here = [*usable_published(), *learned_here()]
    return [*EMBEDDED, TASTE, *here, *(name for name in official if name.partition(":")[2] in here)]


def check_gradient(
    names: Collection[str], algorithm: Algorithm, blind: Collection[str] | None = None
) -> None:
    """Refuse rewards without gradient where the algorithm needs the gradient, and the reverse.

    `blind` are those of the user's own rewards that have no gradient; None while that is not known.
    """
    missing = [name for name in names if name in {*WITHOUT_GRADIENT, *(blind or ())}]
    if missing and algorithm.needs_gradient:
        raise ConfigError(
            f"reward={missing[0]} has no gradient, but algorithm=rocm needs one. "
            "Set algorithm=hybrid or algorithm=rlcm, or leave that reward out."
        )
    is_known = blind is not None or not any(is_user_reward(name) for name in names)
    if algorithm.estimates_blind and not missing and is_known:
        raise ConfigError(
            "Every part of the reward has a gradient, so hybrid's policy gradient has nothing to "
            f"estimate. Set algorithm=rocm, or add one of {', '.join(WITHOUT_GRADIENT)}."
        )


def tracked(config: RunConfig) -> list[str]:
    """The rewards that a run measures besides the trained one and the judge."""
    if config.track.strip() != "auto":
        return [name.strip() for name in config.track.split(",") if name.strip()]
    is_embedded = config.model == EMBEDDED_MODEL
    # A published reward takes seconds a picture on a CPU: too long for the embedded model's runs.
    is_small = is_embedded and not set(parse_mixture(config.reward)) & set(PUBLISHED)
    names = [*EMBEDDED, *(() if is_small else usable_published())]
    # Other prompts have no drawing to be near to.
    return [*names, TASTE] if is_embedded and config.prompts == "embedded" else names


def audited(config: RunConfig) -> str:
    """The reward beside the judge that nothing is chosen by, or empty."""
    if config.audit.strip() != "auto":
        return config.audit.strip()
    is_known = config.model == EMBEDDED_MODEL and config.prompts == "embedded"
    return TASTE if config.is_judge_steering and is_known else ""


def usable_published() -> list[str]:
    """Published rewards whose files are on this disk."""
    return [name for name in PUBLISHED if is_usable(name)]


def parse_mixture(text: str) -> dict[str, float]:
    """Weights by name, in order, of text such as `0.7*tiny-clip+0.3*saturation`; or ConfigError."""
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
        raise ConfigError(
            f"reward={text!r} has only weights of 0, so nothing would be trained. Give a weight."
        )
    return weights
