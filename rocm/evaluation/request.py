"""A request for a comparison, and the checks of its prompts and counts."""

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
from rocm.runs.adapters import BASE, shipped_adapters

AXES = {
    "num_inference_steps": "sampler steps",
    "adapter_strength": "adapter strength",
    "guidance_scale": "guidance",
    "checkpoint": "checkpoint",
}
SETS = {"held-out": "eval.txt", "training": "train.txt"}
REWARDS = ("tiny-preference", "tiny-clip")
JUDGE = str(RunConfig.model_fields["judge"].default)
MAX_PROMPTS, MAX_SEEDS, MAX_ARMS, MAX_VALUES = 2000, 64, 64, 16
ASK_ABOVE = 256
MAX_PUBLIC = 64
NUM_FIRST_PROMPTS = 8
FIRST_ARMS = ("tiny-rocm-kl", "tiny-rlcm", "tiny-rocm-beta0")


@dataclass(frozen=True)
class Request:
    """A comparison as the page or the command line asks for it."""

    arms: tuple[str, ...]  # names of adapters, see docs/models.md
    prompts: tuple[str, ...]
    seed: int = 0  # of the first picture of each prompt; the others have consecutive seeds
    num_seeds: int = 1  # pictures of each prompt and arm
    num_inference_steps: int = 4
    guidance_scale: float = 8.5  # in diffusers' convention
    model: str = ""  # folder; empty for the arms' own model
    axis: str = ""  # a setting to vary, of `AXES`, or empty
    values: tuple[float, ...] = ()  # of the axis; empty for all checkpoints of each run
    rewards: tuple[str, ...] = REWARDS  # besides the judge and those trained on


def first_request() -> Request:
    """What the page opens on: base model, shipped adapters, a few held-out prompts."""
    order = {name: place for place, name in enumerate(FIRST_ARMS)}
    shipped = sorted(shipped_adapters(), key=lambda name: order.get(Path(name).name, len(order)))
    return Request((BASE, *shipped), tuple(prompt_set("held-out", NUM_FIRST_PROMPTS, 0)))


def check_prompts(prompts: Sequence[str]) -> tuple[str, ...]:
    """The prompts without surrounding white space; ConfigError for none, too many, or a bad one."""
    if not prompts:
        raise ConfigError("There are no prompts. Write one per line, or choose a set.")
    check_count("prompts", len(prompts), MAX_PROMPTS)
    checked = []
    for number, prompt in enumerate(prompts, start=1):
        control = next((c for c in prompt.strip() if unicodedata.category(c) == "Cc"), "")
        if control:
            raise ConfigError(
                f"Prompt {number} holds the control character {control!a}, which no model can "
                "read. Remove it."
            )
        try:
            checked.append(check_prompt(prompt))
        except ConfigError as error:
            raise ConfigError(f"Prompt {number}: {error}") from error
    check_once("Prompt", checked)
    return tuple(checked)


def prompt_set(name: str, num: int, seed: int, is_public: bool = False) -> list[str]:
    """`num` random prompts of a set, all if it has fewer; a larger `num` starts with the same ones.

    `name` is of `SETS` or, unless `is_public`, a text file with one prompt per line. RocmError if
    the set does not exist or cannot be read.
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


def check_count(noun: str, count: int, most: int, low: int = 1) -> None:
    """Refuse a number of things that is out of bounds."""
    if not low <= count <= most:
        raise ConfigError(f"{count:,} {noun} were given; allowed are {low} to {most:,}.")


def check_once(noun: str, given: Sequence[Hashable]) -> None:
    """Refuse a list with a repetition; `noun` is capitalized and names an element."""
    first: dict[Hashable, int] = {}
    for number, value in enumerate(given, start=1):
        if first.setdefault(value, number) != number:
            raise ConfigError(
                f"{noun}s {first[value]} and {number} are the same ({str(value)[:100]!r}). "
                f"Give each {noun.lower()} once."
            )
