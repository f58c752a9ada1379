"""A study as one zip: frozen manifest, pictures, texts, and on request its votes; the key stays.

Without the key no arm has a name, so a machine that only collects votes cannot tell them apart.
Votes bring the pictures' rewards with them. What is unpacked is checked: names, sizes, every hash.
Payment ids never travel.
"""

import json
import re
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from PIL import Image
from sqlalchemy import Connection, select

from rocm.errors import MissingFile, StudyError
from rocm.study import studies
from rocm.study.columns import metadata
from rocm.study.database import Writing
from rocm.study.manifest import ARM_FIELDS, canonical, digest, key
from rocm.study.pictures import SUFFIX, Pictures
from rocm.study.store import Store
from rocm.study.tables import arm, block, image, score, study

DESIGN = ("question", "prompt", "arm", "image", "pair", "block", "slot", "event")
VOTED = ("question", "prompt", "arm", "image", "pair", "rater", "block", "slot", "trial", "vote",
         "exclusion", "event")  # fmt: skip
SECRET = (*(name for name in ARM_FIELDS if name != "role"), "params_json")
REFERENCES = {
    "prompt_id": "prompt", "arm_id": "arm", "arm_a": "arm", "arm_b": "arm", "image_a": "image",
    "image_b": "image", "pair_id": "pair", "rater_id": "rater", "block_id": "block",
    "trial_id": "trial", "image_id": "image",
}  # fmt: skip
PICTURE = re.compile(r"pictures/([0-9a-f]{32})\.webp")
MAX_BYTES = 64_000_000
MAX_FILES = 200_000


def key_file(folder: Path, study_id: str) -> Path:
    """Where the key of a study is kept when it travels."""
    return folder / f"{study_id}-key.json"


def pack(
    store: Store, pictures: Pictures, study_id: str, target: Path, with_votes: bool = False
) -> Path:
    """Write a study's zip, and its key into a file beside it.

    Args:
        store: of the votes.
        pictures: of all studies.
        study_id: one that is frozen.
        target: zip file to write.
        with_votes: raters, trials, votes and the pictures' rewards too.

    Returns:
        File of the key, to be kept back; it is written only where the store has the key.

    Raises:
        StudyError: a draft, or the file cannot be written.
        MissingFile: a picture is missing.
    """
    with store.database.read() as connection:
        about = studies.info(connection, study_id)
        if about.config_sha256 is None:
            raise StudyError("A draft does not travel. Open the study first: that freezes it.")
        row = connection.execute(select(study).where(study.c.id == study_id)).one()
        tables = {
            name: dump(connection, name, study_id) for name in (VOTED if with_votes else DESIGN)
        }
        if with_votes:
            tables["score"] = dump_scores(connection, study_id)
        secret = key(connection, study_id)
    for one in tables["arm"]:
        one.update(dict.fromkeys(SECRET))
    if not with_votes:
        _forget_work(tables)
    whole = {**dict(row._mapping), "key_nonce": None}
    kept = key_file(target.parent, study_id)
    try:
        with ZipFile(target, "w", ZIP_STORED) as bundle:
            bundle.writestr("manifest.json", row.config_json)
            bundle.writestr("study.json", json.dumps({"study": whole, "tables": tables}))
            for one in tables["image"]:
                bundle.write(pictures.file(one["picture_id"]), f"pictures/{one['picture_id']}.webp")
        if digest(secret) == row.key_sha256:
            kept.write_text(canonical(secret), encoding="utf-8")
    except OSError as error:
        raise StudyError(
            f"Cannot write {target}: {error.strerror}. Choose another file."
        ) from error
    return kept


def dump(connection: Connection, name: str, study_id: str) -> list[dict[str, Any]]:
    """Rows of a study in one table that has `study_id`, in the order of their keys."""
    table = metadata.tables[name]
    rows = connection.execute(
        select(table).where(table.c.study_id == study_id).order_by(*table.primary_key)
    )
    return [dict(row._mapping) for row in rows]


def dump_scores(connection: Connection, study_id: str) -> list[dict[str, Any]]:
    """Rewards of the pictures; before the votes they would tell the arms apart."""
    rows = connection.execute(
        select(score)
        .join(image, image.c.id == score.c.image_id)
        .where(image.c.study_id == study_id)
        .order_by(score.c.image_id, score.c.reward)
    )
    return [dict(row._mapping) for row in rows]


def _forget_work(tables: dict[str, list[dict[str, Any]]]) -> None:
    """Leave of a study what it was before its first rater."""
    planned = {one["id"] for one in tables["block"] if one["origin"] == "planned"}
    tables["block"] = [
        {**one, "rater_id": None, "taken_at": None}
        for one in tables["block"]
        if one["id"] in planned
    ]
    tables["slot"] = [one for one in tables["slot"] if one["block_id"] in planned]
    tables["pair"] = [{**one, "issued": 0} for one in tables["pair"]]
    tables["event"] = [
        one for one in tables["event"] if one["rater_id"] is None and one["trial_id"] is None
    ]


def unpack(store: Store, pictures: Pictures, source: Path, key_from: Path | None = None) -> str:
    """Take a study from a zip into the store; its votes too, if the zip has them.

    A study that is here already, of the same manifest and without raters, gets the votes: so a lab
    that built a study takes back what another machine collected.

    Args:
        store: to fill.
        pictures: to add to.
        source: zip file of `pack`.
        key_from: file of the key, where arms are to have their names.

    Returns:
        Id of the study.

    Raises:
        MissingFile: no such file.
        StudyError: no zip of a study, damaged, or here already with raters of its own.
    """
    about, tables, files = _read(source)
    study_id = str(about["id"])
    named = _checked_key(key_from, about) if key_from else {}
    for picture_id, content in files.items():
        pictures.put(picture_id, content)
    with store.database.write() as w:
        present = w.execute(select(study).where(study.c.id == study_id)).one_or_none()
        if present is None:
            ids = _insert_design(w, about, tables, named)
        else:
            if present.config_sha256 != about["config_sha256"] or _has_raters(w, study_id):
                raise StudyError(
                    f"Study {study_id} is here already, changed or with raters of its own. "
                    "Unpack into another ROCM_HOME."
                )
            ids = _present_ids(w, study_id, tables)
        if tables.get("rater"):
            _insert_votes(w, about, tables, ids)
    return study_id


def _has_raters(w: Writing, study_id: str) -> bool:
    rater = metadata.tables["rater"]
    return w.execute(select(rater.c.id).where(rater.c.study_id == study_id)).first() is not None


def _read(source: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, bytes]]:
    """What a zip holds, with every name, size and hash checked."""
    bad = StudyError(f"{source} is no whole zip of a study. Make it again: study pack.")
    if not source.is_file():
        raise MissingFile(f"There is no file {source}. Give the zip of study pack.")
    try:
        with ZipFile(source) as bundle:
            listed = bundle.infolist()
            if len(listed) > MAX_FILES or any(one.file_size > MAX_BYTES for one in listed):
                raise bad
            if any(one.compress_type != ZIP_STORED for one in listed):  # a bomb needs compression
                raise bad
            names = {one.filename for one in listed}
            strange = {
                name for name in names - {"manifest.json", "study.json"}
                if not PICTURE.fullmatch(name)
            }  # fmt: skip
            if strange or not {"manifest.json", "study.json"} <= names:
                raise bad
            document = json.loads(bundle.read("study.json"))
            manifest = bundle.read("manifest.json")
            files = {
                name[len("pictures/") : -len(SUFFIX)]: bundle.read(name)
                for name in names
                if PICTURE.fullmatch(name)
            }
        about, tables = document["study"], document["tables"]
        hashes = {one["picture_id"]: one["sha256"] for one in tables["image"]}
    except (BadZipFile, ValueError, KeyError, TypeError, OSError) as error:
        raise bad from error
    is_whole = (
        sha256(manifest).hexdigest() == about["config_sha256"]
        and manifest.decode() == about["config_json"]
        and {name: sha256(content).hexdigest() for name, content in files.items()} == hashes
        and all(_is_webp(content) for content in files.values())
    )
    if not is_whole:
        raise bad
    return about, tables, files


def _is_webp(content: bytes) -> bool:
    try:
        with Image.open(BytesIO(content), formats=["WEBP"]) as picture:
            picture.verify()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True


def _checked_key(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingFile(f"{path} is no key of a study. Give the file of study pack.") from error
    if digest(document) != about["key_sha256"]:
        raise StudyError(f"{path} is not the key of this study: its hash is not the manifest's.")
    return document


def _insert_design(
    w: Writing, about: dict[str, Any], tables: dict[str, Any], named: dict[str, Any]
) -> dict[str, dict[int, int]]:
    """Store a study and freeze it; new ids by the zip's, by table."""
    ids: dict[str, dict[int, int]] = {}
    draft = {"status": "draft", "config_sha256": None, "opened_at": None, "closed_at": None}
    w.insert(study, **{**about, **draft})
    for name in ("question", "prompt", "arm", "image", "pair"):
        rows = [{**one} for one in tables[name]]
        if name == "pair":
            rows = [{**one, "issued": 0} for one in rows]
        insert(w, name, rows, ids)
    insert(w, "score", tables.get("score", []), ids)
    planned = [one for one in tables["block"] if one["origin"] == "planned"]
    insert(w, "block", [{**one, "rater_id": None, "taken_at": None} for one in planned], ids)
    numbers = {one["id"] for one in planned}
    insert(w, "slot", [one for one in tables["slot"] if one["block_id"] in numbers], ids)
    frozen = {name: about[name] for name in ("config_sha256", "opened_at")}
    w.update(study, study.c.id == about["id"], status="open", **frozen)
    for code, values in named.get("arms", {}).items():
        told = {name: values[name] for name in SECRET if name != "params_json"}
        told["params_json"] = canonical(values["params"])
        w.update(arm, arm.c.study_id == about["id"], arm.c.code == code, **told)
    if named:
        w.update(study, study.c.id == about["id"], key_nonce=named["nonce"])
    if not tables.get("rater"):
        insert(w, "event", tables["event"], ids)
    return ids


def _present_ids(w: Writing, study_id: str, tables: dict[str, Any]) -> dict[str, dict[int, int]]:
    """Ids of a study that is here, by the zip's: the same manifest has the same order."""
    ids = {}
    for name in ("prompt", "arm", "image", "pair"):
        here = [one["id"] for one in dump(w.connection, name, study_id)]
        ids[name] = dict(zip([one["id"] for one in tables[name]], here, strict=True))
    numbers = {one["number"]: one["id"] for one in dump(w.connection, "block", study_id)}
    ids["block"] = {
        one["id"]: numbers[one["number"]]
        for one in tables["block"]
        if one["origin"] == "planned" and one["number"] in numbers
    }
    return ids


def _insert_votes(
    w: Writing, about: dict[str, Any], tables: dict[str, Any], ids: dict[str, dict[int, int]]
) -> None:
    """Store raters, their work and their votes; states last, because they close what is open."""
    raters = [{**one, "status": "active", "completion_code": None} for one in tables["rater"]]
    insert(w, "rater", raters, ids)
    later = [one for one in tables["block"] if one["id"] not in ids["block"]]
    insert(w, "block", later, ids)
    fresh = {one["id"] for one in later}
    insert(w, "slot", [one for one in tables["slot"] if one["block_id"] in fresh], ids)
    for one in tables["block"]:
        if one["id"] not in fresh and one["rater_id"] is not None:
            taken = {"rater_id": ids["rater"][one["rater_id"]], "taken_at": one["taken_at"]}
            w.update(block, block.c.id == ids["block"][one["id"]], **taken)
    for name in ("trial", "vote", "exclusion", "event"):
        insert(w, name, tables[name], ids)
    for name, columns in (("pair", ("issued", "target")), ("rater", ("status", "completion_code"))):
        table = metadata.tables[name]
        for one in tables[name]:
            now = {column: one[column] for column in columns}
            w.update(table, table.c.id == ids[name][one["id"]], **now)
    if about["status"] != "open":
        end = {"status": about["status"], "closed_at": about["closed_at"]}
        w.update(study, study.c.id == about["id"], **end)


def insert(
    w: Writing, name: str, rows: list[dict[str, Any]], ids: dict[str, dict[int, int]]
) -> None:
    """Insert rows with the ids that their references have here.

    Args:
        w: transaction.
        name: of the table.
        rows: as `dump` gives them.
        ids: new ids by old ones, by table; those of these rows are added.
    """
    table = metadata.tables[name]
    moved = [
        {
            column: ids[REFERENCES[column]][value]
            if column in REFERENCES and value is not None
            else value
            for column, value in one.items()
            if column != "id"
        }
        for one in rows
    ]
    made = w.insert_many(table, moved)
    if "id" in table.c:
        pairs = zip(rows, made, strict=True)
        ids.setdefault(name, {}).update({one["id"]: row.id for one, row in pairs})
