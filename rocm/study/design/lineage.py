"""Where an arm comes from: the votes that its reward, or D3PO, learned from, each link by its hash.

An arm's `lineage` stands in its settings, which the key holds, whose hash the manifest holds. So
the chain is votes -> reward -> adapter -> pictures -> votes -> claim.
"""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, select

from rocm.errors import ConfigError, MissingFile, StudyError
from rocm.rewards.names import parse_mixture
from rocm.rewards.preference_files import is_preference, read_preference
from rocm.study.store import chain
from rocm.study.store.studies import rows_of
from rocm.study.store.tables import arm, study

if TYPE_CHECKING:  # a server that only collects votes has not all that a run needs
    from rocm.runs.run_dir import RunDir

Lineage = dict[str, Any]
"""`source` (a reward or a table of votes), its `sha256`, and `studies`: manifest and end by id."""


def lineage_of(run: "RunDir") -> list[Lineage]:
    """What a run learned from people: its learned rewards, and its table of votes.

    StudyError if a reward here is another one than the run was trained on.
    """
    config = run.config()
    found = []
    for name in filter(is_preference, parse_mixture(config.reward) if config else ()):
        record = read_preference(name)[1]
        trained_on = run.manifest().get("learned_rewards", {}).get(name)
        if trained_on != record["sha256"]:
            raise StudyError(
                f"Run {run.path.name} was not trained on the {name} that is here. Train a new run "
                "on it."
            )
        ends = record.get("votes", {})
        studies = {key: [sha, ends.get(key, "")] for key, sha in record["studies"].items()}
        found.append({"source": name, "sha256": record["sha256"], "studies": studies})
    table = Path(config.preferences) if config and config.preferences else None
    if table and table.is_file():
        found += _of_table(table)
    return found


def _of_table(file: Path) -> list[Lineage]:
    """Of a table that was made from studies; none for a table of the user's own."""
    content = file.read_bytes()
    rows = [json.loads(line) for line in content.splitlines()] if file.suffix == ".jsonl" else []
    made = [row for row in rows if row.get("study") and row.get("manifest")]
    studies = {row["study"]: [row["manifest"], ""] for row in made}
    hashed = sha256(content).hexdigest()
    return [{"source": file.name, "sha256": hashed, "studies": studies}] if studies else []


def lineages(connection: Connection, study_id: str) -> list[tuple[Row[Any], list[Lineage]]]:
    """The rows of arms that learned from people, each with its lineage; none without the key."""
    rows = [row for row in rows_of(connection, arm, study_id) if row.params_json]
    found = [(row, json.loads(row.params_json).get("lineage")) for row in rows]
    return [(row, sources) for row, sources in found if sources]


def chain_rows(connection: Connection, study_id: str) -> tuple[tuple[str, str], ...]:
    """Links of a study's chain in order, in words, each with its sha256; empty without lineage."""
    rows: dict[str, str] = {}
    for learner, sources in sorted(lineages(connection, study_id), key=lambda own: own[0].name):
        for source in sources:
            for key, (manifest, end) in source["studies"].items():
                rows[f"design of study {key}"] = manifest
                rows[f"votes of study {key}"] = end or rows.get(f"votes of study {key}", "")
            rows[f"learned from them: {source['source']}"] = source["sha256"]
        rows[f"adapter of arm {learner.name}"] = learner.adapter_sha256
    return tuple((words, hashed) for words, hashed in rows.items() if hashed)


def chain_faults(connection: Connection, study_id: str) -> Iterator[str]:
    """Links of a study's chain that are here and are not what the chain says, as sentences."""
    for learner, sources in lineages(connection, study_id):
        name = learner.name
        for source in sources:
            if _hash_here(source) not in ("", source["sha256"]):
                yield f"{source['source']} is not the one that arm {name} was trained on."
            for key, (manifest, end) in source["studies"].items():
                asked = select(study.c.config_sha256).where(study.c.id == key)
                if (here := connection.execute(asked).scalar()) is None:
                    continue
                if here != manifest or end not in ("", chain.end_of(connection, key)["head"]):
                    yield f"Study {key} is not the one that arm {name} has learned from."


def earlier_studies(connection: Connection, study_id: str) -> list[str]:
    """Ids of the studies that arms learned from and that are here."""
    found = lineages(connection, study_id)
    named = {key for _, sources in found for source in sources for key in source["studies"]}
    return sorted(connection.execute(select(study.c.id).where(study.c.id.in_(named))).scalars())


def _hash_here(source: Lineage) -> str:
    """The sha256 of a reward on this machine, "changed" if its file is; empty if it is not here."""
    if not is_preference(source["source"]):
        return ""
    try:
        return str(read_preference(source["source"])[1]["sha256"])
    except MissingFile:
        return ""
    except ConfigError:
        return "changed"
