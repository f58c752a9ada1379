"""What a study is, as one document with a hash, and the key that says which arm is which.

The manifest names arms by random codes, so it can travel with the pictures. The key names model,
adapter and settings of each code; the manifest holds its hash, so neither can be changed later.
"""

import json
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, select

from rocm.study.store.tables import arm, image, pair, prompt, study

ARM_FIELDS = ("role", "name", "method", "reward", "base_model", "adapter_sha256")


def canonical(document: Any) -> str:
    """The one text of a document of plain data: keys sorted, no spaces, UTF-8, no NaN."""
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(document: Any) -> str:
    """sha256 of a document's canonical text, hexadecimal."""
    return sha256(canonical(document).encode()).hexdigest()


def key(connection: Connection, study_id: str) -> dict[str, Any]:
    """What each arm's code stands for.

    Args:
        connection: to read through.
        study_id: of the study.

    Returns:
        Study, nonce (so that nobody finds the key by trying), and arms by code.
    """
    nonce = connection.execute(select(study.c.key_nonce).where(study.c.id == study_id)).scalar()
    rows = connection.execute(select(arm).where(arm.c.study_id == study_id).order_by(arm.c.id))
    return {"study": study_id, "nonce": nonce, "arms": {row.code: _arm(row) for row in rows}}


def _arm(row: Row[Any]) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in ARM_FIELDS}
    return {**fields, "params": json.loads(row.params_json) if row.params_json else None}


def manifest(connection: Connection, row: Row[Any], key_sha256: str) -> dict[str, Any]:
    """The whole design as it will be frozen.

    Args:
        connection: to read through.
        row: of the study, a draft.
        key_sha256: of the key.

    Returns:
        What was planned, with arms' codes, prompts, pairs and pictures' hashes.
    """
    arms = connection.execute(select(arm).where(arm.c.study_id == row.id).order_by(arm.c.id)).all()
    prompts = connection.execute(
        select(prompt).where(prompt.c.study_id == row.id).order_by(prompt.c.id)
    ).all()
    plan: dict[str, Any] = json.loads(row.config_json)
    return {
        **plan,
        "study": row.id,
        "arms": [{"code": one.code, "role": one.role} for one in arms],
        "key_sha256": key_sha256,
        "prompts": [
            {name: getattr(one, name) for name in ("source", "source_row", "category", "text")}
            for one in prompts
        ],
        "pairs": _pairs(connection, row.id, [one.id for one in prompts], arms),
    }


def _pairs(
    connection: Connection, study_id: str, prompts: list[int], arms: Any
) -> list[dict[str, Any]]:
    codes = {one.id: one.code for one in arms}
    numbers = {prompt_id: number for number, prompt_id in enumerate(prompts)}
    pictures = {
        one.id: one for one in connection.execute(select(image).where(image.c.study_id == study_id))
    }
    rows = connection.execute(select(pair).where(pair.c.study_id == study_id).order_by(pair.c.id))
    return [
        {
            "prompt": numbers[one.prompt_id],
            "seed": one.seed,
            "kind": one.kind,
            "expected": one.expected,
            "struck": one.struck,
            "a": {"arm": codes[one.arm_a], **_picture(pictures[one.image_a])},
            "b": {"arm": codes[one.arm_b], **_picture(pictures[one.image_b])},
        }
        for one in rows
    ]


def _picture(row: Row[Any]) -> dict[str, str]:
    return {"picture": row.picture_id, "sha256": row.sha256}
