"""A study as one zip: frozen manifest, pictures, texts, and on request its votes; the key stays.

Without the key no arm has a name, so a machine that only collects votes cannot tell them apart.
Votes bring the pictures' rewards with them. A zip is checked before it is unpacked, by
`rocm.study.archive.untrusted`. Payment ids never travel.
"""

import json
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

from sqlalchemy import Connection, select
from sqlalchemy.exc import DataError, IntegrityError

from rocm.errors import MissingFile, StudyError
from rocm.storage.progress import counted
from rocm.study.archive import untrusted
from rocm.study.archive.untrusted import AGAIN, DESIGN, REFERENCES, VOTED, Bundle, Rows
from rocm.study.archive.verify import frozen_faults, vote_faults
from rocm.study.design.manifest import ARM_FIELDS, canonical, digest, key
from rocm.study.store import chain, studies
from rocm.study.store.database import Writing
from rocm.study.store.events import ADDRESSES, CHAINED, ERASED
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store
from rocm.study.store.tables import arm, block, image, metadata, rater, score, study
from rocm.study.store.tables import chain as ends

Ids = dict[str, dict[int, int]]  # new ids by the zip's, by table
LATER = ("paused", "open", "closed", CHAINED, ADDRESSES, ERASED)
"""Events that are no part of a study that begins."""
SECRET = (*(name for name in ARM_FIELDS if name != "role"), "params_json")


def key_file(folder: Path, study_id: str) -> Path:
    """The file of a study's key beside its zip."""
    return folder / f"{study_id}-key.json"


def pack(
    store: Store, pictures: Pictures, study_id: str, target: Path, with_votes: bool = False
) -> Path:
    """Write the zip of a frozen study, and its key, if it is here, into a file beside it.

    With `with_votes` the raters, trials, votes and the pictures' rewards go along.
    """
    with store.database.read() as connection:
        about = studies.info(connection, study_id)
        if about.config_sha256 is None:
            raise StudyError("A draft does not travel. Open the study first: that freezes it.")
        row = connection.execute(select(study).where(study.c.id == study_id)).one()
        names = VOTED if with_votes else DESIGN
        tables = {name: dump(connection, name, study_id) for name in names}
        if with_votes:
            tables["score"] = dump_scores(connection, study_id)
        secret = key(connection, study_id)
    for arm_row in tables["arm"]:
        arm_row.update(dict.fromkeys(SECRET))
    if not with_votes:
        _forget_work(tables)
    whole = {**dict(row._mapping), "key_nonce": None}
    kept = key_file(target.parent, study_id)
    try:
        with ZipFile(target, "w", ZIP_STORED) as made:
            made.writestr("manifest.json", row.config_json)
            made.writestr("study.json", json.dumps({"study": whole, "tables": tables}))
            for picture in counted(tables["image"]):
                made.write(
                    pictures.file(picture["picture_id"]), f"pictures/{picture['picture_id']}.webp"
                )
        if digest(secret) == row.key_sha256:
            kept.write_text(canonical(secret), encoding="utf-8")
    except OSError as error:
        raise StudyError(f"Cannot write {target}: {error.strerror}. Choose another.") from error
    return kept


def dump(connection: Connection, name: str, study_id: str) -> list[dict[str, Any]]:
    """Rows of a study in one table that has `study_id`, in the order of their keys."""
    table = metadata.tables[name]
    rows = select(table).where(table.c.study_id == study_id).order_by(*table.primary_key)
    return [dict(row._mapping) for row in connection.execute(rows)]


def dump_scores(connection: Connection, study_id: str) -> list[dict[str, Any]]:
    """Rewards of the pictures; before the votes they would tell the arms apart."""
    rows = connection.execute(
        select(score)
        .join(image, image.c.id == score.c.image_id)
        .where(image.c.study_id == study_id)
        .order_by(score.c.image_id, score.c.reward)
    )
    return [dict(row._mapping) for row in rows]


def _planned(tables: dict[str, Rows]) -> tuple[Rows, Rows]:
    """Blocks and slots as they were before the first rater."""
    free = {"rater_id": None, "taken_at": None}
    planned = [{**row, **free} for row in tables["block"] if row["origin"] == "planned"]
    ids = {row["id"] for row in planned}
    return planned, [row for row in tables["slot"] if row["block_id"] in ids]


def _forget_work(tables: dict[str, Rows]) -> None:
    """Leave the study as it was before its first rater."""
    tables["block"], tables["slot"] = _planned(tables)
    tables["pair"] = [{**row, "issued": 0} for row in tables["pair"]]
    own = (e for e in tables["event"] if e["rater_id"] is e["trial_id"] is None)
    tables["event"] = [e for e in own if e["kind"] not in LATER]


def unpack(store: Store, pictures: Pictures, source: Path, key_from: Path | None = None) -> str:
    """Take a study from a zip into the store; StudyError if the zip is damaged: nothing is stored.

    A study of the same manifest that is here gets missing pictures and, without raters of its own,
    the votes. Arms get their names from the file of the key.
    """
    bundle = untrusted.read(source)
    named = _checked_key(key_from, bundle.about) if key_from else []
    _check_owner(store, bundle)
    new = [
        picture_id
        for picture_id, content in bundle.pictures.items()
        if not pictures.has(picture_id, content)
    ]
    absent = [picture_id for picture_id in new if not pictures.has(picture_id)]
    try:
        for picture_id in new:
            pictures.put(picture_id, bundle.pictures[picture_id])
        with store.database.write() as w:
            _insert_all(w, bundle, named)
    except (IntegrityError, DataError, StudyError) as error:
        for picture_id in absent:
            pictures.remove(picture_id)
        if isinstance(error, StudyError):
            raise
        # The database's own words hold the row and the statement.
        raise StudyError(f"What {source} holds does not fit together. {AGAIN}") from error
    return str(bundle.about["id"])


def _check_owner(store: Store, bundle: Bundle) -> None:
    """Refuse pictures under the names of others that are here."""
    with store.database.read() as connection:
        rows = connection.execute(select(image.c.picture_id, image.c.sha256))
        known = {row.picture_id: row.sha256 for row in rows}
    for row in bundle.tables["image"]:
        if known.get(row["picture_id"], row["sha256"]) != row["sha256"]:
            raise StudyError(f"Picture {row['picture_id']} is here already, and another. {AGAIN}")


def _insert_all(w: Writing, bundle: Bundle, named: list[dict[str, Any]]) -> None:
    about, tables, study_id = bundle.about, bundle.tables, bundle.about["id"]
    present = w.execute(select(study).where(study.c.id == study_id)).one_or_none()
    if present is None:
        ids = _insert_design(w, about, tables)
        _name_arms(w, study_id, named)
    elif present.config_sha256 == about["config_sha256"]:
        ids = _present_ids(w, study_id, tables)
    else:
        raise StudyError(f"Study {study_id} is here, but changed. Unpack into another ROCM_HOME.")
    wrong = frozen_faults(w.connection, study_id)
    if tables.get("rater"):
        if w.execute(select(rater.c.id).where(rater.c.study_id == study_id)).first():
            words = f"Study {study_id} is here already, with raters of its own."
            raise StudyError(f"{words} Unpack into another ROCM_HOME.")
        _insert_votes(w, about, tables, ids)
        wrong += vote_faults(w.connection, study_id)
    if wrong:
        raise StudyError(f"What the zip holds does not fit together: {wrong[0]} {AGAIN}")


def _checked_key(path: Path, about: dict[str, Any]) -> list[dict[str, Any]]:
    """Columns of every arm, by the key of a study."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        digested = digest(document)
    except (OSError, ValueError, RecursionError) as error:
        raise MissingFile(f"{path} is no key of a study. Give the file of study pack.") from error
    if digested != about["key_sha256"]:
        raise StudyError(f"{path} is not the key of this study: its hash is not the manifest's.")
    try:
        arms = [
            {"code": code, **values, "params_json": canonical(values["params"])}
            for code, values in document["arms"].items()
        ]
        for row in arms:
            del row["params"]
            untrusted.check_row(arm, row, ("code", "role", *SECRET))
        nonce = {"key_nonce": document["nonce"]}
        untrusted.check_row(study, nonce, nonce)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StudyError(f"{path} holds no arms as a key does. {AGAIN}") from error
    return [{**row, **nonce} for row in arms]


def _name_arms(w: Writing, study_id: str, named: list[dict[str, Any]]) -> None:
    for row in named:
        told = {name: row[name] for name in SECRET}
        w.update(arm, arm.c.study_id == study_id, arm.c.code == row["code"], **told)
        w.update(study, study.c.id == study_id, key_nonce=row["key_nonce"])


def _insert_design(w: Writing, about: dict[str, Any], tables: dict[str, Rows]) -> Ids:
    """Store a study and freeze it; new ids by the zip's, by table."""
    ids: Ids = {}
    draft = {"status": "draft", "config_sha256": None, "opened_at": None, "closed_at": None}
    studies.insert(w, **{**about, **draft})
    for name in ("question", "prompt", "arm", "image"):
        insert(w, name, tables[name], ids)
    insert(w, "pair", [{**row, "issued": 0} for row in tables["pair"]], ids)
    insert(w, "score", tables.get("score", []), ids)
    for name, rows in zip(("block", "slot"), _planned(tables), strict=True):
        insert(w, name, rows, ids)
    frozen = {name: about[name] for name in ("config_sha256", "opened_at")}
    w.update(study, study.c.id == about["id"], status="open", **frozen)
    if not tables.get("rater"):
        insert(w, "event", [e for e in tables["event"] if e["kind"] not in LATER], ids)
    return ids


def _present_ids(w: Writing, study_id: str, tables: dict[str, Any]) -> Ids:
    """Ids of a study that is here, by the zip's: the same manifest has the same order."""
    ids: Ids = {}
    for name in ("prompt", "arm", "image", "pair"):
        here = dump(w.connection, name, study_id)
        if _fixed(_moved(tables[name], ids)) != _fixed(here):
            raise StudyError(f"Its {name}s are not those of study {study_id} here. {AGAIN}")
        pairs = zip(tables[name], here, strict=True)
        ids[name] = {given["id"]: present["id"] for given, present in pairs}
    numbers = {row["number"]: row["id"] for row in dump(w.connection, "block", study_id)}
    ids["block"] = {
        row["id"]: numbers[row["number"]]
        for row in tables["block"]
        if row["origin"] == "planned" and row["number"] in numbers
    }
    return ids


def _fixed(rows: Rows) -> Rows:
    """What neither the key nor votes change, without the ids of one store."""
    changing = {"id", "issued", "target", *SECRET}
    return [{name: value for name, value in row.items() if name not in changing} for row in rows]


def _insert_votes(w: Writing, about: dict[str, Any], tables: dict[str, Any], ids: Ids) -> None:
    """Store raters, their work and their votes; states last, because they close what is open."""
    raters = [{**row, "status": "active", "completion_code": None} for row in tables["rater"]]
    insert(w, "rater", raters, ids)
    later = [row for row in tables["block"] if row["id"] not in ids["block"]]
    insert(w, "block", later, ids)
    fresh = {row["id"] for row in later}
    insert(w, "slot", [row for row in tables["slot"] if row["block_id"] in fresh], ids)
    for row in tables["block"]:
        if row["id"] not in fresh and row["rater_id"] is not None:
            taken = {"rater_id": ids["rater"][row["rater_id"]], "taken_at": row["taken_at"]}
            w.update(block, block.c.id == ids["block"][row["id"]], **taken)
    for name in ("trial", "vote", "exclusion", "event"):
        insert(w, name, tables[name], ids)
    for name, columns in (("pair", ("issued", "target")), ("rater", ("status", "completion_code"))):
        table = metadata.tables[name]
        for row in tables[name]:
            now = {column: row[column] for column in columns}
            w.update(table, table.c.id == ids[name][row["id"]], **now)
    end = {"status": about["status"], "closed_at": about["closed_at"]}
    w.update(study, study.c.id == about["id"], **end)
    for row in tables["chain"]:
        w.update(ends, ends.c.study_id == about["id"], **row)
    chain.adopt(w, about["id"])


def _moved(rows: Rows, ids: Ids) -> Rows:
    """Rows without their own id, with the ids that their references have here."""
    return [
        {
            column: ids[REFERENCES[column]][value]
            if column in REFERENCES and value is not None
            else value
            for column, value in row.items()
            if column != "id"
        }
        for row in rows
    ]


def insert(w: Writing, name: str, rows: Rows, ids: Ids) -> None:
    """Insert rows as `dump` gives them; `ids` maps old to new ids by table, and is added to."""
    table = metadata.tables[name]
    made = w.insert_many(table, _moved(rows, ids))
    if "id" in table.c:
        pairs = zip(rows, made, strict=True)
        ids.setdefault(name, {}).update({row["id"]: new.id for row, new in pairs})
