"""Outside ids leave no trace: a keyed hash, with a key that is no part of the database."""

import hmac
import os
import re
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes

from rocm.errors import StoreUnavailable, StudyError


def study_secret(folder: Path, study_id: str) -> bytes:
    """The secret of one study, made when first needed; who deletes it unlinks its raters for good.

    Args:
        folder: of secrets, outside the database and its backups.
        study_id: 12 hexadecimal digits.

    Returns:
        32 bytes.

    Raises:
        StoreUnavailable: the secret cannot be stored.
        StudyError: the secret is damaged, or the id is none.
    """
    if not re.fullmatch("[0-9a-f]{12}", study_id):
        raise StudyError("A study's id is 12 hexadecimal digits.")
    path = folder / f"{study_id}.secret"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(made, "wb") as file:
            file.write(token_bytes(32))
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreUnavailable(f"The secret {path} cannot be stored: {error.strerror}.") from error
    content = path.read_bytes()
    if len(content) != 32:
        raise StudyError(f"The secret {path} is damaged: it does not hold 32 bytes.")
    return content


def external_hmac(secret: bytes, source: str, external_id: str) -> str:
    """HMAC-SHA256 of an outside id, 64 hexadecimal digits; equal within one study only."""
    return hmac.new(secret, f"{source}|{external_id}".encode(), sha256).hexdigest()
