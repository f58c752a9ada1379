"""Prompts of a study: published lists are read from a folder or the hub, never shipped.

Not given in the paper: which 100 PartiPrompts and 200 HPS prompts. Ours are those with the smallest
sha256(seed | prompt), so the sample is the same with every version of every library.
"""

import csv
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from rocm.errors import ConfigError, MissingFile
from rocm.prompts.files import lines_of
from rocm.prompts.split import EMBEDDED, PARTS, part_of
from rocm.study.design.recipe import Prompts

STYLES = ("anime", "concept-art", "paintings", "photo")
FILES = {
    "parti": "PartiPrompts.tsv",
    "imagereward": "ImageReward_benchmark-prompts.json",
    "spo": "SPO_4k_training_prompts.json",
}
REPOSITORIES = {"parti": "nateraw/parti-prompts", "hps": "zhwang/HPDv2"}
SHARES = {
    "own": {"own": 1},
    "paper": {"parti": 1, "hps": 2},
    "offline": {"parti": 1, "imagereward": 1, "spo": 1},
    "file": {"file": 1},
}
# Whole words; a prompt with such a word is excluded: raters did not agree to such pictures.
BLOCKED = frozenset(
    "nude naked nudity nsfw topless porn porno pornographic sex sexy sexual erotic erotica hentai "
    "lingerie bikini boobs breast breasts nipple nipples penis vagina genitals orgasm fetish "
    "gore gory blood bloody corpse beheaded decapitated suicide rape torture nazi hitler "
    "swastika".split()
)


@dataclass(frozen=True)
class SampledPrompt:
    """A prompt and its source: the list's name, the row there (from 0), and its category or ""."""

    source: str
    source_row: int
    category: str
    text: str


@dataclass(frozen=True)
class Sample:
    """Prompts of a study."""

    analyzed: tuple[SampledPrompt, ...]  # in the order of the sample
    extra: tuple[SampledPrompt, ...]  # more of the same, for practice and checks
    sha256: dict[str, str]  # of each list that was read, by its name
    num_blocked: int  # prompts excluded because of a word


def sample(prompts: Prompts, num_extra: int, seed: int) -> Sample:
    """A seeded sample of a prompt set, without duplicates; `num_extra` for practice and checks."""
    analyzed: list[SampledPrompt] = []
    extra: list[SampledPrompt] = []
    lists = _lists(prompts)

    def rank(row: SampledPrompt) -> bytes:
        return sha256(f"{seed}|{row.text}".encode()).digest()

    for name, num in _split(prompts.num, SHARES[prompts.set]).items():
        allowed = sorted(lists.allowed[name], key=rank)
        if len(allowed) < num:
            raise ConfigError(
                f"prompts.num={prompts.num} needs {num} prompts of {name}, which has "
                f"{len(allowed)}. Lower prompts.num."
            )
        analyzed += allowed[:num]
        extra += allowed[num:]
    if len(extra) < num_extra:
        raise ConfigError(
            f"Practice and checks need {num_extra} prompts in addition to the {prompts.num} "
            f"analyzed ones, but only {len(extra)} are left. Lower prompts.num, practice or checks."
        )
    extra.sort(key=rank)
    return Sample(tuple(analyzed), tuple(extra[:num_extra]), lists.sha256, lists.num_blocked)


def largest_num(prompts: Prompts, num_extra: int) -> int:
    """The largest `prompts.num`, at most the given one, that `sample` can take; 0 if none."""
    sizes = {name: len(rows) for name, rows in _lists(prompts).allowed.items()}
    for num in range(min(prompts.num, sum(sizes.values()) - num_extra), 0, -1):
        split = _split(num, SHARES[prompts.set])
        if all(wanted <= sizes[name] for name, wanted in split.items()):
            return num
    return 0


@dataclass(frozen=True)
class _Lists:
    """A set's lists: prompts without duplicates and blocked words, by name; hashes; the blocked."""

    allowed: dict[str, list[SampledPrompt]]
    sha256: dict[str, str]
    num_blocked: int


def _lists(prompts: Prompts) -> _Lists:
    more = prompts.blocked_words
    blocked = BLOCKED | set(_words(_text(Path(more))) if more else ())
    num_blocked, seen = 0, set[str]()
    found: dict[str, list[SampledPrompt]] = {}
    hashes: dict[str, str] = {}
    for name in SHARES[prompts.set]:
        rows, hashes[name] = _read(name, prompts)
        fresh = [row for row in rows if row.text not in seen]
        found[name] = [row for row in fresh if not blocked & set(_words(row.text))]
        num_blocked += len(fresh) - len(found[name])
        seen |= {row.text for row in rows}
    return _Lists(found, hashes, num_blocked)


def _split(num: int, shares: dict[str, int]) -> dict[str, int]:
    """`num` by shares, rounded down; the last list takes the rest."""
    whole = sum(shares.values())
    counts = {name: num * share // whole for name, share in shares.items()}
    counts[list(shares)[-1]] += num - sum(counts.values())
    return counts


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _read(name: str, prompts: Prompts) -> tuple[list[SampledPrompt], str]:
    """Rows of a list, without duplicates, and the sha256 of its files."""
    rows: dict[str, SampledPrompt] = {}
    digest = sha256()
    number = 0
    for category, file in _files(name, prompts):
        content = _text(file)
        digest.update(content.encode())
        for text, own_category in _parse(name, file, content):
            row = SampledPrompt(name, number, own_category or category, text.strip())
            number += 1
            if 1 <= len(row.text) <= 1000 and prompts.split in ("all", part_of(row.text)):
                rows.setdefault(row.text, row)
    return list(rows.values()), digest.hexdigest()


def _files(name: str, prompts: Prompts) -> list[tuple[str, Path]]:
    """Categories and files of a list."""
    if name == "own":
        return [("", EMBEDDED / PARTS.get(prompts.split, "eval.txt"))]
    if name == "file":
        return [("", Path(prompts.file).expanduser())]
    find = _in_folder if prompts.folder else _on_hub
    if name == "hps":
        return [(s, find(name, f"benchmark/{s}.json", prompts.folder)) for s in STYLES]
    return [("", find(name, FILES[name], prompts.folder))]


def _in_folder(name: str, file: str, folder: str) -> Path:
    for path in (Path(folder).expanduser() / file, Path(folder).expanduser() / Path(file).name):
        if path.is_file():
            return path
    raise MissingFile(
        f"prompts.folder={folder} has no {file}. Put the file there, leave prompts.folder empty to "
        "load it from the Hugging Face hub, or set prompts.set: own."
    )


def _on_hub(name: str, file: str, folder: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    if name not in REPOSITORIES:
        raise MissingFile(f"{file} is not on the hub. Give its folder as prompts.folder.")
    try:
        return Path(hf_hub_download(REPOSITORIES[name], file, repo_type="dataset"))
    except (LocalEntryNotFoundError, EntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise MissingFile(
            f"{file} could not be loaded from the hub's {REPOSITORIES[name]}. Give a folder "
            "with it as prompts.folder, or set prompts.set: own."
        ) from error


def _parse(name: str, file: Path, content: str) -> Iterable[tuple[str, str]]:
    """Prompts and categories of one file."""
    try:
        if file.suffix == ".tsv":
            rows = csv.DictReader(lines_of(content), delimiter="\t", quoting=csv.QUOTE_NONE)
            return [(row["Prompt"], row["Category"]) for row in rows]
        if file.suffix == ".json":
            return [(_prompt_of(row), "") for row in json.loads(content)]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} does not have the published format of {name}.") from error
    return [(line, "") for line in lines_of(content) if line.strip()]


def _prompt_of(row: object) -> str:
    if isinstance(row, dict):
        return str(row["prompt"] if "prompt" in row else row["caption"])
    return str(row)


def _text(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MissingFile(f"{path} cannot be read as UTF-8 text. Give another file.") from error
