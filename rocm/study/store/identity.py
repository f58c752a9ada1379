"""Outside ids leave no trace: a keyed hash, with a key that is no part of the database."""

import hmac
import os
import re
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes, token_hex

from rocm.errors import StoreUnavailable, StudyError

MASTER_LENGTH = 32


def study_secret(folder: Path, study_id: str, master: str = "") -> bytes:
    """The 32-byte secret of a study: a file, made when first needed, or a hash of `master`."""
    if not re.fullmatch("[0-9a-f]{12}", study_id):
        raise StudyError("A study's id is 12 hexadecimal digits.")
    path = folder / f"{study_id}.secret"
    if not path.exists():
        if master:
            return hmac.digest(master.encode(), study_id.encode(), "sha256")
        _make(path)
    content = path.read_bytes()
    if len(content) != 32:
        raise StudyError(f"The secret {path} is damaged: it does not hold 32 bytes.")
    return content


def checked_master(given: str) -> str:
    """A master secret, or an empty text; StudyError if it is too short to be one."""
    if given and len(given) < MASTER_LENGTH:
        raise StudyError(
            f"ROCM_STUDY_SECRET has {len(given)} characters: give {MASTER_LENGTH} or more, such as "
            "those of `openssl rand -hex 16`, and never change them while a study runs."
        )
    return given


def _make(path: Path) -> None:
    """Store a random secret, whole from the first moment: two raters may ask for it at once."""
    temporary = path.with_name(f".{token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)
    except OSError as error:
        raise StoreUnavailable(f"The secret {path} cannot be stored: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def external_hmac(secret: bytes, source: str, external_id: str) -> str:
    """HMAC-SHA256 of an outside id, 64 hexadecimal digits; equal within one study only."""
    return hmac.new(secret, f"{source}|{external_id}".encode(), sha256).hexdigest()
