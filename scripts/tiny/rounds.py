"""Rounds of training: a start at exported models, and the record of every stage for the cards.

Each stage keeps `stage.json`: updates, minutes, and what it measured of itself. The export writes
those of the consistency model into tiny-lcm/stages.json, where the next round finds them.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from scripts.tiny.recipe import Recipe

KEPT = ("tokenizer", "vae", "tiny-clip", "tiny-eval")
"""Stages that a round which starts at exported models takes over."""
ROUND = ("teacher", "guided", "student")
OBJECTIVES = {
    "vae": "reconstruction (L1, edges, squared error)",
    "tiny-clip": "contrast; its text tower starts the text encoder",
    "tiny-eval": "contrast",
    "teacher": "v-prediction regression",
    "guided": "regression on the teacher's guided velocity",
    "student": "consistency distillation of the guided ODE",
}
Record = dict[str, Any]


def read_record(folder: Path) -> Record:
    """What a stage has recorded of itself; empty for a new stage."""
    path = folder / "stage.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def add_record(folder: Path, **values: Any) -> None:
    """Adds values to a stage's record; `minutes` are added up."""
    record = read_record(folder)
    values["minutes"] = record.get("minutes", 0.0) + values.get("minutes", 0.0)
    write_record(folder, {**record, **values})


def write_record(folder: Path, record: Record) -> None:
    """Replaces a stage's record."""
    (folder / "stage.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def stages_so_far(recipe: Recipe, work: Path) -> Record:
    """Records of the kept stages by name, and `rounds`: a list of those of `ROUND` by name."""
    batches = {
        "vae": recipe.vae_batch,
        "tiny-clip": recipe.clip_batch,
        "tiny-eval": recipe.clip_batch,
        "teacher": recipe.teacher_batch,
        "guided": recipe.distill_batch,
        "student": recipe.distill_batch,
    }
    now = {name: read_record(work / name) for name in batches}
    for name, record in now.items():
        record.setdefault("samples", record["updates"] * batches[name])
    kept = {name: now[name] for name in KEPT[1:]}
    return {**kept, "rounds": [*earlier_rounds(work), {name: now[name] for name in ROUND}]}


def earlier_rounds(work: Path) -> list[Record]:
    """The rounds before this one; none for a work folder that started from nothing."""
    path = work / "start/stages.json"
    return json.loads(path.read_text("utf-8"))["rounds"] if path.exists() else []


def start_at(assets: Path, work: Path) -> None:
    """Prepares a work folder to go on from exported models, once.

    Args:
        assets: holds tiny-lcm, tiny-clip and tiny-eval.
        work: gets their tokenizer, autoencoder and CLIPs as finished stages, and in `start` the
            U-Net and the text encoder that the teacher begins at.
    """
    if (work / "start").exists():
        return
    model = assets / "tiny-lcm"
    stages = json.loads((model / "stages.json").read_text("utf-8"))
    shutil.copytree(model / "tokenizer", work / "tokenizer", dirs_exist_ok=True)
    sources = {"vae": model / "vae", **{name: assets / name for name in KEPT[2:]}}
    for name, source in sources.items():
        shutil.copytree(source, work / name / "model", dirs_exist_ok=True)
        write_record(work / name, stages[name])
    shutil.copytree(model, work / "start.tmp", dirs_exist_ok=True)
    (work / "start.tmp").rename(work / "start")  # last: a start that was cut off is made again


def stage_table(stages: Record) -> str:
    """What each stage of the model minimized, on how many samples, for how long, as Markdown."""
    rows = [(name, stages[name]) for name in KEPT[1:3]]
    for number, records in enumerate(stages["rounds"], 1):
        label = f" {number}" if len(stages["rounds"]) > 1 else ""
        rows += [(f"{name}{label}", record) for name, record in records.items()]
    lines = [
        "| stage | objective | updates | samples | minutes |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join(
        lines
        + [
            f"| {name} | {OBJECTIVES[name.split()[0]]} | {record['updates']} "
            f"| {record['samples']:,} | {record['minutes']:.0f} |"
            for name, record in rows
        ]
    )
