"""The design of a study as row document with a hash, and the key that names its arms.

The manifest names arms by random codes, so it can travel with the pictures. The key names model,
adapter and settings of each code; the manifest holds its hash, so neither can be changed later.
"""

import json
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, select

from rocm.study.store.studies import rows_of
from rocm.study.store.tables import arm, image, pair, prompt, study

ARM_FIELDS = ("role", "name", "method", "reward", "base_model", "adapter_sha256")


def canonical(document: Any) -> str:
    """The row text of a document of plain data: keys sorted, no spaces, UTF-8, no NaN."""
    options: Any = {"sort_keys": True, "ensure_ascii": False, "allow_nan": False}
    return json.dumps(document, separators=(",", ":"), **options)


def digest(document: Any) -> str:
    """sha256 of a document's canonical text, hexadecimal."""
    return sha256(canonical(document).encode()).hexdigest()


def key(connection: Connection, study_id: str) -> dict[str, Any]:
    """Study, nonce (so that nobody can guess the key), and the arms by their codes."""
    nonce = connection.execute(select(study.c.key_nonce).where(study.c.id == study_id)).scalar()
    arms = {
        row.code: {name: getattr(row, name) for name in ARM_FIELDS}
        | {"params": json.loads(row.params_json) if row.params_json else None}
        for row in rows_of(connection, arm, study_id)
    }
    return {"study": study_id, "nonce": nonce, "arms": arms}


def manifest(connection: Connection, row: Row[Any], key_sha256: str) -> dict[str, Any]:
    """The frozen design of the draft `row`: plan, codes of the arms, prompts, pairs, pictures."""
    arms, prompts = (rows_of(connection, table, row.id) for table in (arm, prompt))
    plan: dict[str, Any] = json.loads(row.config_json)
    return {
        **plan,
        "study": row.id,
        "arms": [{"code": row.code, "role": row.role} for row in arms],
        "key_sha256": key_sha256,
        "prompts": [
            {name: getattr(p, name) for name in ("source", "source_row", "category", "text")}
            for p in prompts
        ],
        "pairs": _pairs(connection, row.id, [p.id for p in prompts], arms),
    }


def _pairs(connection: Connection, study_id: str, prompts: list[int], arms: Any) -> Any:
    codes = {row.id: row.code for row in arms}
    numbers = {prompt_id: number for number, prompt_id in enumerate(prompts)}
    pictures = {row.id: row for row in rows_of(connection, image, study_id)}
    return [
        {
            "prompt": numbers[row.prompt_id],
            "seed": row.seed,
            "kind": row.kind,
            "expected": row.expected,
            "struck": row.struck,
            "a": {"arm": codes[row.arm_a], **_picture(pictures[row.image_a])},
            "b": {"arm": codes[row.arm_b], **_picture(pictures[row.image_b])},
        }
        for row in rows_of(connection, pair, study_id)
    ]


def _picture(row: Row[Any]) -> dict[str, str]:
    return {"picture": row.picture_id, "sha256": row.sha256}
