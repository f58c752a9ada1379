"""Prompts to train on and, never overlapping, prompts to evaluate on."""

import hashlib
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.prompts.files import HUB, find_hub_prompts, read_prompts
from rocm.prompts.files import check_prompt as check_prompt
from rocm.storage.paths import ROOT

Item = TypeVar("Item")
Source = Callable[[str, str], tuple[list[str], str]]
"""(source, column of a table) -> prompts, and the revision that they are from or an empty text."""
EMBEDDED = ROOT / "assets" / "prompts"

PARTS = {"training": "train.txt", "validation": "eval.txt", "test": "test.txt"}
"""Parts that prompts belong to for good, and the embedded model's lists of them."""
TEST_SHARE, VALIDATION_SHARE = 0.15, 0.15


@dataclass(frozen=True)
class PromptSet:
    """Disjoint prompts; those of `evaluation` are drawn with fixed noise at every evaluation.

    `sha256` is of both lists; `revision` the data set's commit, empty for a file.
    """

    train: tuple[str, ...]
    evaluation: tuple[str, ...]
    sha256: str
    revision: str = ""


def load_prompts(
    source: str, num_eval_prompts: int, seed: int, column: str = "", num_prompts: int = 0
) -> PromptSet:
    """Load and split prompts; nothing is downloaded.

    Evaluation prompts are disjoint from the others by construction: prompts that differ in capitals
    or white space only are one prompt before the split. The embedded lists share no object. The
    first prompts of the sample evaluate, the next `num_prompts` (0: all) train. Raises
    `MissingFile` without the file or data set, `ConfigError` for a bad prompt or too few.
    """
    revision = ""
    if source == "embedded":
        train, evaluation = (
            _without_repeats(read_prompts(EMBEDDED / name)) for name in ("train.txt", "eval.txt")
        )
    else:
        kind, colon, _ = source.partition(":")
        read = SOURCES.get(kind + colon, _from_file)
        texts, revision = read(source, column)
        prompts = _without_repeats(texts)
        random.Random(f"evaluation/{seed}").shuffle(prompts)
        evaluation, train = prompts[:num_eval_prompts], prompts[num_eval_prompts:]
    if len(evaluation) < num_eval_prompts or len(train) < max(num_prompts, 1):
        also = f"num_prompts={num_prompts} and " if num_prompts else ""
        raise ConfigError(
            f"prompts={source} has {len(train)} prompts to train and {len(evaluation)} to evaluate "
            f"on, but {also}num_eval_prompts={num_eval_prompts}. Lower it, or give more prompts."
        )
    train, evaluation = train[: num_prompts or None], evaluation[:num_eval_prompts]
    digest = hashlib.sha256("\n".join([*train, "", *evaluation]).encode()).hexdigest()
    return PromptSet(tuple(train), tuple(evaluation), digest, revision)


def prompts_of(config: RunConfig) -> PromptSet:
    """The prompts of a run; raises as `load_prompts`."""
    return load_prompts(
        config.prompts,
        config.num_eval_prompts,
        config.seed,
        config.prompt_column,
        config.num_prompts,
    )


def _from_file(source: str, column: str) -> tuple[list[str], str]:
    return read_prompts(Path(os.path.expanduser(source)), column), ""


def _from_hub(source: str, column: str) -> tuple[list[str], str]:
    downloaded = find_hub_prompts(source, column)
    return downloaded.prompts, downloaded.commit


# Sources by the prefix of the setting `prompts`; any other text is a file. See docs/extending.md.
SOURCES: dict[str, Source] = {HUB: _from_hub}


def part_of(prompt: str) -> str:
    """The part of `PARTS` that a prompt belongs to, whatever study or run uses it.

    Prompts of the embedded lists belong to the part of their list, others by their hash: 70 % to
    training, 15 % to validation, 15 % to test.
    """
    name = _folded(prompt)
    if name in (known := _embedded_parts()):
        return known[name]
    place = int.from_bytes(hashlib.sha256(f"part/{name}".encode()).digest()[:6], "big") / 2**48
    if place < TEST_SHARE:
        return "test"
    return "validation" if place < TEST_SHARE + VALIDATION_SHARE else "training"


@cache
def _embedded_parts() -> dict[str, str]:
    return {
        _folded(prompt): part
        for part, name in PARTS.items()
        for prompt in read_prompts(EMBEDDED / name)
    }


def training_item(items: Sequence[Item], seed: int, index: int) -> Item:
    """The index-th training prompt: every one once per epoch, each epoch in its own order."""
    epoch, position = divmod(index, len(items))
    order = random.Random(f"{seed}/{epoch}").sample(range(len(items)), len(items))
    return items[order[position]]


def noise_seed(seed: int, index: int) -> int:
    """Noise seed of the index-th training picture, in [0, 2**63); it depends on nothing else."""
    digest = hashlib.sha256(f"noise/{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _without_repeats(prompts: list[str]) -> list[str]:
    """The first of those that differ in capitals or white space only."""
    first: dict[str, str] = {}
    for prompt in prompts:
        first.setdefault(_folded(prompt), prompt)
    return list(first.values())


def _folded(prompt: str) -> str:
    return " ".join(prompt.casefold().split())
