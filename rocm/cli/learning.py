"""A reward from stored votes: pictures measured, the reward learned, checked and written."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from rocm.cli.study import StudyHome, study_home
from rocm.cli.tasters import read_pixels
from rocm.cli.trainer import silence_libraries
from rocm.errors import ConfigError, StudyError
from rocm.models.consistency import resolve_device
from rocm.rewards.load import load_rewards
from rocm.rewards.names import EMBEDDED, EMBEDDED_MODEL, WITHOUT_GRADIENT, usable_published
from rocm.rewards.preference import Features, save_preference, write_card
from rocm.rewards.preference_files import PREFIX, check_new_name, rewards_folder
from rocm.storage.files import make_folder
from rocm.study.archive.learning import Lesson, gather
from rocm.study.design import lifecycle
from rocm.study.design.rounds import NOT_PICKED
from rocm.study.report.learned import Learned, card, learn_reward
from rocm.study.statistics.preference_basis import Basis
from rocm.study.statistics.preference_fit import choose, ensemble, pick
from rocm.study.statistics.votes import Floats

STUDY = "study:"


def learn_from_votes(
    home: Path, studies: Sequence[str], name: str, rewards: str = "", embedding: str = ""
) -> str:
    """Learn `preference:NAME` from closed studies, each `study:ID`; what it is worth, in words.

    `rewards` (names with commas) and `embedding` are chosen by the pictures' model if empty. Raises
    ConfigError for a bad name, StudyError for studies that give no votes, or if the reward is
    refused: a sentence with its figure for each reason; the card is written then too.
    """
    folder = check_new_name(name, rewards_folder(home))
    if not all(study.startswith(STUDY) for study in studies):
        raise ConfigError(f"{' '.join(studies)} is no list of studies. Write study:ID.")
    with study_home(home) as at:
        lesson = gather(at.store, [study.removeprefix(STUDY) for study in studies])
        learned = teach(at, lesson, name, (rewards, embedding))
    if learned.refusals:
        reasons = " ".join(learned.refusals)
        raise StudyError(f"No reward was made. {reasons} All figures: {folder / 'card.html'}")
    return _summary(name, learned, folder)


def teach(
    at: StudyHome,
    lesson: Lesson,
    name: str,
    parts: tuple[str, str] = ("", ""),
    keeps_refused: bool = False,
) -> Learned:
    """Learn a reward and write it with its card, of a refused one the card alone.

    `parts` are rewards and embedding, as in `learn_from_votes`.
    """
    folder = rewards_folder(at.home) / name
    names, tower = _parts(*parts, lesson.model)
    learned, probe = _learned(at, lesson, names, tower)
    texts = card(name, lesson, learned)
    if learned.refusals and not keeps_refused:
        write_card(folder, texts)
        return learned
    record = {"format": 1, "rewards": names, "embedding": tower, "model": lesson.model}
    record["has_squares"] = True
    record |= {"studies": dict(lesson.manifests), "votes": dict(lesson.heads)}
    record |= {"num_votes": len(lesson.votes), "best_single": learned.best_single}
    tensors = {key: torch.from_numpy(np.asarray(x)) for key, x in learned.tensors.items()}
    save_preference(folder, {**tensors, "probe": probe}, record, texts)
    return learned


def is_refused(at: StudyHome, lesson: Lesson, parts: tuple[str, str] = ("", "")) -> bool:
    """Whether a reward of these votes and `parts` would be refused; nothing is written."""
    return bool(_learned(at, lesson, *_parts(*parts, lesson.model))[0].refusals)


def _learned(
    at: StudyHome, lesson: Lesson, rewards: Sequence[str], embedding: str
) -> tuple[Learned, torch.Tensor]:
    row, table, probe = measure(at, lesson.pictures, rewards, embedding)
    return learn_reward(lesson, row, table, rewards), probe


def pick_pairs(at: StudyHome, draft: str, studies: Sequence[str], num: int) -> int:
    """Exclude all pairs of a draft but `num`, which `pick` chooses by refits of closed studies.

    Pairs that people excluded stay so. Returns the number of pairs that stay. StudyError as
    `gather`.
    """
    lesson = gather(at.store, studies)
    names, tower = _parts("", "", lesson.model)
    row, table, _ = measure(at, lesson.pictures, names, tower)
    every = lifecycle.pairs(at.store, draft)
    pairs = [p for p in every if p.kind == "main" and p.struck in (None, NOT_PICKED)]
    drawn = {name: pair.text for pair in pairs for name in (pair.picture_a, pair.picture_b)}
    new_row, new_table, _ = measure(at, drawn, names, tower)
    basis = Basis.of(table, lesson.pairs(row), len(names))
    choices = lesson.choices(row, basis(table), *basis.sizes[:2])
    phi = basis(new_table)
    first, second = ([new_row[getattr(p, f"picture_{x}")] for p in pairs] for x in "ab")
    refits = ensemble(choices, choose(choices))
    num = min(num, len(pairs))
    kept = set(pick(refits, phi[first] - phi[second], num, seed=0))
    for k, pair in enumerate(pairs):
        if (k in kept) == bool(pair.struck):
            lifecycle.strike(at.store, draft, pair.id, None if k in kept else NOT_PICKED)
    return num


def _summary(name: str, learned: Learned, folder: Path) -> str:
    seen = learned.accuracy
    return (
        f"reward={PREFIX}{name} predicts {100 * (seen.share or 0):.1f} % of {seen.total} decided "
        f"votes on left-out prompts and raters.\n{folder / 'card.html'}"
    )


def _parts(rewards: str, embedding: str, model: str) -> tuple[list[str], str]:
    """Names of the rewards and of the embedding."""
    published = usable_published()
    default = [*EMBEDDED, "smoothness"] if model == EMBEDDED_MODEL else [*EMBEDDED[2:], *published]
    names = [name.strip() for name in (rewards or ",".join(default)).split(",")]
    blind = [name for name in names if name in WITHOUT_GRADIENT]
    if blind:
        raise ConfigError(
            f"{blind[0]} has no gradient, so a reward made of it has none. Leave it out."
        )
    towers = [name for name in ("pickscore", "hpsv2.1", "hpsv2", "clipscore") if name in published]
    known = ["tiny-clip"] if model == EMBEDDED_MODEL else towers
    if not embedding and not known:
        raise ConfigError(
            f"No network for pictures of {model} is here. Download a CLIP (python -m rocm rewards "
            "--download pickscore), or give --embedding."
        )
    return names, embedding or known[0]


def measure(
    at: StudyHome, pictures: Mapping[str, str], rewards: Sequence[str], embedding: str
) -> tuple[dict[str, int], Floats, torch.Tensor]:
    """Row of each picture, f (M, 2 K + 2 E), and f of a fixed picture, as `Features.probe`.

    `pictures` are prompts by picture id. f is kept below `rewards/features` of the home. Its name
    hashes the fixed picture's f too, so that features of replaced networks are not taken for these.
    """
    silence_libraries()
    device = resolve_device("auto")
    features = Features.of(load_rewards({*rewards, embedding}, device), rewards, embedding)
    probe = features.probe(device).cpu()
    shown = sorted(pictures.items())
    key = sha256(repr((shown, rewards, embedding)).encode() + probe.numpy().tobytes()).hexdigest()
    file = rewards_folder(at.home) / "features" / f"{key[:24]}.npy"
    if not file.is_file():

        def read() -> Iterator[tuple[torch.Tensor, str]]:
            for name, prompt in shown:
                yield read_pixels(at.pictures, name), prompt

        table = features.table(read(), device).numpy()
        make_folder(file.parent)
        np.save(file, table)
    row = {name: k for k, (name, _) in enumerate(shown)}
    return row, np.load(file).astype(float), probe
