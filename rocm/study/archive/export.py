"""Exports: CSV and Parquet, Pick-a-Pic's columns, preferences for TRL, battles, pictures.

Practice, checks, pilots and excluded votes are in the long table only.
"""

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from io import StringIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

from rocm.errors import StudyError
from rocm.storage.progress import counted
from rocm.study.store import chain
from rocm.study.store.pictures import SUFFIX, Pictures
from rocm.study.store.rows import Vote
from rocm.study.store.store import Store

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def export(store: Store, pictures: Pictures, study_id: str, folder: Path, question: str) -> Path:
    """Write every export of a closed study, with preferences on `question`, into a folder.

    StudyError before it is closed: votes with the names of arms tell the outcome.
    """
    about = store.study(study_id)
    if about.config_sha256 is None:
        raise StudyError("A draft has no votes to export. Open the study first.")
    if about.status != "closed":
        raise StudyError(
            f"The study is {about.status}, and an export tells its outcome. Close it first: "
            f"python -m rocm study close {study_id}. For a copy of the votes without the names of "
            f"the arms: python -m rocm study pack {study_id} --votes"
        )
    keys = [asked.key for asked in store.questions(study_id)]
    if question not in keys:
        raise StudyError(f"question={question!r} is not asked here: {', '.join(keys)}.")
    votes = store.votes(study_id)
    chosen = [vote for vote in votes if vote.question == question and is_analyzed(vote)]
    long = [{"manifest": about.config_sha256, **asdict(vote)} for vote in votes]
    with store.database.read() as connection:
        chained = chain.end_of(connection, study_id)
    facts = {
        "study": study_id,
        "title": about.title,
        "status": about.status,
        "is_demo": about.is_demo,
        "sources": sorted({vote.source for vote in votes}),
        "manifest": about.config_sha256,
        "question": question,
        "votes": len(votes),
        "analyzed": len(chosen),
        "chain": chained,
        "ties": sum(vote.choice == "tie" for vote in chosen),
    }
    names = ["manifest", *(field.name for field in fields(Vote))]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "votes.csv").write_text(csv_text(names, long), encoding="utf-8")
        _write_parquet(folder / "votes.parquet", names, long)
        _write_lines(folder / "pick-a-pic.jsonl", (pick_a_pic(vote, about) for vote in chosen))
        preferred = (preference(vote, about) for vote in chosen if vote.choice != "tie")
        _write_lines(folder / "preferences.jsonl", preferred)
        battles = (battle(vote, about) for vote in chosen if not vote.within)
        _write_lines(folder / "battles.jsonl", battles)
        _write_pictures(folder / "pictures.zip", pictures, votes)
        (folder / "manifest.json").write_text(json.dumps(about.config, indent=1), encoding="utf-8")
        (folder / "export.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    except OSError as error:
        raise StudyError(
            f"Cannot write the export to {folder}: {error.strerror}. Choose another folder."
        ) from error
    return folder


def is_analyzed(vote: Vote) -> bool:
    """Whether a vote is of an analyzed pair, seen for the first time, and not excluded."""
    return vote.kind == "main" and vote.repetition == 0 and not vote.excluded


def csv_text(names: list[str], rows: Iterable[dict[str, Any]]) -> str:
    """Rows as CSV with a header; a text that looks like a formula is led by an apostrophe."""
    buffer = StringIO(newline="")
    table = csv.DictWriter(buffer, names)
    table.writeheader()
    for row in rows:
        table.writerow({name: _harmless(value) for name, value in row.items()})
    return buffer.getvalue()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def pick_a_pic(vote: Vote, about: Any) -> dict[str, Any]:
    """A vote in the columns of Pick-a-Pic; picture 0 is arm a's, a tie is one half each."""
    label = {"a": 1.0, "tie": 0.5, "b": 0.0}[vote.choice]
    return {
        "are_different": True,
        "best_image_uid": {"a": vote.image_a, "b": vote.image_b, "tie": ""}[vote.choice],
        "caption": vote.text,
        "created_at": vote.created_at,
        "has_label": True,
        "image_0_uid": vote.image_a,
        "image_1_uid": vote.image_b,
        "image_0_url": f"pictures/{vote.image_a}{SUFFIX}",
        "image_1_url": f"pictures/{vote.image_b}{SUFFIX}",
        "label_0": label,
        "label_1": 1 - label,
        "model_0": vote.arm_a,
        "model_1": vote.arm_b,
        "num_example_per_prompt": 1,
        "ranking_id": vote.trial,
        "user_id": vote.rater,
        "source": vote.source,
        "manifest": about.config_sha256,
    }


def preference(vote: Vote, about: Any) -> dict[str, Any]:
    """A vote that is no tie, as TRL's preference format: prompt, chosen, rejected."""
    chosen, rejected = (vote.image_a, vote.image_b)[:: 1 if vote.choice == "a" else -1]
    return {
        "prompt": vote.text,
        "chosen": f"pictures/{chosen}{SUFFIX}",
        "rejected": f"pictures/{rejected}{SUFFIX}",
        "seed": vote.seed,
        "rater": vote.rater,
        "source": vote.source,
        "comparison": vote.comparison,
        "manifest": about.config_sha256,
    }


def battle(vote: Vote, about: Any) -> dict[str, Any]:
    """A vote as FastChat's arena has battles; a tie of two bad pictures is its `tie (bothbad)`."""
    winner = {"a": "model_a", "b": "model_b", "tie": "tie"}[vote.choice]
    return {
        "question_id": vote.trial,
        "model_a": vote.arm_a,
        "model_b": vote.arm_b,
        "winner": "tie (bothbad)" if vote.tie_reason == "both_bad" else winner,
        "judge": f"rater_{vote.rater}",
        "tstamp": vote.created_at,
        "anony": True,
        "source": vote.source,
        "manifest": about.config_sha256,
    }


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write_parquet(path: Path, names: list[str], rows: list[dict[str, Any]]) -> None:
    import pyarrow.parquet

    columns = {name: [row[name] for row in rows] for name in names}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def _write_pictures(path: Path, pictures: Pictures, votes: list[Vote]) -> None:
    shown = sorted({image for vote in votes for image in (vote.image_a, vote.image_b)})
    with ZipFile(path, "w", ZIP_STORED) as bundle:
        for picture_id in counted(shown):
            bundle.write(pictures.file(picture_id), f"pictures/{picture_id}{SUFFIX}")
