"""Prompts of a study: lists that others publish are read from a folder or the hub, never shipped.

Not given in the paper: which 100 PartiPrompts and 200 HPS prompts. Ours are those whose
sha256(seed | prompt) comes first, so the sample is the same with every version of every library.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from rocm.errors import ConfigError, MissingFile
from rocm.prompts.split import EMBEDDED
from rocm.study.design.recipe import Prompts

STYLES = ("anime", "concept-art", "paintings", "photo")
SHARES = {
    "own": {"own": 1},
    "paper": {"parti": 1, "hps": 2},
    "offline": {"parti": 1, "imagereward": 1, "spo": 1},
    "file": {"file": 1},
}
# Whole words; a prompt with one is left out, because raters did not ask for such pictures.
BLOCKED = frozenset(
    "nude naked nudity nsfw topless porn porno pornographic sex sexy sexual erotic erotica hentai "
    "lingerie bikini boobs breast breasts nipple nipples penis vagina genitals orgasm fetish "
    "gore gory blood bloody corpse beheaded decapitated suicide rape torture nazi hitler "
    "swastika".split()
)


@dataclass(frozen=True)
class Chosen:
    """A prompt and where it comes from.

    Attributes:
        source: name of the list.
        source_row: its row there, from 0.
        category: as the list says, or empty.
        text: the prompt.
    """

    source: str
    source_row: int
    category: str
    text: str


@dataclass(frozen=True)
class Sample:
    """Prompts of a study.

    Attributes:
        analysed: in the order of the sample.
        extra: more of the same, for practice and checks.
        sha256: of each list that was read, by its name.
        num_blocked: prompts left out because of a word.
    """

    analysed: tuple[Chosen, ...]
    extra: tuple[Chosen, ...]
    sha256: dict[str, str]
    num_blocked: int


def sample(prompts: Prompts, num_extra: int, seed: int) -> Sample:
    """A seeded sample of a set.

    Args:
        prompts: which set and how many.
        num_extra: prompts besides, for practice and checks.
        seed: of the sample.

    Returns:
        The prompts, none twice.

    Raises:
        MissingFile: a list is not there.
        ConfigError: too few prompts, or a list that cannot be read.
    """
    blocked = BLOCKED | _words(prompts.blocked_words)
    shares = SHARES[prompts.set]
    num_blocked, seen = 0, set[str]()
    analysed: list[Chosen] = []
    extra: list[Chosen] = []
    hashes: dict[str, str] = {}
    wanted = _split(prompts.num, shares)
    for name, num in wanted.items():
        rows, hashes[name] = _read(name, prompts)
        fresh = [row for row in rows if row.text not in seen]
        allowed = [row for row in fresh if not blocked & set(_tokens(row.text))]
        num_blocked += len(fresh) - len(allowed)
        ordered = sorted(allowed, key=lambda row: _rank(seed, row.text))
        if len(ordered) < num:
            raise ConfigError(
                f"prompts.num={prompts.num} asks for {num} prompts of {name}, which has "
                f"{len(ordered)}. Lower it."
            )
        analysed += ordered[:num]
        extra += ordered[num:]
        seen |= {row.text for row in rows}
    if len(extra) < num_extra:
        raise ConfigError(
            f"{num_extra} prompts are needed for practice and checks, besides the {prompts.num} "
            f"that are analysed; {len(extra)} are left. Lower prompts.num, practice or checks."
        )
    extra.sort(key=lambda row: _rank(seed, row.text))
    return Sample(tuple(analysed), tuple(extra[:num_extra]), hashes, num_blocked)


def _split(num: int, shares: dict[str, int]) -> dict[str, int]:
    """`num` by shares, rounded down; the last list takes the rest."""
    whole = sum(shares.values())
    counts = {name: num * share // whole for name, share in shares.items()}
    counts[list(shares)[-1]] += num - sum(counts.values())
    return counts


def _rank(seed: int, text: str) -> bytes:
    return sha256(f"{seed}|{text}".encode()).digest()


def _tokens(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _words(path: str) -> set[str]:
    return set(_tokens(_text(Path(path)))) if path else set()


def _read(name: str, prompts: Prompts) -> tuple[list[Chosen], str]:
    """Rows of a list, without doubles, and the sha256 of its files."""
    files = _files(name, prompts)
    rows: dict[str, Chosen] = {}
    digest = sha256()
    number = 0
    for category, file in files:
        content = _text(file)
        digest.update(content.encode())
        for text, own_category in _parse(name, file, content):
            row = Chosen(name, number, own_category or category, text.strip())
            number += 1
            if 1 <= len(row.text) <= 1000:
                rows.setdefault(row.text, row)
    return list(rows.values()), digest.hexdigest()


def _files(name: str, prompts: Prompts) -> list[tuple[str, Path]]:
    if name == "own":
        return [("", EMBEDDED / "eval.txt")]
    if name == "file":
        return [("", Path(prompts.file).expanduser())]
    find: Callable[[str], Path] = _in_folder(prompts.folder) if prompts.folder else _on_hub(name)
    if name == "hps":
        return [(style, find(f"benchmark/{style}.json")) for style in STYLES]
    listed = {
        "parti": "PartiPrompts.tsv",
        "imagereward": "ImageReward_benchmark-prompts.json",
        "spo": "SPO_4k_training_prompts.json",
    }
    return [("", find(listed[name]))]


def _in_folder(folder: str) -> Callable[[str], Path]:
    def find(file: str) -> Path:
        for path in (Path(folder).expanduser() / file, Path(folder).expanduser() / Path(file).name):
            if path.is_file():
                return path
        raise MissingFile(
            f"prompts.folder={folder} has no {file}. Put it there, leave prompts.folder out to "
            "load it from the Hugging Face hub, or choose prompts.set: own."
        )

    return find


def _on_hub(name: str) -> Callable[[str], Path]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    repositories = {"parti": "nateraw/parti-prompts", "hps": "zhwang/HPDv2"}

    def find(file: str) -> Path:
        if name not in repositories:
            raise MissingFile(f"The list {file} is on no hub. Give its folder as prompts.folder.")
        try:
            return Path(hf_hub_download(repositories[name], file, repo_type="dataset"))
        except (LocalEntryNotFoundError, EntryNotFoundError, HfHubHTTPError, OSError) as error:
            raise MissingFile(
                f"{file} could not be loaded from the hub's {repositories[name]}. Give a folder "
                "with it as prompts.folder, or choose prompts.set: own."
            ) from error

    return find


def _parse(name: str, file: Path, content: str) -> Iterable[tuple[str, str]]:
    """Prompts and categories of one file."""
    try:
        if file.suffix == ".tsv":
            rows = csv.DictReader(content.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
            return [(row["Prompt"], row["Category"]) for row in rows]
        if file.suffix == ".json":
            return [(_prompt_of(one), "") for one in json.loads(content)]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} is not the list of {name} as it is published.") from error
    return [(line, "") for line in content.splitlines() if line.strip()]


def _prompt_of(one: object) -> str:
    if isinstance(one, dict):
        return str(one["prompt"] if "prompt" in one else one["caption"])
    return str(one)


def _text(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MissingFile(f"{path} cannot be read as UTF-8 text. Give another file.") from error
