"""A closed study's votes as the table that D3PO is trained on, in a file named by its content.

Every vote that is no tie is a row: a pair that divides people should pull both ways.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import select

from rocm.config import RunConfig
from rocm.errors import StudyError
from rocm.prompts.split import part_of, prompts_of
from rocm.runs.adapters import BASE, WEIGHTS
from rocm.storage.files import make_folder, write_atomic
from rocm.storage.numbers import quantity
from rocm.storage.paths import ROOT
from rocm.study.archive.export import is_analyzed
from rocm.study.store.rows import Vote
from rocm.study.store.store import Store
from rocm.study.store.studies import named
from rocm.study.store.tables import arm

PREFIX = "study:"
SHARED = ("model", "num_inference_steps", "guidance_scale", "grid")
"""Settings that the run must share with the arms: its pictures are those that people judged."""


def with_votes(config: RunConfig, store: Store, home: Path) -> tuple[RunConfig, str]:
    """Settings in which `preferences=study:ID study:ID` is a table of those votes; its words.

    The table has the columns of `rocm.training.preferences` and lies below `studies/ID`. Votes on
    prompts of the run's evaluation and of the test part are left out. StudyError if a study is not
    closed, this run cannot draw its arms, or no vote is left to train on.
    """
    if not config.preferences.startswith(PREFIX):
        return config, ""
    given = [word.removeprefix(PREFIX) for word in config.preferences.split()]
    studies, tables, words = zip(*(_taken(store, one, config) for one in given), strict=True)
    folder = home.resolve() / "studies" / studies[0]
    make_folder(folder)
    table = "".join(tables)
    file = folder / f"preferences-{sha256(table.encode()).hexdigest()[:12]}.jsonl"
    write_atomic(file, table)
    changed = RunConfig.load(config.model_dump(), preferences=str(file))
    return changed, "\n".join([*words, str(file)])


def _taken(store: Store, given: str, config: RunConfig) -> tuple[str, str, str]:
    """A study's id, its rows of the table, and what was taken and left out in words."""
    about = named(store.studies(), given)
    if about.status != "closed":
        raise StudyError(
            f"Study {about.study_id} is {about.status}. Close it before training on its votes: "
            f"python -m rocm study close {about.study_id}"
        )
    primary = about.config["primary_question"]
    stored = store.votes(about.study_id)
    votes = [vote for vote in stored if is_analyzed(vote) and vote.question == primary]
    decided = [vote for vote in votes if vote.choice != "tie"]
    held_out = prompts_of(config).evaluation
    used = [v for v in decided if v.text not in held_out and part_of(v.text) != "test"]
    if not used:
        raise StudyError(
            f"Study {about.study_id} has no vote to train on: {len(votes)} votes on {primary!r}, "
            f"{len(votes) - len(decided)} ties, {len(decided)} on prompts that this run is "
            "evaluated on or that are kept for a last study. Lower num_eval_prompts, or give other "
            "prompts."
        )
    arms = {name for vote in used for name in (vote.arm_a, vote.arm_b)}
    drew = _drawers(store, about.study_id, config, arms)
    raters, sources = ({getattr(vote, name) for vote in used} for name in ("rater", "source"))
    return (
        about.study_id,
        "".join(json.dumps(_row(vote, drew, about.config_sha256)) + "\n" for vote in used),
        f"Study {about.study_id}: {quantity(len(used), 'preference')} of "
        f"{quantity(len(raters), 'rater')} ({', '.join(sorted(sources))}) on {primary!r}; left "
        f"out: {quantity(len(votes) - len(decided), 'tie')}, "
        f"{quantity(len(decided) - len(used), 'vote')} on prompts that the run is evaluated on or "
        "that are kept for a last study.",
    )


def _row(vote: Vote, drew: Mapping[str, str], manifest: str | None) -> dict[str, Any]:
    pictures = (vote.arm_a, vote.seed), (vote.arm_b, vote.seed + vote.within)
    (winner, seed), (loser, loser_seed) = pictures if vote.choice == "a" else pictures[::-1]
    return {
        "prompt": vote.text,
        "seed": seed,
        **({"loser_seed": loser_seed} if vote.within else {}),
        "winner": drew[winner],
        "loser": drew[loser],
        "rater": vote.rater,
        "source": vote.source,
        "comparison": vote.comparison,
        "study": vote.study,
        "manifest": manifest,
    }


def _drawers(store: Store, study_id: str, config: RunConfig, names: set[str]) -> dict[str, str]:
    """What drew each arm: `base`, or its adapter's folder."""
    with store.database.read() as connection:
        rows = connection.execute(select(arm).where(arm.c.study_id == study_id)).all()
    known = {row.name: row for row in rows if row.params_json is not None}
    if not names <= set(known):
        raise StudyError(
            f"The arms of study {study_id} have no names here. Train where the study was built, or "
            "unpack it with its key."
        )
    return {name: _drawer(name, known[name], config) for name in names}


def _drawer(name: str, row: Any, config: RunConfig) -> str:
    params = json.loads(row.params_json)
    wanted = {setting: getattr(config, setting) for setting in SHARED}
    if params["adapter"]:
        wanted["adapter_strength"] = 1.0
    for setting, value in wanted.items():
        if params[setting] != value:
            advice = f"Train with {setting}={params[setting]}."
            if setting == "adapter_strength":
                advice = "Adapters can be trained on at full strength only."
            raise StudyError(
                f"People judged pictures of arm {name} with {setting}={params[setting]}, but here "
                f"it is {value}. {advice}"
            )
    if config.sampler != "lcm":
        raise StudyError("The study's pictures were drawn with sampler=lcm. Train with that.")
    adapter: str = params["adapter"]
    if not adapter:
        return BASE
    file = ROOT / adapter / WEIGHTS
    if not file.is_file() or sha256(file.read_bytes()).hexdigest() != row.adapter_sha256:
        raise StudyError(
            f"The adapter of arm {name} is not in {adapter} any more, or was changed since. "
            "Put it back: its pictures are drawn again for training."
        )
    return adapter
