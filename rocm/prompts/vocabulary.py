"""Words that a small model has seen in training, so that a page can name those that it has not.

A model folder may hold `vocabulary.json`, as the embedded model's does: the words of all training
captions, and the subjects that can be drawn. Other models are taken to know every word.
"""

import functools
import json
import os
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rocm.storage.paths import ROOT

FILE = "vocabulary.json"
CAPTION = "a {style} emoji of {subject} on a {ground} background"
MAX_NAMED = 8


@dataclass(frozen=True)
class Vocabulary:
    """What a model has seen: `words` of all captions in lower case, `subjects` with articles.

    `names` are the subjects' names and everyday names as tuples of words, `styles` and `grounds`
    (background colors) are words of captions, `pattern` is the regular expression of a word.
    """

    words: frozenset[str]
    subjects: tuple[str, ...]
    names: frozenset[tuple[str, ...]]
    styles: tuple[str, ...]
    grounds: tuple[str, ...]
    pattern: str

    def split(self, text: str) -> list[str]:
        """The words of a text, in lower case."""
        return re.findall(self.pattern, text.lower())

    def unknown(self, prompt: str) -> list[str]:
        """Words that no training caption held, in order, each once."""
        return [word for word in dict.fromkeys(self.split(prompt)) if word not in self.words]

    def has_subject(self, prompt: str) -> bool:
        """Whether a prompt holds the name of a subject."""
        words = self.split(prompt)
        longest = max(map(len, self.names))
        return any(
            tuple(words[start : start + size]) in self.names
            for size in range(1, longest + 1)
            for start in range(len(words) - size + 1)
        )

    def caption(self, subject: str, seed: int = 0) -> str:
        """A training caption of a subject, in a style and on a ground that the seed draws."""
        rng = random.Random(f"{subject}/{seed}")
        style, ground = rng.choice(self.styles), rng.choice(self.grounds)
        article = "an" if ground[0] in "aeiou" else "a"
        caption = CAPTION.format(style=style, subject=subject, ground=ground)
        return caption.replace(f"on a {ground}", f"on {article} {ground}")


def load_vocabulary(model: str) -> Vocabulary | None:
    """The vocabulary of a model folder; None if there is none."""
    folders = (Path(os.path.expanduser(model)), ROOT / model)
    files = [str(folder / FILE) for folder in folders if os.path.isfile(folder / FILE)]
    return _read(Path(files[0])) if files else None


@functools.lru_cache(maxsize=4)
def _read(file: Path) -> Vocabulary:
    record = json.loads(file.read_text(encoding="utf-8"))
    pattern, subjects = record["pattern"], record["subjects"]
    names = [name for row in subjects for name in (row["name"], *row["aliases"])]
    return Vocabulary(
        words=frozenset(record["words"]),
        subjects=tuple(row["caption"] for row in subjects),
        names=frozenset(tuple(re.findall(pattern, name.lower())) for name in names),
        styles=tuple(record["styles"]),
        grounds=tuple(record["grounds"]),
        pattern=pattern,
    )


def remark(prompts: Sequence[str], model: str) -> str:
    """What a model has not seen of some prompts, in at most two sentences; empty for nothing."""
    vocabulary = load_vocabulary(model)
    if vocabulary is None:
        return ""
    unknown = list(dict.fromkeys(w for prompt in prompts for w in vocabulary.unknown(prompt)))
    said = []
    if unknown:
        rest = f" and {len(unknown) - MAX_NAMED} more" if len(unknown) > MAX_NAMED else ""
        said.append(f"Unknown to this model: {', '.join(unknown[:MAX_NAMED])}{rest}.")
    missing = [n for n, p in enumerate(prompts, 1) if p.strip() and not vocabulary.has_subject(p)]
    if missing:
        whose = "The prompt names"
        if len(prompts) > 1:
            numbers = ", ".join(map(str, missing[:MAX_NAMED]))
            more = ", ..." if len(missing) > MAX_NAMED else ""
            whose = f"{len(missing)} of {len(prompts)} prompts (number {numbers}{more}) name"
        said.append(f"{whose} no subject that this model can draw, so the pictures are arbitrary.")
    return " ".join(said)
