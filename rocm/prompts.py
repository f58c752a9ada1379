"""Prompts to train on and, never overlapping, prompts to evaluate on."""

import hashlib
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rocm.config import ROOT, check_text
from rocm.errors import ConfigError, MissingFile

Item = TypeVar("Item")
EMBEDDED = ROOT / "assets" / "prompts"
MAX_CHARACTERS = 1000
MAX_FILE_BYTES = 100_000_000


@dataclass(frozen=True)
class PromptSet:
    """Disjoint prompts.

    Attributes:
        train: drawn from in training.
        evaluation: fixed, drawn with fixed noise at every evaluation.
        sha256: of both lists, for the manifest.
    """

    train: tuple[str, ...]
    evaluation: tuple[str, ...]
    sha256: str


def check_prompt(prompt: str) -> str:
    """The prompt without surrounding white space.

    Args:
        prompt: as the user gave it.

    Returns:
        The prompt to draw.

    Raises:
        ConfigError: empty, longer than 1,000 characters, or no text.
    """
    text = check_text("prompt", prompt).strip()
    if not text:
        raise ConfigError(
            "The prompt is empty. Describe a picture, such as: a glossy emoji of a red apple"
        )
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            f"The prompt has {len(text):,} characters; at most {MAX_CHARACTERS:,} are allowed. "
            "Shorten it."
        )
    return text


def load_prompts(source: str, num_eval_prompts: int, seed: int) -> PromptSet:
    """Load and split prompts.

    Args:
        source: `embedded`, or a text file with one prompt per line. Of a file, a seeded sample is
            held out for evaluation; the embedded lists share no object.
        num_eval_prompts: evaluation prompts to take.
        seed: of the sample.

    Returns:
        The prompts, without duplicates.

    Raises:
        MissingFile: no such file.
        ConfigError: a prompt is not allowed, or there are too few.
    """
    if source == "embedded":
        train, evaluation = _read(EMBEDDED / "train.txt"), _read(EMBEDDED / "eval.txt")
    else:
        prompts = _read(Path(os.path.expanduser(source)))
        random.Random(f"evaluation/{seed}").shuffle(prompts)
        evaluation, train = prompts[:num_eval_prompts], prompts[num_eval_prompts:]
    if len(evaluation) < num_eval_prompts or not train:
        raise ConfigError(
            f"prompts={source} has {len(train)} prompts to train and {len(evaluation)} to evaluate "
            f"on, but num_eval_prompts={num_eval_prompts}. Lower it, or give more prompts."
        )
    evaluation = evaluation[:num_eval_prompts]
    digest = hashlib.sha256("\n".join([*train, "", *evaluation]).encode()).hexdigest()
    return PromptSet(tuple(train), tuple(evaluation), digest)


def training_item(items: Sequence[Item], seed: int, index: int) -> Item:
    """The index-th training prompt: every one once per epoch, each epoch in its own order."""
    epoch, position = divmod(index, len(items))
    order = random.Random(f"{seed}/{epoch}").sample(range(len(items)), len(items))
    return items[order[position]]


def noise_seed(seed: int, index: int) -> int:
    """Noise seed of the index-th training picture, in [0, 2**63); it depends on nothing else."""
    digest = hashlib.sha256(f"noise/{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _read(path: Path) -> list[str]:
    return list(dict.fromkeys(read_lines(path)))


def read_lines(path: Path) -> list[str]:
    """The prompts of a text file, one per line, as often as they stand there.

    Args:
        path: the file.

    Returns:
        The prompts; empty lines are left out.

    Raises:
        MissingFile: no such file.
        ConfigError: no text file, or a prompt is not allowed.
    """
    unusable = ConfigError(
        f"prompts={path} is not a UTF-8 text file with one prompt per line, of at most "
        f"{MAX_FILE_BYTES // 1_000_000} MB. Give such a file, or 'embedded'."
    )
    if not os.path.exists(path):
        raise MissingFile(
            f"prompts={str(path)[:200]} does not exist. "
            "Give a text file with one prompt per line, or 'embedded'."
        )
    # A device or a pipe may never end.
    if not os.path.isfile(path) or path.stat().st_size > MAX_FILE_BYTES:
        raise unusable
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise unusable from error
    prompts = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                prompts.append(check_prompt(line))
            except ConfigError as error:
                raise ConfigError(f"Line {number} of {path}: {error}") from error
    return prompts
