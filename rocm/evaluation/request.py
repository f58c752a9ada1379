"""What a comparison is asked for, and the words that say what is wrong with it."""

import os
import random
import unicodedata
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.generation.picture import MAX_SEED, whole_number
from rocm.prompts.files import read_prompts
from rocm.prompts.split import EMBEDDED, check_prompt

AXES = {
    "num_inference_steps": "sampler steps",
    "adapter_strength": "adapter strength",
    "guidance_scale": "guidance",
    "checkpoint": "checkpoint",
}
SETS = {"held-out": "eval.txt", "training": "train.txt"}
REWARDS = ("tiny-clip", "colorfulness")
JUDGE = str(RunConfig.model_fields["judge"].default)
MAX_PROMPTS, MAX_SEEDS, MAX_ARMS, MAX_VALUES = 2000, 64, 64, 16
ASK_ABOVE = 256
MAX_PUBLIC = 64


@dataclass(frozen=True)
class Request:
    """What a page or a command line asks for.

    Attributes:
        arms: names of arms: `base`, `run:ID`, or adapter folders.
        prompts: to draw.
        seed: of the first picture of each prompt; the others follow.
        num_seeds: pictures of each prompt and arm.
        num_inference_steps: N.
        guidance_scale: in diffusers' convention.
        model: folder; empty for the arms' own.
        axis: one more thing to vary, of `AXES`; empty for nothing.
        values: of the axis; none for all checkpoints of each run.
        rewards: measured besides those that the arms were trained on and the held-out judge.
    """

    arms: tuple[str, ...]
    prompts: tuple[str, ...]
    seed: int = 0
    num_seeds: int = 1
    num_inference_steps: int = 4
    guidance_scale: float = 8.5
    model: str = ""
    axis: str = ""
    values: tuple[float, ...] = ()
    rewards: tuple[str, ...] = REWARDS


def check_prompts(prompts: Sequence[str]) -> tuple[str, ...]:
    """Prompts that can be compared: each allowed, each once.

    Args:
        prompts: as they were typed or read.

    Returns:
        The prompts, without surrounding white space.

    Raises:
        ConfigError: none, too many, one that is not allowed, or one given twice.
    """
    if not prompts:
        raise ConfigError("There are no prompts. Write one per line, or choose a set.")
    check_count("prompts", len(prompts), MAX_PROMPTS)
    checked = []
    for number, prompt in enumerate(prompts, start=1):
        strange = next((one for one in prompt.strip() if unicodedata.category(one) == "Cc"), "")
        if strange:
            raise ConfigError(
                f"Prompt {number} holds the control character {strange!a}, which no model can "
                "read. Remove it."
            )
        try:
            checked.append(check_prompt(prompt))
        except ConfigError as error:
            raise ConfigError(f"Prompt {number}: {error}") from error
    check_once("Prompt", checked)
    return tuple(checked)


def prompt_set(name: str, num: int, seed: int, is_public: bool = False) -> list[str]:
    """Prompts of a set, at random.

    Args:
        name: of `SETS`, or a text file with one prompt per line.
        num: how many; all if the set has fewer.
        seed: of the draw; a larger `num` with the same seed begins with the same prompts.
        is_public: whether only `SETS` may be named.

    Returns:
        The prompts.

    Raises:
        RocmError: there is no such set, or it cannot be read.
    """
    num = whole_number("number of prompts", num, 1, MAX_PROMPTS)
    if name in SETS:
        known = read_prompts(EMBEDDED / SETS[name])
    elif is_public:
        raise ConfigError(f"There is no set '{name[:100]}'. Sets: {', '.join(SETS)}.")
    else:
        known = read_prompts(Path(os.path.expanduser(name)))
        check_once("Prompt", known)
    order = random.Random(f"compare/{whole_number('seed', seed, 0, MAX_SEED)}")
    return order.sample(known, len(known))[:num]


def check_count(what: str, count: int, most: int, low: int = 1) -> None:
    """Refuse a number of things that is out of bounds; `what` names them."""
    if not low <= count <= most:
        raise ConfigError(f"{count:,} {what} were given; allowed are {low} to {most:,}.")


def check_once(what: str, given: Sequence[Hashable]) -> None:
    """Refuse a list in which something stands twice; `what` names one of them, capitalised."""
    first: dict[Hashable, int] = {}
    for number, one in enumerate(given, start=1):
        if first.setdefault(one, number) != number:
            raise ConfigError(
                f"{what}s {first[one]} and {number} are the same ({str(one)[:100]!r}). "
                f"Give each {what.lower()} once."
            )
